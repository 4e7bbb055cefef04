"""Frozen features and a head on them: a network of which nothing but the head is fitted.

Features are maps at their own strides; the head's first layer is a 1×1 convolution on each, whose results are
interpolated and added. As interpolation and a linear map commute, this is the same as a layer on all features of a
pixel, at the cost of the coarse maps.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pointseg.errors import InputError
from pointseg.models.encoders import Encoder, Level, build_encoder
from pointseg.models.filters import HALVING, Filters, smoothed
from pointseg.models.weights import load_weights
from pointseg.types import RGB, Bands, Shape

HeadKind = Literal["auto", "linear", "hidden"]
Maps = Sequence[Float[Tensor, "b _ _ _"]]


def frozen(
    classes: int,
    encoder: str | None,
    weights: str | None,
    scales: int,
    head: HeadKind,
    bands: Bands = RGB,
) -> "Frozen":
    """The filters, and beside them the encoder of that name at `scales` image scales (1, ½, ¼, …), with their head.

    encoder: of torchvision, or timm/<name>; None: filters alone.
    weights: "default" (the encoder's own, downloaded), torchvision's name of others, a file, or None (random).
    head: linear, with a hidden layer, or whatever predicts points on other ground better.
    """
    if not 1 <= scales <= 4:
        raise InputError(f"model.scales={scales}: give the number of image scales, 1 to 4.")
    if encoder is None:
        return Frozen(classes, bands, None, scales, head)
    built = build_encoder(encoder, weights)
    network = Frozen(classes, bands, built, scales, head)
    if built.architecture is None:
        return network
    return load_weights(network, built.named(weights), built.architecture, (*built.left_out, "classifier."))


class Frozen(nn.Module):
    """8-bit images → logits at stride 1. Bands beyond the first three are for the filters alone.

    levels: of the maps that `features` gives, in their order.
    """

    mean: Tensor
    std: Tensor
    head: HeadKind
    whole: bool
    multiple: int

    def __init__(self, classes: int, bands: Bands, encoder: Encoder | None, scales: int, head: HeadKind) -> None:
        super().__init__()
        self.head = head
        self.filters = Filters(len(bands))
        self.levels = list(self.filters.levels)
        self.scales = scales if encoder else 0
        self.whole, self.multiple = (encoder.whole, encoder.multiple) if encoder else (False, 1)
        if encoder:
            self.backbone = encoder.body.requires_grad_(False)
            for scale in (2**i for i in range(scales)):
                self.levels += [Level(n, stride * scale, offset * scale) for n, stride, offset in encoder.levels]
            # An encoder's own statistics are of 8-bit RGB; other bands are brought to theirs.
            mean, std = (encoder.mean, encoder.std) if bands == RGB else (bands.mean, bands.std)
            self.seen = [i % len(bands) for i in range(3)]
            for name, values in (("mean", mean), ("std", std)):
                buffer = torch.tensor([values[i] for i in self.seen]).view(1, -1, 1, 1)
                self.register_buffer(name, buffer, persistent=False)
        self._each = len(encoder.levels) if encoder else 0
        self.classifier = Head(self.levels, classes)
        self.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Always as in evaluation: the encoder's batch norms keep the statistics of their weights."""
        return super().train(False)

    def features(self, images: UInt8[Tensor, "b c h w"]) -> Maps:
        """The maps of `levels`."""
        return [*self.filtered(images), *self.encoded(images)]

    def filtered(self, images: UInt8[Tensor, "b c h w"]) -> Maps:
        """Those of the filters, which are the same under the symmetries of the image."""
        with _float32(images):
            maps: Maps = self.filters(images)
        return maps

    def encoded(self, images: UInt8[Tensor, "b c h w"]) -> Maps:
        """Those of the encoder, at each scale."""
        if not self.scales:
            return []
        rgb = self.normalised(images)
        maps = [*self._maps(rgb)]
        for _ in range(1, self.scales):
            rgb = smoothed(rgb, HALVING, every=2)
            maps += self._maps(rgb)
        return maps

    def at_scale(self, images: UInt8[Tensor, "b c h w"], scale: int) -> Maps:
        """Those of the encoder at the image scale ½ to the power of `scale`, alone."""
        rgb = self.normalised(images)
        for _ in range(scale):
            rgb = smoothed(rgb, HALVING, every=2)
        return self._maps(rgb)

    def levels_at(self, scale: int) -> list[Level]:
        first = len(self.filters.levels) + scale * self._each
        return self.levels[first : first + self._each]

    def normalised(self, images: UInt8[Tensor, "b _ h w"]) -> Float[Tensor, "b 3 h w"]:
        return (images[:, self.seen] - self.mean) / self.std

    def _maps(self, rgb: Float[Tensor, "b 3 h w"]) -> Maps:
        found = self.backbone(self._padded(rgb).contiguous(memory_format=torch.channels_last))
        return list(found.values() if isinstance(found, dict) else found)

    def _padded(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 height width"]:
        if self.multiple == 1:
            return images
        height, width = (-side % self.multiple for side in images.shape[2:])
        return F.pad(images, (0, width, 0, height), mode="replicate")

    def forward(self, images: UInt8[Tensor, "b c height width"]) -> Float[Tensor, "b k height width"]:
        if not torch.compiler.is_exporting() and images.device.type == "cpu" and len(images) > 1:
            return torch.cat([self(image[None]) for image in images])  # its maps fit into a processor's cache
        maps = self.features(images)
        with _float32(images):  # for a sum over hundreds of features
            logits: Tensor = self.classifier(maps, images.shape[2:])
        return logits


def _float32(images: Tensor) -> AbstractContextManager[Any]:
    return nullcontext() if torch.compiler.is_exporting() else torch.autocast(images.device.type, enabled=False)


class Head(nn.Module):
    """A linear head, and where `bend` has added it a hidden layer beside it, whose logits are added.

    The hidden layer is evaluated at every fourth pixel: at all of them it would cost many times what the encoder does,
    and its maps are no better.
    """

    STRIDE = 4

    def __init__(self, levels: Sequence[Level], classes: int) -> None:
        super().__init__()
        self.levels = list(levels)
        self.linear = _on_maps(self.levels, classes)
        self.hidden: nn.ModuleList | None = None
        self.out: nn.Conv2d | None = None

    @property
    def width(self) -> int:
        return sum(level.channels for level in self.levels)

    @property
    def classes(self) -> int:
        first: nn.Conv2d = self.linear[0]  # type: ignore[assignment]
        return first.out_channels

    def bend(self, hidden: int) -> None:
        """Add a hidden layer of that many units; 0: take it away."""
        self.hidden = _on_maps(self.levels, hidden) if hidden else None
        self.out = nn.Conv2d(hidden, self.classes, 1) if hidden else None

    # The width of the hidden layer is kept with the weights, as it is chosen when the head is fitted.
    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.out.in_channels if self.out else 0)

    def set_extra_state(self, state: Tensor) -> None:
        self.bend(int(state))

    def forward(self, maps: Maps, shape: Shape) -> Float[Tensor, "b k height width"]:
        maps = [of_level.float() for of_level in maps]
        logits = _on_all(self.linear, maps, self.levels, shape)
        if self.hidden is not None and self.out is not None:
            bent = self.out(_on_all(self.hidden, maps, self.levels, shape, self.STRIDE).relu())
            logits = logits + added([bent], [Level(self.classes, self.STRIDE)], shape)
        return logits


def _on_all(
    layer: nn.ModuleList, maps: Maps, levels: Sequence[Level], shape: Shape, stride: int = 1
) -> Float[Tensor, "b out h w"]:
    """A layer on all features at every `stride`-th pixel."""
    steps = [max(stride // level.stride, 1) if level.offset == 0 else 1 for level in levels]
    # Channels last, as its convolutions are fastest with.
    maps = [
        of_level[:, :, ::step, ::step].contiguous(memory_format=torch.channels_last)
        for of_level, step in zip(maps, steps, strict=True)
    ]
    levels = [level._replace(stride=level.stride * step) for level, step in zip(levels, steps, strict=True)]
    return added([conv(of_level) for conv, of_level in zip(layer, maps, strict=True)], levels, shape, stride)


def set_layer(layer: Iterable[nn.Module], weight: Float[Tensor, "out features"], bias: Float[Tensor, "out"]) -> None:
    """Give a layer on all features, as `Head` has it in parts, its numbers."""
    convolutions: list[nn.Conv2d] = list(layer)  # type: ignore[arg-type]
    parts = weight.tensor_split(np.cumsum([conv.in_channels for conv in convolutions])[:-1].tolist(), 1)
    with torch.no_grad():
        for conv, part in zip(convolutions, parts, strict=True):
            conv.weight.copy_(part[:, :, None, None])
        assert convolutions[0].bias is not None
        convolutions[0].bias.copy_(bias)


def _on_maps(levels: Sequence[Level], outputs: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Conv2d(level.channels, outputs, 1, bias=i == 0) for i, level in enumerate(levels))


def read(
    maps: Maps, levels: Sequence[Level], crops: Tensor, rows: Float[Tensor, "n"], cols: Float[Tensor, "n"]
) -> Float[Tensor, "n features"]:
    """All features at positions of images, by bilinear interpolation; what `added` has at those of pixels.

    crops: the image of each position, in the batch.
    """
    parts = []
    for of_level, (_, stride, offset) in zip(maps, levels, strict=True):
        (top, below, down), (left, right, along) = (
            _between((position - offset) / stride, size)
            for position, size in zip((rows, cols), of_level.shape[2:], strict=True)
        )
        by_cell = of_level.permute(0, 2, 3, 1)
        down, along = down[:, None], along[:, None]
        upper = torch.lerp(by_cell[crops, top, left].float(), by_cell[crops, top, right].float(), along)
        lower = torch.lerp(by_cell[crops, below, left].float(), by_cell[crops, below, right].float(), along)
        parts.append(torch.lerp(upper, lower, down))
    return torch.cat(parts, 1)


def added(maps: Maps, levels: Sequence[Level], shape: Shape, stride: int = 1) -> Float[Tensor, "b c height width"]:
    """The sum of maps, each linearly interpolated, at every `stride`-th pixel of an image of that shape.

    Maps whose cells lie on every 2ⁿ-th pixel are doubled step by step, which is the same as at once and costs less.
    """
    by_stride: dict[int, Tensor] = {}
    others: Tensor | None = None
    for of_level, level in zip(maps, levels, strict=True):
        ratio = level.stride // stride
        if level.offset == 0 and ratio & (ratio - 1) == 0:
            by_stride[ratio] = of_level if ratio not in by_stride else by_stride[ratio] + of_level
        else:
            interpolated = _interpolated(of_level, level, shape, stride)
            others = interpolated if others is None else others + interpolated
    total: Tensor | None = None
    ratio = max(by_stride, default=1)
    while ratio >= 1:
        total = None if total is None else _doubled(total)
        if (finer := by_stride.get(ratio)) is not None:
            total = finer if total is None else total[:, :, : finer.shape[2], : finer.shape[3]].add_(finer)
        ratio //= 2
    if total is not None and stride == 1:
        total = total[:, :, : shape[0], : shape[1]]
    sums = [part for part in (total, others) if part is not None]
    return sums[0] if len(sums) == 1 else sums[0] + sums[1]


def _doubled(cells: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c height width"]:
    """Cell i at 2 i, and the means of neighbours between; after the last cell as there."""
    height, width = cells.shape[2:]
    cells = F.pad(cells, (0, 1, 0, 1), mode="replicate")
    cells = F.interpolate(cells, (2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)
    return cells[:, :, :-1, :-1]


def _interpolated(
    cells: Float[Tensor, "b c h w"], level: Level, shape: Shape, stride: int
) -> Float[Tensor, "b c height width"]:
    for axis, size in ((2, shape[0]), (3, shape[1])):
        position = torch.arange(0, size, stride, device=cells.device)
        low, high, part = _between((position - level.offset) / level.stride, cells.shape[axis])
        part = part.to(cells.dtype).view([-1 if i == axis else 1 for i in range(4)])
        cells = torch.lerp(cells.index_select(axis, low), cells.index_select(axis, high), part)
    return cells


def _between(position: Float[Tensor, "n"], cells: int) -> tuple[Tensor, Tensor, Float[Tensor, "n"]]:
    """The cells on both sides of positions, and how far from the first; outer ones for what lies beyond."""
    position = position.clamp(0, cells - 1)
    low = position.floor().long()
    return low, (low + 1).clamp(max=cells - 1), position - low
