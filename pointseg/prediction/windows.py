"""Prediction of a whole scene: overlapping windows, blended with a smooth weight, block by block."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
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

    Windows are added up across the scene first, and the bands that result down it. Held at a time: a batch of windows,
    and of the strip above only the rows that reach into this one.
    """
    down_axis, across_axis = (_Axis.of(size, window_size, overlap, device) for size in scene.shape)
    down = [_Blend(down_axis, dim=1) for _ in across_axis.starts]
    chosen = range(len(down_axis.starts)) if chosen is None else chosen
    for i in range(down_axis.first_reaching(chosen.start) if chosen else 0, chosen.stop):
        row, height = down_axis.starts[i], down_axis.lengths[i]
        windows = [Window(row, col, down_axis.side, across_axis.side) for col in across_axis.starts]
        keep = [wanted(window) for window in windows]
        predictions = _predicted(predict, scene, list(compress(windows, keep)), batch_size, device)
        across = _Blend(across_axis, dim=2)
        for j, (window, kept) in enumerate(zip(windows, keep, strict=True)):
            weights = down_axis.weights[i][:, None] * across_axis.weights[j]
            band = across.add(next(predictions) * weights if kept else None, j)
            block = down[j].add(band, i)
            if kept and block is not None and i in chosen:
                yield Window(row, window.col, height, across_axis.lengths[j]), block


@dataclass(frozen=True)
class _Axis:
    """Windows of `side` pixels along one axis of a scene: where each starts, how many pixels it concludes (those before
    the next one starts), and its weight at each of its pixels."""

    side: int
    starts: list[int]
    lengths: list[int]
    weights: Float[Tensor, "windows side"]

    @classmethod
    def of(cls, size: int, window_size: int, overlap: int, device: torch.device | str) -> "_Axis":
        starts, side = cover(size, window_size, overlap), min(window_size, size)
        lengths = [end - start for start, end in pairwise([*starts, size])]
        return cls(side, starts, lengths, _weights(starts, size, side).to(device))

    def first_reaching(self, window: int) -> int:
        """The first window that shares pixels with this one."""
        return next(i for i, start in enumerate(self.starts) if start + self.side > self.starts[window])


class _Blend:
    """Overlap-add along one axis: takes the windows in their order, and gives the pixels that each concludes."""

    def __init__(self, axis: _Axis, dim: int) -> None:
        self.axis, self.dim = axis, dim
        self.carry: Tensor | None = None  # what earlier windows give to the pixels from the next start on

    def add(self, values: Float[Tensor, "k h w"] | None, i: int) -> Float[Tensor, "k rows cols"] | None:
        """values: those of window i times their weights (changed in place); None where it is not predicted.

        Returns None where no window gives these pixels anything.
        """
        if self.carry is not None:
            if values is None:
                shape = list(self.carry.shape)
                shape[self.dim] = self.axis.side
                values = self.carry.new_zeros(shape)
            values.narrow(self.dim, 0, self.carry.shape[self.dim]).add_(self.carry)
        if values is None:
            return None
        length = self.axis.lengths[i]
        # Copied, or what is carried would keep all of the window in memory.
        self.carry = values.narrow(self.dim, length, self.axis.side - length).clone()
        return values.narrow(self.dim, 0, length)


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
    predictions = _predicted(predict, scene, [window for window, _, _ in parts], batch_size, device)
    logs = []
    for (window, chosen, _), values in zip(parts, predictions, strict=True):
        read = values[:, rows[chosen] - window.row, cols[chosen] - window.col].T
        logs.append(read.double().clamp(min=torch.finfo(torch.float32).tiny).log().cpu().numpy())
    weights, positions = (np.concatenate([part[i] for part in parts]) for i in (2, 1))
    return Views(np.concatenate(logs), weights, positions, len(rows))


def _holding(
    shape: Shape, rows: Int[np.ndarray, "n"], cols: Int[np.ndarray, "n"], window_size: int, overlap: int
) -> Iterator[tuple[Window, Int[np.ndarray, "m"], Float[np.ndarray, "m"]]]:
    """The windows that hold positions, with the indices of these and their weights in the blend."""
    down, across = (_Axis.of(size, window_size, overlap, "cpu") for size in shape)
    weight_rows, weight_cols = (axis.weights.double().numpy() for axis in (down, across))
    for i, top in enumerate(down.starts):
        strip = np.flatnonzero((rows >= top) & (rows < top + down.side))
        for j, left in enumerate(across.starts):
            chosen = strip[(cols[strip] >= left) & (cols[strip] < left + across.side)]
            if len(chosen):
                weights = weight_rows[i, rows[chosen] - top] * weight_cols[j, cols[chosen] - left]
                yield Window(top, left, down.side, across.side), chosen, weights


def reaching(
    shape: Shape, area: Window, window_size: int, overlap: int
) -> Iterator[tuple[Window, Window, Float[Tensor, "h w"]]]:
    """The windows of `predict_scene` that reach into an area of a scene.

    With each the part of the area that it shows, and its weights in the blend at the pixels of that part.
    """
    down, across = (_axis(size, window_size, overlap) for size in shape)
    for i, top, height in _overlapping(down, area.row, area.height):
        for j, left, width in _overlapping(across, area.col, area.width):
            row, col = down.starts[i], across.starts[j]
            weights = down.weights[i, top - row :][:height, None] * across.weights[j, left - col :][:width]
            yield Window(row, col, down.side, across.side), Window(top, left, height, width), weights


@lru_cache(maxsize=256)
def _axis(size: int, window_size: int, overlap: int) -> _Axis:
    return _Axis.of(size, window_size, overlap, "cpu")


def _overlapping(axis: _Axis, start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """The windows that reach into the pixels from `start`: which, from where, and how many they show."""
    for i, first in enumerate(axis.starts):
        low, high = max(first, start), min(first + axis.side, start + length)
        if low < high:
            yield i, low, high - low


def paste(class_map: UInt8[np.ndarray, "h w"], window: Window, classes: Tensor) -> None:
    """Write the chosen classes (rows, columns) of a block where it lies in the scene's map."""
    row, col, height, width = window
    class_map[row : row + height, col : col + width] = classes.byte().cpu().numpy()


def _predicted(
    predict: Predict, scene: Imagery, windows: list[Window], batch_size: int, device: torch.device | str
) -> Iterator[Float[Tensor, "k h w"]]:
    """The probabilities of each window, predicted by the batch."""
    for first in range(0, len(windows), batch_size):
        images = np.stack([scene.image(window) for window in windows[first : first + batch_size]])
        yield from predict(torch.from_numpy(images).permute(0, 3, 1, 2).to(device))


def _weights(starts: list[int], size: int, side: int) -> Float[Tensor, "windows side"]:
    """The weight of each window at each of its pixels along one axis; at every pixel they sum to 1.

    A raised cosine over the window, divided by the sum of those that reach the pixel.
    """
    bump = torch.sin(torch.pi * (torch.arange(side) + 0.5) / side) ** 2
    total = torch.zeros(size)
    for start in starts:
        total[start : start + side] += bump
    return torch.stack([bump / total[start : start + side] for start in starts])
