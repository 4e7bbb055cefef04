"""Filters of an image over a ladder of scales: features that need no weights.

Every map's cell i lies on pixel i · stride (not between pixels), as those of `encoders` do, so that maps of all strides
are read and added without a shift.
"""

import math
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pointseg.models.encoders import Level

_STEP = math.sqrt(3.0)  # smooths σ = 1 to σ = 2, as variances add up


class Filters(nn.Module):
    """Intensity, gradient magnitude and the Hessian's eigenvalues at σ = 1, 2, 4, … pixels, of each band.

    The map of σ has the stride σ. Each is made from the one before: smoothed to twice its σ, then every second pixel
    is kept. Derivatives are differences of neighbouring cells, so that they are per σ pixels (Lindeberg 1998: scale-
    normalised). Eigenvalues of [[a, b], [b, c]]: (a + c)/2 ± √(((a − c)/2)² + b²).

    Of more than three bands also the normalised difference (x − y)/(x + y) of each pair, smoothed like the bands;
    of a near infrared and a red band this is the NDVI (Rouse et al. 1974).
    """

    first: Tensor
    step: Tensor

    def __init__(self, bands: int, octaves: int = 5) -> None:
        super().__init__()
        self.bands, self.pairs = bands, list(combinations(range(bands), 2)) if bands > 3 else []
        self.levels = [Level(4 * bands + len(self.pairs), 2**octave) for octave in range(octaves)]
        self.register_buffer("first", _gaussian(1.0), persistent=False)
        self.register_buffer("step", _gaussian(_STEP), persistent=False)

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> list[Float[Tensor, "b features h_s w_s"]]:
        """One map a stride."""
        images = images.contiguous() / 255
        if self.pairs:
            x, y = images[:, [i for i, _ in self.pairs]], images[:, [j for _, j in self.pairs]]
            images = torch.cat([images, (x - y) / (x + y + 1 / 255)], 1)
        smooth = _smoothed(images, self.first)
        maps = [self._features(smooth)]
        for _ in self.levels[1:]:
            smooth = _smoothed(smooth, self.step)[:, :, ::2, ::2]
            maps.append(self._features(smooth))
        return maps

    def _features(self, smooth: Float[Tensor, "b bands_and_pairs h w"]) -> Float[Tensor, "b features h w"]:
        image = F.pad(smooth[:, : self.bands], (1, 1, 1, 1), mode="replicate")
        up, middle, down = image[:, :, :-2], image[:, :, 1:-1], image[:, :, 2:]
        across, along = (middle[..., 2:] - middle[..., :-2]) / 2, (down - up)[..., 1:-1] / 2
        gradient = torch.sqrt(across * across + along * along)
        centre = 2 * middle[..., 1:-1]
        a = middle[..., 2:] - centre + middle[..., :-2]
        c = (up + down)[..., 1:-1] - centre
        corners = down - up
        b = (corners[..., 2:] - corners[..., :-2]) / 4
        half, root = (a + c) / 2, torch.sqrt(((a - c) / 2) ** 2 + b * b)
        return torch.cat([smooth, gradient, half + root, half - root], 1)


def _gaussian(sigma: float) -> Float[Tensor, "taps"]:
    radius = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    return (weights / weights.sum()).float()


def _smoothed(images: Float[Tensor, "b c h w"], weights: Float[Tensor, "taps"]) -> Float[Tensor, "b c h w"]:
    channels, radius = images.shape[1], len(weights) // 2
    images = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    kernel = weights.to(images.dtype).expand(channels, 1, 1, -1)
    images = F.conv2d(images, kernel, groups=channels)
    return F.conv2d(images, kernel.transpose(2, 3), groups=channels)
