"""Prediction of a whole scene: overlapping windows, blended with a smooth weight, strip by strip."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pointseg.tiles import cover
from pointseg.types import Scene, Window

Predict = Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b k h w"]]
"""Images → class probabilities at every pixel of them."""


def predict_scene(
    predict: Predict, scene: Scene, tile_size: int, overlap: int, batch_size: int, device: torch.device | str
) -> Iterator[tuple[int, Float[Tensor, "k rows w"]]]:
    """(first row, probabilities) of strips over the scene's full width, top to bottom, each row once.

    overlap: pixels that neighbouring windows share at least; there the weight of each falls smoothly
        to zero towards its edge. No more than one row of windows is held at a time.
    """
    height, width = scene.shape
    rows, cols = cover(height, tile_size, overlap), cover(width, tile_size, overlap)
    tile_height, tile_width = min(tile_size, height), min(tile_size, width)
    weight_rows, weight_cols = (
        _weights(starts, size, tile).to(device)
        for starts, size, tile in ((rows, height, tile_height), (cols, width, tile_width))
    )
    carried: Tensor | None = None  # what the previous row of windows gave to rows of this one
    for i, (row, following) in enumerate(pairwise([*rows, height])):
        strip: Tensor | None = None
        for first in range(0, len(cols), batch_size):
            windows = [Window(row, col, tile_height, tile_width) for col in cols[first : first + batch_size]]
            images = np.stack([scene.image(window) for window in windows])
            probabilities = predict(torch.from_numpy(images).permute(0, 3, 1, 2).to(device))
            if strip is None:
                strip = probabilities.new_zeros(probabilities.shape[1], tile_height, width)
            for j, (window, tile) in enumerate(zip(windows, probabilities, strict=True), start=first):
                weight = weight_rows[i][:, None] * weight_cols[j]
                strip[:, :, window.col : window.col + tile_width] += tile * weight
        assert strip is not None  # every scene has a column of windows
        if carried is not None:
            strip[:, : carried.shape[1]] += carried
        yield row, strip[:, : following - row]
        carried = strip[:, following - row :]


def _weights(starts: list[int], size: int, tile: int) -> Float[Tensor, "windows tile"]:
    """The weight of each window at each of its pixels along one axis; at every pixel they sum to 1.

    A raised cosine over the window, divided by the sum of those that reach the pixel.
    """
    bump = torch.sin(torch.pi * (torch.arange(tile) + 0.5) / tile) ** 2
    total = torch.zeros(size)
    for start in starts:
        total[start : start + tile] += bump
    return torch.stack([bump / total[start : start + tile] for start in starts])
