"""Segmentation networks that give logits at their own stride.

torchvision's networks end in a bilinear upsampling to the input's size; here it is left to whoever
reads the logits (`models.logits.at_points` and `upsample`).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

import torch
import torchvision.models.segmentation as zoo
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import mobilenet_v2
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

from pointseg.config import Node, construct, takes
from pointseg.errors import InputError
from pointseg.models.deeplabv3plus import DeepLabV3PlusHead
from pointseg.models.unet import UNet
from pointseg.models.weights import load_weights
from pointseg.types import RGB, Bands

N = TypeVar("N", bound=nn.Module)


def build_network(node: Node, classes: int, bands: Bands) -> nn.Module:
    """The network that a node of the configuration names. Raises InputError where it cannot see these bands."""
    network: nn.Module = construct(node, classes=classes, bands=bands)
    if len(bands) != 3 and not takes(node, "bands"):
        raise InputError(
            f"model: {node['_target_']} is for RGB, but the images have {len(bands)} bands; see dataset.bands."
        )
    # Convolutions are faster with the bands of a pixel side by side, as crops come.
    return network.to(memory_format=torch.channels_last)


def fold_norms(network: N) -> N:
    """The network in eval mode, each batch norm that follows a convolution in an nn.Sequential made part of it.

    In place. The same function of the image, to rounding; an eighth of a mobile network's time on a CPU is saved.
    """
    for block in list(network.modules()):
        if isinstance(block, nn.Sequential):
            for (name, convolution), (after, norm) in pairwise(list(block.named_children())):
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    setattr(block, name, fuse_conv_bn_eval(convolution, norm))
                    setattr(block, after, nn.Identity())
    return network


class Network(nn.Module):
    """backbone and classifier of a torchvision segmentation network, without its upsampling.

    Takes 8-bit images and normalises them with the statistics of their bands; its first layer has as many
    channels as there are bands.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, classifier: nn.Module, bands: Bands) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier
        self.register_buffer("mean", torch.tensor(bands.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(bands.std).view(1, -1, 1, 1), persistent=False)
        first = next(layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d))
        if first.in_channels != len(bands):
            first.in_channels = len(bands)
            first.weight = nn.Parameter(first.weight.new_empty(len(first.weight), len(bands), *first.kernel_size))
            first.reset_parameters()

    def forward(self, images: UInt8[Tensor, "b c height width"]) -> Float[Tensor, "b k h w"]:
        features = self.backbone((images - self.mean) / self.std)
        # LR-ASPP reads two levels; the other heads read one.
        single = isinstance(features, dict) and set(features) == {"out"}
        logits: Tensor = self.classifier(features["out"] if single else features)
        return logits


def _torchvision(
    build: Callable[..., nn.Module], classes: int, weights: str | None, bands: Bands, **options: object
) -> Network:
    whole = build(weights=None, weights_backbone=None, num_classes=classes, **options)
    network = Network(whole.get_submodule("backbone"), whole.get_submodule("classifier"), bands)
    return load_weights(network, weights, build.__name__)


def deeplabv3_resnet50(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """Chen et al. 2017, output stride 8."""
    return _torchvision(zoo.deeplabv3_resnet50, classes, weights, bands, aux_loss=False)


def deeplabv3_resnet101(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """Chen et al. 2017, output stride 8."""
    return _torchvision(zoo.deeplabv3_resnet101, classes, weights, bands, aux_loss=False)


def deeplabv3_mobilenet_v3(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """DeepLabV3 on MobileNetV3-Large, output stride 16."""
    return _torchvision(zoo.deeplabv3_mobilenet_v3_large, classes, weights, bands, aux_loss=False)


def lraspp_mobilenet_v3(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """Howard et al. 2019, output stride 8."""
    return _torchvision(zoo.lraspp_mobilenet_v3_large, classes, weights, bands)


def fcn_resnet50(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """Long et al. 2015 on a dilated ResNet-50, output stride 8."""
    return _torchvision(zoo.fcn_resnet50, classes, weights, bands, aux_loss=False)


def deeplabv3_mobilenet_v2(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """DeepLabV3 on torchvision's MobileNetV2, output stride 16."""
    network = Network(_mobilenet_v2(), DeepLabHead(320, classes, atrous_rates=(6, 12, 18)), bands)
    return load_weights(network, weights, "mobilenet_v2")


def deeplabv3plus_mobilenet_v2(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """DeepLabV3+ on torchvision's MobileNetV2 up to its stage of 64 channels: output stride 4, its encoder's 16.

    The last stages (96, 160 and 320 channels) are left out: most of the parameters and of the time, and without them
    few points give better maps (`conf/model/deeplabv3plus_mobilenet_v2.yaml`).
    """
    features = mobilenet_v2(weights=None).features
    backbone = IntermediateLayerGetter(features[:11], {"3": "shallow", "10": "deep"})
    network = Network(backbone, DeepLabV3PlusHead(64, 24, classes), bands)
    left_out = tuple(f"features.{block}." for block in range(11, len(features)))
    return load_weights(network, weights, "mobilenet_v2", left_out)


def unet(classes: int, weights: str | None, bands: Bands = RGB) -> Network:
    """A small U-Net at stride 2, for training from scratch."""
    return load_weights(Network(UNet(), nn.Conv2d(32, classes, 1), bands), weights, "unet")


def _mobilenet_v2() -> nn.Sequential:
    """The features of torchvision's MobileNetV2 at stride 16: its last stride becomes a dilation.

    The last 1×1 convolution of the classifier network (1,280 channels) is left out, as in Sandler et
    al. 2018, section 6.3.
    """
    features: nn.Sequential = mobilenet_v2(weights=None).features[:18]
    for block in features[14:]:
        for convolution in block.modules():
            if isinstance(convolution, nn.Conv2d) and convolution.kernel_size == (3, 3):
                dilation = 1 if convolution.stride == (2, 2) else 2
                convolution.stride = (1, 1)
                convolution.dilation = convolution.padding = (dilation, dilation)
    return features
