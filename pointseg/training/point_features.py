"""The features of points under the symmetries of the image, from no more of the image than they need."""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pointseg.models.frozen import Frozen, read
from pointseg.types import Shape

MARGIN = 64  # pixels of an image scale that filters and encoder are shown around a point

Images = UInt8[Tensor, "b c _ _"]
Positions = tuple[Float[Tensor, "n"], Float[Tensor, "n"]]
"""Rows and columns, in the frame of an image."""


def margin(network: Frozen, window_size: int) -> int:
    """Pixels of ground that a window is to show on each side of a point.

    As much as in prediction, where what a pixel's features are depends on all of a window.
    """
    return window_size // 2 if network.whole else MARGIN << max(network.scales - 1, 0)


def features_at(network: Frozen, images: Images, points: Float[Tensor, "n 3"], ways: int) -> Float[Tensor, "n r f"]:
    """The features of points (image, row, col) under the first `ways` of the eight symmetries of the square."""
    if images.device.type == "cpu" and len(images) > 1:  # as in prediction: for its cache
        of_image = [points[points[:, 0] == i] for i in range(len(images))]
        parts = [
            features_at(network, image[None], torch.cat([torch.zeros_like(own[:, :1]), own[:, 1:]], 1), ways)
            for image, own in zip(images, of_image, strict=True)
            if len(own)
        ]
        return torch.cat(parts)
    crops, rows, cols = points[:, 0].long(), points[:, 1], points[:, 2]
    part, at = cut(images, crops, (rows, cols), MARGIN)
    filtered = read(network.filtered(part), network.filters.levels, crops, *at)  # alike under all symmetries
    if not network.scales:
        return filtered[:, None]
    scales = []
    for scale in range(network.scales):
        part, at = (images, (rows, cols)) if network.whole else cut(images, crops, (rows, cols), MARGIN << scale)
        scales.append(_encoded(network, part, crops, at, scale, ways))
    return torch.cat([filtered[:, None].expand(-1, ways, -1), *scales], 2)


def _encoded(
    network: Frozen, images: Images, crops: Int[Tensor, "n"], at: Positions, scale: int, ways: int
) -> Float[Tensor, "n r f"]:
    turned = [symmetric(images, at, way) for way in range(ways)]
    found: list[Tensor] = [torch.empty(0)] * ways
    for shape in {image.shape for image, _ in turned}:  # two, where the images are not square
        chosen = [way for way, (image, _) in enumerate(turned) if image.shape == shape]
        together = network.at_scale(torch.cat([turned[way][0] for way in chosen]), scale)
        each = zip(*(maps.split(len(images)) for maps in together), strict=True)  # type: ignore[no-untyped-call]
        for way, maps in zip(chosen, each, strict=True):
            found[way] = read(maps, network.levels_at(scale), crops, *turned[way][1])
    return torch.stack(found, 1)


def cut(images: Images, crops: Int[Tensor, "n"], at: Positions, margin: int) -> tuple[Images, Positions]:
    """Of each image a part of one size with all its positions and a margin around them, and the positions in it."""
    sizes: Shape = (images.shape[2], images.shape[3])
    starts, sides = [], []
    for position, size in zip(at, sizes, strict=True):
        low, high = (
            torch.full((len(images),), start, device=images.device).scatter_reduce(0, crops, position, how)
            for start, how in ((float(size), "amin"), (0.0, "amax"))
        )
        side = min(int((high - low).max()) + 1 + 2 * margin, size)
        sides.append(side)
        starts.append((((low + high - side + 1) / 2).round().clamp(0, size - side)).long())
    corners = zip(images, *(start.tolist() for start in starts), strict=True)
    parts = torch.stack([image[:, row : row + sides[0], col : col + sides[1]] for image, row, col in corners])
    rows, cols = (position - start[crops] for position, start in zip(at, starts, strict=True))
    return parts, (rows, cols)


def symmetric(images: Images, at: Positions, way: int) -> tuple[Images, Positions]:
    """Images under one of the eight symmetries of the square, and where positions in them come to lie."""
    rows, cols = at
    if way % 2:
        images, cols = images.flip(3), images.shape[3] - 1 - cols
    for _ in range(way // 2):
        images, rows, cols = images.rot90(1, (2, 3)), images.shape[3] - 1 - cols, rows
    return images, (rows, cols)
