"""Class probabilities smoothed without crossing the edges of the image: the guided filter (He, Sun, Tang 2013).

Within every square of 2 radius + 1 pixels, each class's probability is fitted by a linear function of the image's
brightness, and a pixel gets the mean of the fits of the squares that hold it (ibid., equations 5, 6 and 8).
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pointseg.prediction.windows import Predict

EDGE = 1e-2  # the variance of brightness, in [0, 1], from which on it counts as an edge; ε in the paper


def smoothed(predict: Predict, radius: int) -> Predict:
    """`predict`, its probabilities smoothed within each image."""

    def smooth(images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        values = predict(images)
        brightness = images.float().mean(1).cpu().numpy() / 255
        parts = [
            guided(guide, part.permute(1, 2, 0).float().cpu().numpy(), radius)
            for guide, part in zip(brightness, values, strict=True)
        ]
        return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).contiguous().to(values.device)

    return smooth


def guided(
    guide: Float[np.ndarray, "h w"], values: Float[np.ndarray, "h w k"], radius: int
) -> Float[np.ndarray, "h w k"]:
    """guide: brightness in [0, 1]. values: probabilities; they are so again, and sum to 1."""
    image = guide[..., None]
    mean, variance, means, products = (_mean(part, radius) for part in (image, image**2, values, image * values))
    slope = (products - mean * means) / (variance - mean**2 + EDGE)
    level = means - slope * mean
    found = (_mean(slope, radius) * image + _mean(level, radius)).clip(0)
    return np.asarray(found / found.sum(-1, keepdims=True))


def _mean(values: Float[np.ndarray, "h w m"], radius: int) -> Float[np.ndarray, "h w m"]:
    """Over squares, mirrored beyond the image."""
    side = 2 * radius + 1
    planes = [
        cv2.boxFilter(np.ascontiguousarray(plane), cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT)
        for plane in np.moveaxis(values, -1, 0)
    ]
    return np.stack(planes, -1)
