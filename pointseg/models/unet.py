"""A small U-Net (Ronneberger et al. 2015) for training from scratch.

With batch norm, bilinear upsampling and a stem of stride 2. Its plain 3×3 convolutions learn within a
few hundred steps.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation


class UNet(nn.Module):
    """Features of `widths[0]` channels at stride 2, from a pyramid of `widths` channels."""

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Sequential(Conv2dNormActivation(before, width, 3, stride=2), Conv2dNormActivation(width, width, 3))
            for before, width in zip(inputs, widths, strict=True)
        )
        self.up = nn.ModuleList(Conv2dNormActivation(coarse + fine, fine, 3) for fine, coarse in pairwise(widths))

    def forward(self, images: Float[Tensor, "b c height width"]) -> Float[Tensor, "b features h w"]:
        levels = []
        for stage in self.down:
            images = stage(images)
            levels.append(images)
        features = levels.pop()
        for level, stage in zip(reversed(levels), reversed(self.up), strict=True):
            features = F.interpolate(features, level.shape[2:], mode="bilinear", align_corners=False)
            features = stage(torch.cat([features, level], 1))
        return features
