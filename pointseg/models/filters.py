"""Filters of an image over a ladder of scales: features that need no weights.

Every map's cell i lies on pixel i · stride (not between pixels), as those of `encoders` do, so that maps of all strides
are read and added without a shift.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pointseg.models.encoders import Level


class Filters(nn.Module):
    """Intensity at σ = 1, 2, 4, … pixels of each band; from σ = 2 on also gradient magnitude and the Hessian's
    eigenvalues; and the averages of these three over what lies around, which tell textures apart.

    The map of σ has the stride σ. Each is made from the one before: smoothed to twice its σ, then every second pixel
    is kept. Derivatives are differences of neighbouring cells, so that they are per σ pixels (Lindeberg 1998: scale-
    normalised). Eigenvalues of [[a, b], [b, c]]: (a + c)/2 ± √(((a − c)/2)² + b²). At σ = 1 they would cost more than
    all others together, and did not help.

    Of more than three bands also the normalised difference (x − y)/(x + y) of each pair, smoothed like the bands;
    of a near infrared and a red band this is the NDVI (Rouse et al. 1974).
    """

    def __init__(self, bands: int, octaves: int = 5) -> None:
        super().__init__()
        self.bands, self.pairs = bands, list(combinations(range(bands), 2)) if bands > 3 else []
        intensities = bands + len(self.pairs)
        self.levels = [Level(intensities, 1), *(Level(intensities + 3 * bands, 2**i) for i in range(1, octaves))]
        self.levels.append(Level(3 * bands * int(math.log2(TEXTURES)), TEXTURES))

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> list[Float[Tensor, "b features _ _"]]:
        """One map a stride, and that of textures."""
        images = images.contiguous() / 255
        if self.pairs:
            x, y = images[:, [i for i, _ in self.pairs]], images[:, [j for _, j in self.pairs]]
            images = torch.cat([images, (x - y) / (x + y + 1 / 255)], 1)
        smooth = smoothed(images, FIRST)
        maps, textures = [smooth], smooth[:, :0, ::2, ::2]
        for level in self.levels[1:-1]:
            smooth = smoothed(smooth, STEP, every=2)
            edges = _edges(smooth[:, : self.bands])
            maps.append(torch.cat([smooth, edges], 1))
            if level.stride <= TEXTURES:
                textures = smoothed(textures, HALVING, every=2) if level.stride > 2 else textures
                textures = torch.cat([textures, edges], 1)
        return [*maps, smoothed(textures, FIRST)]


def _edges(smooth: Float[Tensor, "b bands h w"]) -> Float[Tensor, "b features h w"]:
    """Gradient magnitude and the Hessian's larger and smaller eigenvalue."""
    across, along, a, b, c = _derivatives(smooth)
    gradient = torch.sqrt(across * across + along * along)
    half, root = (a + c) / 2, torch.sqrt(((a - c) / 2) ** 2 + b * b)
    return torch.cat([gradient, half + root, half - root], 1)


def _derivatives(images: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """I_x, I_y, I_xx, I_xy and I_yy, as differences of neighbours."""
    images = F.pad(images, (1, 1, 1, 1), mode="replicate")
    if torch.compiler.is_exporting():  # see smoothed
        channels = images.shape[1]
        kernels = torch.tensor(DIFFERENCES, dtype=images.dtype).view(-1, 1, 1, 3, 3).expand(-1, channels, -1, -1, -1)
        return tuple(F.conv2d(images, kernel, groups=channels) for kernel in kernels)  # type: ignore[return-value]
    up, middle, down = images[:, :, :-2], images[:, :, 1:-1], images[:, :, 2:]
    centre = 2 * middle[..., 1:-1]
    across, along = (middle[..., 2:] - middle[..., :-2]) / 2, (down - up)[..., 1:-1] / 2
    corners = down - up
    return (
        across,
        along,
        middle[..., 2:] - centre + middle[..., :-2],
        (corners[..., 2:] - corners[..., :-2]) / 4,
        (up + down)[..., 1:-1] - centre,
    )


DIFFERENCES = (
    ((0, 0, 0), (-0.5, 0, 0.5), (0, 0, 0)),
    ((0, -0.5, 0), (0, 0, 0), (0, 0.5, 0)),
    ((0, 0, 0), (1, -2, 1), (0, 0, 0)),
    ((0.25, 0, -0.25), (0, 0, 0), (-0.25, 0, 0.25)),
    ((0, 1, 0), (0, -2, 0), (0, 1, 0)),
)


def smoothed(
    images: Float[Tensor, "b c h w"], weights: Sequence[float], every: int = 1
) -> Float[Tensor, "b c height width"]:
    """The images convolved with weights (symmetric, an odd number) along both axes, at every so many pixels.

    As sums of shifted images, which on a processor takes an eighth of the time of convolutions of so few channels.
    """
    radius = len(weights) // 2
    images = F.pad(images, (radius, radius, radius, radius), mode="replicate")
    if torch.compiler.is_exporting():  # where convolutions are short, and shifts of unknown sizes are not
        kernel = torch.tensor(weights, dtype=images.dtype).expand(images.shape[1], 1, 1, -1)
        images = F.conv2d(images, kernel, stride=(1, every), groups=images.shape[1])
        return F.conv2d(images, kernel.transpose(2, 3), stride=(every, 1), groups=images.shape[1])
    for axis in (3, 2):
        length = images.shape[axis] - 2 * radius
        shifted = [_every(images, axis, i, i + length, every) for i in range(len(weights))]
        images = shifted[radius] * weights[radius]
        for i in range(radius):
            images = images.add_(shifted[i] + shifted[-1 - i], alpha=weights[i])
    return images


def _every(images: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    return images[..., start:end:step] if axis == 3 else images[..., start:end:step, :]


def gaussian(sigma: float) -> list[float]:
    """The weights of a Gaussian, cut at three σ."""
    radius = math.ceil(3 * sigma)
    values = [math.exp(-0.5 * (x / sigma) ** 2) for x in range(-radius, radius + 1)]
    return [value / sum(values) for value in values]


TEXTURES = 8  # pixels: the stride of their map, and the σ of the averages
HALVING = (0.25, 0.5, 0.25)  # so that cell i of the halved image lies on pixel 2 i
FIRST = gaussian(1.0)
STEP = gaussian(math.sqrt(3.0))  # smooths σ = 1 to σ = 2, as variances add up
