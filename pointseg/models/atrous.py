"""Dilated convolutions as a compiler on the processor does them best."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WIDE = 6  # dilation from which the taps of a pyramid (Chen et al. 2017: 6 to 36) reach past a good part of its map


class ShiftedConv2d(nn.Conv2d):
    """A dilated convolution that keeps its map's size, as the sum of its taps: shifted 1×1 convolutions.

    The same function and the same parameters. On 64×64 features, those of a tile of 512², the nine taps of dilation
    36 together reach 39 % of what they cover; the processor's own kernels multiply the padding as well. As so many
    operations this is only faster compiled, where shifts and sums cost nothing.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        """convolution: stride 1, one group, padded with as many zeros as it is dilated; its parameters are shared."""
        nn.Module.__init__(self)
        self.__dict__ |= convolution.__dict__

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        height, width = features.shape[2:]
        total: Tensor | float = 0.0
        for row, down in enumerate(self._shifts(0)):
            for col, right in enumerate(self._shifts(1)):
                if abs(down) >= height or abs(right) >= width:
                    continue  # this tap sees padding alone
                top, bottom = max(0, -down), height - max(0, down)
                start, end = max(0, -right), width - max(0, right)
                seen = features[:, :, top + down : bottom + down, start + right : end + right]
                tap = F.conv2d(seen, self.weight[:, :, row : row + 1, col : col + 1])
                kind = torch.promote_types(tap.dtype, torch.float32)  # bfloat16 is too coarse for sums
                total = total + F.pad(tap.to(kind), (start, width - end, top, height - bottom))
        assert isinstance(total, Tensor)  # the middle tap sees every pixel
        summed = total.to(tap.dtype)
        return summed if self.bias is None else summed + self.bias.to(summed.dtype).view(-1, 1, 1)

    def _shifts(self, axis: int) -> list[int]:
        size, dilation = self.kernel_size[axis], self.dilation[axis]
        return [(tap - size // 2) * dilation for tap in range(size)]


def shift_dilated(network: nn.Module) -> None:
    """Put a ShiftedConv2d in place of each widely dilated convolution of the network."""
    for block in list(network.modules()):
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Conv2d) and min(layer.dilation) >= WIDE and _keeps_size(layer):
                setattr(block, name, ShiftedConv2d(layer))


def _keeps_size(layer: nn.Conv2d) -> bool:
    half = tuple(dilation * (size // 2) for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True))
    odd = all(size % 2 for size in layer.kernel_size)
    return (
        odd and layer.stride == (1, 1) and layer.groups == 1 and (layer.padding, layer.padding_mode) == (half, "zeros")
    )
