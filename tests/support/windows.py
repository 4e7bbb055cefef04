"""What tests share with those of windows."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointseg.prediction.windows import (
    predict_scene,
)
from tests.conftest import ArrayScene


def scene(height: int, width: int) -> ArrayScene:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return ArrayScene("a", pixels, np.zeros((height, width), np.uint8))


def stitched(predict: object, height: int, width: int, tile: int, overlap: int, batch: int, **options: Any) -> Tensor:
    result: Tensor | None = None
    seen = torch.zeros(height, width)
    for window, values in predict_scene(predict, scene(height, width), tile, overlap, batch, "cpu", **options):  # type: ignore[arg-type]
        result = torch.zeros(len(values), height, width) if result is None else result
        row, col, h, w = window
        result[:, row : row + h, col : col + w] = values
        seen[row : row + h, col : col + w] += 1
    assert result is not None
    assert (seen <= 1).all()
    assert options or (seen == 1).all()
    return result


def own_position(images: Tensor) -> Tensor:
    """Differs from window to window at the same pixel, so that blending shows."""
    h, w = images.shape[2:]
    ramp = torch.linspace(0, 1, h)[:, None] + torch.linspace(0, 2, w)
    return images[:, :1].float() * ramp
