"""Prediction of a whole scene: overlapping windows, blended with a smooth weight, block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from pointseg.models.logits import upsample
from pointseg.types import Shape, Window

Predict = Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b k h w"]]
"""Images → class probabilities at every pixel of them."""


@runtime_checkable
class Imagery(Protocol):
    """What is predicted: a scene or a raster."""

    @property
    def shape(self) -> Shape: ...
    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]: ...


def probabilities(network: nn.Module, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
    """The class probabilities at every pixel, by a network that gives logits at its own stride."""
    # Class after class in memory: torch's softmax over the last axis, where channels_last has them, is slow on a CPU.
    logits = network(images).float().contiguous()
    return upsample(logits, (images.shape[2], images.shape[3])).softmax(1)


def averaged_over_flips(predict: Predict) -> Predict:
    """Over an image and its three mirror images."""
    axes: list[tuple[int, ...]] = [(), (2,), (3,), (2, 3)]

    def averaged(images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return torch.stack([predict(images.flip(each)).flip(each) for each in axes]).mean(0)

    return averaged


def cover(size: int, side: int, overlap: int) -> list[int]:
    """Starts of the windows of `min(side, size)` pixels that cover 0..size, evenly spaced.

    Neighbours share at least `overlap` pixels and every window lies inside.
    """
    side = min(side, size)
    count = 1 if size == side else -(-(size - overlap) // (side - overlap))
    return [round(i * (size - side) / max(count - 1, 1)) for i in range(count)]


def strips(height: int, window_size: int, overlap: int) -> list[tuple[int, int]]:
    """(first row, row after the last) of each strip: the rows that one row of windows concludes."""
    return list(pairwise([*cover(height, window_size, overlap), height]))


def predict_scene(
    predict: Predict,
    scene: Imagery,
    window_size: int,
    overlap: int,
    batch_size: int,
    device: torch.device | str,
    wanted: Callable[[Window], bool] = lambda window: True,
    chosen: range | None = None,
) -> Iterator[tuple[Window, Float[Tensor, "k h w"]]]:
    """Blocks of the scene with their probabilities: each pixel once, from left to right within a strip.

    overlap: pixels that neighbouring windows share at least; there the weight of each falls smoothly
        to zero towards its edge.
    wanted: windows for which it is False are not read or predicted, nor is their block returned. Blocks
        are right at the pixels all of whose windows are wanted.
    chosen: the strips to return, consecutive ones; None: all. A strip's values do not depend on it.

    Held at a time: a batch of windows, and of the strip above only the rows that reach into this one.
    """
    height, width = scene.shape
    rows, cols = cover(height, window_size, overlap), cover(width, window_size, overlap)
    tile_height, tile_width = min(window_size, height), min(window_size, width)
    weight_rows, weight_cols = (
        _weights(starts, size, tile).to(device)
        for starts, size, tile in ((rows, height, tile_height), (cols, width, tile_width))
    )
    chosen = range(len(rows)) if chosen is None else chosen
    begin = next(i for i, row in enumerate(rows) if row + tile_height > rows[chosen.start]) if chosen else 0
    above: Tensor | None = None  # what windows higher up give to rows from this one on, (k, rows, width)
    for i in range(begin, chosen.stop):
        row, next_row = rows[i], [*rows, height][i + 1]
        below: Tensor | None = None
        left: Tensor | None = None  # what windows further left give to columns from this one on, (k, tile_height, cols)
        windows = [Window(row, col, tile_height, tile_width) for col in cols]
        keep = [wanted(window) for window in windows]
        tiles = _tiles(predict, scene, list(compress(windows, keep)), batch_size, device)
        for j, (window, kept) in enumerate(zip(windows, keep, strict=True)):
            col, next_col = window.col, [*cols, width][j + 1]
            if kept:
                values = next(tiles) * (weight_rows[i][:, None] * weight_cols[j])
            elif left is not None or above is not None:
                values = _zeros(left if left is not None else above, tile_height, tile_width)
            else:
                continue
            if left is not None:
                values[:, :, : left.shape[2]] += left
            left = values[:, :, next_col - col :]
            values = values[:, :, : next_col - col]
            if above is not None:
                values[:, : above.shape[1]] += above[:, :, col:next_col]
            if below is None:
                below = _zeros(values, tile_height - (next_row - row), width)
            below[:, :, col:next_col] = values[:, next_row - row :]
            if i in chosen and kept:
                yield Window(row, col, next_row - row, next_col - col), values[:, : next_row - row]
        above = below


@dataclass(frozen=True)
class Views:
    """What the windows of a scene, or of several, say at `count` positions in them.

    Each of the m views is one window's at one of the positions (0..count-1); the weights of a position's
    views in the blend sum to 1.
    """

    log_probabilities: Float[np.ndarray, "m k"]
    weights: Float[np.ndarray, "m"]
    positions: Int[np.ndarray, "m"]
    count: int

    @classmethod
    def joined(cls, parts: Sequence["Views"]) -> "Views":
        """The positions of all parts, in their order."""
        starts = np.cumsum([0, *(part.count for part in parts)])
        return cls(
            np.concatenate([part.log_probabilities for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.positions + start for part, start in zip(parts, starts, strict=False)]),
            int(starts[-1]),
        )


def views_at(
    predict: Predict,
    scene: Imagery,
    rows: Int[np.ndarray, "n"],
    cols: Int[np.ndarray, "n"],
    window_size: int,
    overlap: int,
    batch_size: int,
    device: torch.device | str,
) -> Views:
    """The views at n pixels of a scene, from the windows of `predict_scene` that hold one of them.

    Their weighted sum is what `predict_scene` gives; apart, they can be calibrated before they are blended.
    """
    parts = list(_holding(scene.shape, rows, cols, window_size, overlap))
    values = _tiles(predict, scene, [window for window, _, _ in parts], batch_size, device)
    said = []
    for (window, chosen, _), tile in zip(parts, values, strict=True):
        at = tile[:, rows[chosen] - window.row, cols[chosen] - window.col].T
        said.append(at.double().clamp(min=torch.finfo(torch.float32).tiny).log().cpu().numpy())
    weights, positions = (np.concatenate([part[i] for part in parts]) for i in (2, 1))
    return Views(np.concatenate(said), weights, positions, len(rows))


def _holding(
    shape: Shape, rows: Int[np.ndarray, "n"], cols: Int[np.ndarray, "n"], window_size: int, overlap: int
) -> Iterator[tuple[Window, Int[np.ndarray, "m"], Float[np.ndarray, "m"]]]:
    """The windows that hold positions, with the indices of these and their weights in the blend."""
    (tops, weight_rows), (lefts, weight_cols) = (
        (starts, _weights(starts, size, min(window_size, size)).double().numpy())
        for size, starts in ((size, cover(size, window_size, overlap)) for size in shape)
    )
    height, width = weight_rows.shape[1], weight_cols.shape[1]
    for i, top in enumerate(tops):
        strip = np.flatnonzero((rows >= top) & (rows < top + height))
        for j, left in enumerate(lefts):
            chosen = strip[(cols[strip] >= left) & (cols[strip] < left + width)]
            if len(chosen):
                weights = weight_rows[i, rows[chosen] - top] * weight_cols[j, cols[chosen] - left]
                yield Window(top, left, height, width), chosen, weights


def paste(class_map: UInt8[np.ndarray, "h w"], window: Window, classes: Tensor) -> None:
    """Write the chosen classes (rows, columns) of a block where it lies in the scene's map."""
    row, col, height, width = window
    class_map[row : row + height, col : col + width] = classes.byte().cpu().numpy()


def _zeros(like: Tensor | None, rows: int, cols: int) -> Tensor:
    assert like is not None
    return like.new_zeros(len(like), rows, cols)


def _tiles(
    predict: Predict, scene: Imagery, windows: list[Window], batch_size: int, device: torch.device | str
) -> Iterator[Float[Tensor, "k h w"]]:
    """The probabilities of each window, predicted by the batch."""
    for first in range(0, len(windows), batch_size):
        images = np.stack([scene.image(window) for window in windows[first : first + batch_size]])
        yield from predict(torch.from_numpy(images).permute(0, 3, 1, 2).to(device))


def _weights(starts: list[int], size: int, tile: int) -> Float[Tensor, "windows tile"]:
    """The weight of each window at each of its pixels along one axis; at every pixel they sum to 1.

    A raised cosine over the window, divided by the sum of those that reach the pixel.
    """
    bump = torch.sin(torch.pi * (torch.arange(tile) + 0.5) / tile) ** 2
    total = torch.zeros(size)
    for start in starts:
        total[start : start + tile] += bump
    return torch.stack([bump / total[start : start + tile] for start in starts])
