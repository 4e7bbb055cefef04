"""Pretrained encoders as sources of features: their maps at several levels, nothing of them trained."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision.models as zoo
import torchvision.models.segmentation as segmentation
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models._utils import IntermediateLayerGetter

from pointseg.errors import REASON, InputError
from pointseg.types import RGB

log = logging.getLogger(__name__)

TIMM = "timm/"
DEFAULT = "default"
COARSEST = 16  # stride: what comes after it is made for naming whole pictures, and did not help
FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause")


class Level(NamedTuple):
    """A map's channels, its stride in pixels, and the pixel, by rows and by columns, on which its first cell lies."""

    channels: int
    stride: int
    offset: float = 0.0


@dataclass(frozen=True)
class Encoder:
    """body: normalised RGB images → a map for each of `levels`.

    architecture: its name to torchvision's weights, of which the keys beginning with `left_out` are not needed; None:
        its weights are loaded.
    mean, std: of 8-bit values, as its weights expect them.
    multiple: images are to have sides that are multiples of it.
    whole: what it says of a pixel depends on all of the image (a transformer's attention and position codes).
    """

    body: nn.Module
    levels: tuple[Level, ...]
    architecture: str | None
    left_out: tuple[str, ...] = ()
    mean: tuple[float, ...] = RGB.mean
    std: tuple[float, ...] = RGB.std
    multiple: int = 1
    whole: bool = False

    def named(self, weights: str | None) -> str | None:
        """The weights that "default" stands for."""
        if weights != DEFAULT or self.architecture is None:
            return weights
        chosen: str = get_model_weights(self.architecture).DEFAULT.name
        return chosen


def build_encoder(name: str, weights: str | None) -> Encoder:
    """The encoder of that name; one of torchvision's without its weights, which `load_weights` gives it.

    Raises InputError where there is none.
    """
    if name.startswith(TIMM):
        return _timm(name.removeprefix(TIMM), weights)
    if name not in _TORCHVISION:
        raise InputError(
            f"model.encoder={name}: unknown; give one of {', '.join(_TORCHVISION)}, any of timm's as {TIMM}<name>, or "
            "null for filters alone."
        )
    return _TORCHVISION[name](name)


def _mobilenet_v2(name: str) -> Encoder:
    """MobileNetV2 up to its stage of 96 channels (Sandler et al. 2018)."""
    features = zoo.mobilenet_v2(weights=None).features
    levels = {1: Level(16, 2), 3: Level(24, 4), 6: Level(32, 8), 10: Level(64, 16), 13: Level(96, 16)}
    body = IntermediateLayerGetter(features[:14], {str(block): str(block) for block in levels})
    left_out = tuple(f"features.{block}." for block in range(14, len(features)))
    return Encoder(body, tuple(levels.values()), name, left_out)


def _resnet(name: str) -> Encoder:
    """A ResNet without its last stage (He et al. 2016)."""
    return _stages(getattr(zoo, name)(weights=None), name, last=16)


def _dilated_resnet(name: str) -> Encoder:
    """The ResNet of torchvision's DeepLabV3, dilated to stride 8, without its last stage: for its COCO weights."""
    return _stages(getattr(segmentation, name)(weights=None, weights_backbone=None).get_submodule("backbone"), name, 8)


def _stages(resnet: nn.Module, name: str, last: int) -> Encoder:
    stages = {"relu": 2, "layer1": 4, "layer2": 8, "layer3": last}
    body = IntermediateLayerGetter(resnet, {stage: stage for stage in stages})
    with torch.inference_mode():
        widths = [maps.shape[1] for maps in body.eval()(torch.zeros(1, 3, 32, 32)).values()]
    levels = tuple(Level(width, stride) for width, stride in zip(widths, stages.values(), strict=True))
    return Encoder(body, levels, name, ("layer4.", "backbone.layer4.", "aux_classifier."))


_TORCHVISION: dict[str, Callable[[str], Encoder]] = {
    "mobilenet_v2": _mobilenet_v2,
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101"), _resnet),
    **dict.fromkeys(("deeplabv3_resnet50", "deeplabv3_resnet101"), _dilated_resnet),
}


def _timm(name: str, weights: str | None) -> Encoder:
    """Of a CNN of timm's the stages up to stride 16; of a transformer four blocks, evenly spaced.

    weights: None, "default" (timm's own, downloaded) or a file (.pth, .pt, .safetensors).
    Raises InputError where timm has no such model, it takes images of one size alone, or the weights do not fit.
    """
    import timm  # needs a second to import

    options: dict[str, Any] = {"features_only": True}
    try:
        info: Any = timm.create_model(name, **options).feature_info
        strides = info.reduction()
        whole = len(set(strides)) == 1
        if whole:
            depth = len(info)
            options |= {"dynamic_img_size": True, "out_indices": [round((i + 1) * depth / 4) - 1 for i in range(4)]}
        else:
            options["out_indices"] = [i for i, stride in enumerate(strides) if stride <= COARSEST]
        chosen = _pretrained(weights)
        if chosen:
            timm.create_model(name, **chosen)  # the whole network, to which all of the weights must fit
        body: Any = timm.create_model(name, **options, **chosen).eval()
        _check_sizes(body, max(body.feature_info.reduction()))
    except InputError:
        raise
    except Exception as error:  # timm, its downloads and its files each raise their own
        reason = " ".join(str(error).split())[:REASON]
        advice = {
            None: "Give another encoder.",
            DEFAULT: "Give another encoder, or its weights as a file with model.weights=<file> or null (random).",
        }
        raise InputError(
            f"model.encoder={TIMM}{name}, model.weights={weights}: timm refuses ({type(error).__name__}: {reason}). "
            + advice.get(weights, "Give weights of this very encoder, as timm publishes them.")
        ) from error
    config = body.pretrained_cfg
    if weights is not None and (licence := config.get("license")) not in FREE:
        log.warning(
            "The weights of %s have the licence %s, which may reach whatever holds them: runs and exported models too.",
            *(name, licence),
        )
    info = body.feature_info
    levels = tuple(
        Level(channels, stride, _offset(body, stride))
        for channels, stride in zip(info.channels(), info.reduction(), strict=True)
    )
    mean, std = (tuple(255 * value for value in config[key]) for key in ("mean", "std"))
    # Patches leave out what does not fill one; padded convolutions do not.
    multiple = levels[-1].stride if levels[-1].offset == (levels[-1].stride - 1) / 2 else 1
    return Encoder(body, levels, None, (), mean, std, multiple, whole)


def _pretrained(weights: str | None) -> dict[str, Any]:
    if weights is None:
        return {}
    if weights == DEFAULT:
        return {"pretrained": True}
    if not Path(weights).is_file():
        raise InputError(f"model.weights={weights}: there is no such file; give one, {DEFAULT} or null.")
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": weights}}


def _check_sizes(body: nn.Module, stride: int) -> None:
    with torch.inference_mode():
        body(torch.zeros(1, 3, 8 * stride, 5 * stride))


def _offset(body: nn.Module, stride: int) -> float:
    """Where a map's first cell lies: by how the first convolution, and with it the others, lies on its input."""
    first = next(layer for layer in body.modules() if isinstance(layer, nn.Conv2d))
    if "Same" in type(first).__name__:  # TensorFlow's way to pad: of even sides on the right alone
        return stride - 1
    if first.kernel_size == first.stride:  # patches, about their middles
        return (stride - 1) / 2
    return 0.0
