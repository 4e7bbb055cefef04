"""Pretrained weights: by torchvision's name, from a file, or none; every key accounted for.

A file is a state dict as torchvision saves it: of a whole segmentation network ("backbone.…"), of an
encoder alone, or a checkpoint of a pointseg run. Loading runs no code (`weights_only`).
"""

import logging
import zipfile
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model_weights, get_weight, list_models

from pointseg.errors import SHOWN, InputError, reading

log = logging.getLogger(__name__)

N = TypeVar("N", bound=nn.Module)
State = dict[str, Tensor]

_HEADS = ("fc.", "classifier.", "features.18.")  # of an ImageNet network: its classifier, not part of ours
_MODEL = "model."  # how Lightning prefixes the network in a run's checkpoint


def load_weights(network: N, weights: str | None, architecture: str, left_out: tuple[str, ...] = ()) -> N:
    """Load `weights` into `network`; only what depends on the number of classes may be new, or a whole head.

    weights: None; a path (a file of an encoder alone leaves the head new); or torchvision's name, whole
        ("ResNet50_Weights.IMAGENET1K_V2") or, for `architecture`, short ("COCO_WITH_VOC_LABELS_V1").
    left_out: beginnings of the keys of a file that the network does without.
    Raises InputError, naming the keys, where anything else is missing, superfluous or of another shape.
    """
    if weights is None:
        return network
    state = (
        _read(Path(weights)) if Path(weights).suffix in (".pth", ".pt", ".ckpt") else _download(weights, architecture)
    )
    if not any(key.startswith("backbone.") for key in state):
        state = _encoder(state, (*_HEADS, *left_out))
        optional = {key for key in network.state_dict() if key.startswith("classifier.")}
    else:
        state = {key: value for key, value in state.items() if not key.startswith(left_out)}
        optional = {key for key in network.state_dict() if key.startswith(left_out)}
    _load(network, state, optional, weights, architecture)
    return network


def read_checkpoint(file: Path) -> dict[str, object]:
    """A file written by torch.save, without running code. Raises InputError where it cannot be read."""
    if not file.is_file():
        raise InputError(
            f"{file}: there is no such file of weights (model.weights=<file>, or null to train from scratch)."
        )
    with reading(file, "weights", "give a state dict saved by torch."):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if damaged := archive.testzip():  # torch does not look at the checksums that it writes
                    raise ValueError(f"{damaged} is damaged, by its checksum")
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise InputError(f"{file}: holds a {type(content).__name__}, not a state dict; save model.state_dict().")
    return content


def restore(module: nn.Module, state: object, file: Path) -> None:
    """Load a run's weights, every one of them. Raises InputError where they do not fit or are no numbers."""
    with reading(file, "the run's weights", "train it anew, or restore its config.yaml."):
        if not isinstance(state, dict):
            raise TypeError(f"a {type(state).__name__} in place of a state dict")
        module.load_state_dict(state)
    _refuse_what_is_not_finite(module.state_dict(), file)


def _refuse_what_is_not_finite(state: State, file: Path) -> None:
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise InputError(f"{file}: {broken[0]} holds NaN or infinity; use another checkpoint, or train anew.")


def _read(file: Path) -> State:
    content = read_checkpoint(file)
    state = content.get("state_dict", content)
    tensors = (
        {key: value for key, value in state.items() if isinstance(value, Tensor)} if isinstance(state, dict) else {}
    )
    if not tensors:
        raise InputError(f"{file}: holds no tensors; give a state dict saved by torch.")
    _refuse_what_is_not_finite(tensors, file)
    return {key.removeprefix(_MODEL): value for key, value in tensors.items()}


def _download(name: str, architecture: str) -> State:
    known = list(get_model_weights(architecture)) if architecture in list_models() else []
    try:
        entry = get_weight(name) if "." in name else next(weights for weights in known if weights.name == name)
    except (ValueError, StopIteration) as error:
        listing = ", ".join(weights.name for weights in known) or "none"
        raise InputError(
            f"model.weights={name}: neither a file (.pth, .pt, .ckpt) nor a name torchvision knows for {architecture}; "
            f"it knows: {listing}. To train from scratch: model.weights=null."
        ) from error
    try:
        state: State = entry.get_state_dict(progress=True, check_hash=True)
    except Exception as error:  # urllib, sockets, TLS and the hash check each raise their own
        raise InputError(
            f"model.weights={name}: the download of {entry.url} failed ({error}). Fetch that file elsewhere and give "
            "it with model.weights=<file>, or train from scratch with model.weights=null."
        ) from error
    return state


def _encoder(state: State, left_out: tuple[str, ...]) -> State:
    """The keys of an ImageNet classifier as those of a backbone, without those that begin with `left_out`."""
    kept = {key: value for key, value in state.items() if not key.startswith(left_out)}
    return {f"backbone.{key.removeprefix('features.')}": value for key, value in kept.items()}


def _rebanded(weight: Float[Tensor, "out 3 h w"], bands: int) -> Float[Tensor, "out c h w"]:
    """A first layer for other bands than RGB.

    More: the first three are taken for RGB, and the others begin at zero, so that the network begins as
    the pretrained one. Fewer: each has an equal part of the sum over RGB, so that grey counts as before.
    """
    if bands > 3:
        return torch.cat([weight, weight.new_zeros(len(weight), bands - 3, *weight.shape[2:])], 1)
    return (weight.sum(1, keepdim=True) / bands).expand(-1, bands, -1, -1).clone()


def _listed(keys: set[str]) -> str:
    return ", ".join(sorted(keys)[:SHOWN]) + (", …" if len(keys) > SHOWN else "")


def _load(network: nn.Module, state: State, optional: set[str], weights: str, architecture: str) -> None:
    own = network.state_dict()
    state = {key: value for key, value in state.items() if not key.startswith("aux_classifier.")}
    first = next(f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))
    if first in state and state[first].shape[1] == 3 != own[first].shape[1]:
        state[first] = _rebanded(state[first], own[first].shape[1])
        log.info("%s: its first layer sees RGB; fitted to %d bands", weights, own[first].shape[1])
    reshaped = {key for key in own.keys() & state.keys() if own[key].shape != state[key].shape}
    other_classes = {
        key for key in reshaped if key.startswith("classifier.") and own[key].shape[1:] == state[key].shape[1:]
    }
    faults = {
        "missing": own.keys() - state.keys() - optional,
        "not in the network": state.keys() - own.keys(),
        "of another shape": reshaped - other_classes,
    }
    if any(faults.values()):
        lines = [f"  {what} ({len(keys)}): {_listed(keys)}" for what, keys in faults.items() if keys]
        raise InputError(
            f"model.weights={weights}: do not fit {architecture}:\n" + "\n".join(lines) + "\n"
            "Give the weights of this architecture, or model.weights=null."
        )
    network.load_state_dict({key: value for key, value in state.items() if key not in reshaped}, strict=False)
    new = sorted({key.rpartition(".")[0] for key in reshaped})
    log.info("%s loaded; new: %s", weights, "all after the encoder" if optional else ", ".join(new) or "nothing")
