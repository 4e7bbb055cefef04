"""The head of DeepLabV3+ (Chen et al. 2018), which torchvision does not have, on torchvision's parts."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPPPooling
from torchvision.ops import Conv2dNormActivation


class DeepLabV3PlusHead(nn.Module):
    """Atrous pyramid over the deep features, refined with shallow ones at a finer stride.

    All 3×3 convolutions are depthwise separable, as in the paper: with a mobile encoder the dense
    ones of DeepLabV3's head would cost more than the encoder itself.

    deep, shallow: channels of the two levels of features. rates: dilations, for output stride 16.
    """

    def __init__(
        self, deep: int, shallow: int, classes: int, channels: int = 128, rates: Sequence[int] = (6, 12, 18)
    ) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(
            [
                Conv2dNormActivation(deep, channels, 1),
                *[_separable(deep, channels, rate) for rate in rates],
                ASPPPooling(deep, channels),
            ]
        )
        self.project = nn.Sequential(Conv2dNormActivation((len(rates) + 2) * channels, channels, 1), nn.Dropout(0.5))
        self.shallow = Conv2dNormActivation(shallow, 48, 1)
        self.refine = nn.Sequential(_separable(channels + 48, channels), nn.Conv2d(channels, classes, 1))

    def forward(self, features: Mapping[str, Tensor]) -> Float[Tensor, "b k h w"]:
        shallow = self.shallow(features["shallow"])
        context = self.project(torch.cat([branch(features["deep"]) for branch in self.pyramid], 1))
        context = F.interpolate(context, shallow.shape[2:], mode="bilinear", align_corners=False)
        logits: Tensor = self.refine(torch.cat([context, shallow], 1))
        return logits


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    depthwise = Conv2dNormActivation(inputs, inputs, 3, dilation=dilation, groups=inputs)
    return nn.Sequential(depthwise, Conv2dNormActivation(inputs, outputs, 1))
