"""A trained network with all that predicting needs, from a run's folder alone: its dataset may be gone."""

import hashlib
import logging
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from pointseg.config import read, values
from pointseg.errors import InputError, reading
from pointseg.models.networks import build_network, fold_norms
from pointseg.models.weights import read_checkpoint, restore
from pointseg.prediction import calibration
from pointseg.prediction.windows import Predict, averaged_over_flips, probabilities
from pointseg.types import Bands

log = logging.getLogger(__name__)

Accelerator = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Trained:
    """predict: 8-bit images on `device` → class probabilities. key: changes with whatever changes the prediction.

    window_size, overlap (pixels), batch_size: of the windows in training and validation.
    flips: whether the run's scores are of an average over mirror images; `predict` may have been asked otherwise.
    network: 8-bit images → logits at its own stride, calibrated as `predict` is; None of an exported file.
    """

    predict: Predict
    classes: tuple[str, ...]
    palette: UInt8[np.ndarray, "k 3"]
    bands: Bands
    window_size: int
    overlap: int
    batch_size: int
    device: torch.device
    key: str
    flips: bool
    network: nn.Module | None = None


def config_file(folder: Path) -> Path:
    """The configuration of the run in `folder`. Raises InputError where that is not the folder of a run."""
    file = folder / "config.yaml"
    if not file.is_file():
        raise InputError(f"run={folder}: not the folder of a run; it has no config.yaml. Runs lie in outputs/.")
    return file


def checkpoint_file(folder: Path, checkpoint: str) -> Path:
    """The `best` or `last` checkpoint of the run in `folder`. Raises InputError where it is not there."""
    file = folder / f"{checkpoint}.ckpt"
    if not file.is_file():
        other = "; checkpoint=last is there" if checkpoint == "best" and (folder / "last.ckpt").is_file() else ""
        raise InputError(
            f"run={folder}: has no {file.name}: its training did not get as far as a validation (see resume=true), or "
            f"the file was removed since (restore it, or train anew in another folder){other}."
        )
    return file


def load_run(
    folder: Path, checkpoint: str, accelerator: Accelerator, flips: bool | None, calibrated: bool = True
) -> Trained:
    """The network of the run in `folder` with the weights of its `best` or `last` checkpoint.

    flips: average the prediction over the image and its three mirror images; None: where the run's scores are so too.
    calibrated: as the run's calibration.json says, where it has one.
    Raises InputError where the folder is not that of a run, or there is no such checkpoint or device.
    """
    stored = config_file(folder)
    file = checkpoint_file(folder, checkpoint)
    config = values(read(stored), "model", "crop_size", "overlap", "batch_size", "flips")
    saved: dict[str, Any] = read_checkpoint(file)
    with reading(file, "a run's checkpoint", "train it anew."):
        bands, (classes, palette) = bands_of(saved["bands"]), legend_of(saved)
        state = {key[6:]: value for key, value in saved["state_dict"].items() if key.startswith("model.")}
    network = build_network({**config["model"], "weights": None}, len(classes), bands)
    restore(network, state, file)
    found = calibration.read(folder, checkpoint, len(classes)) if calibrated else None
    if found is not None:
        prior = ", class prior corrected" if any(found.shift) else ""
        log.info("Calibrated as %s says: temperature %.3f%s", folder / calibration.FILE, found.temperature, prior)
        network = calibration.Calibrated(network, found)
    flipped = flips_of(flips, config["flips"])
    device = find_device(accelerator)
    network = fold_norms(network.to(device).eval())
    return Trained(
        _predictor(network, device, flipped),
        classes,
        palette,
        bands,
        config["crop_size"],
        config["overlap"],
        config["batch_size"],
        device,
        hashlib.sha256(file.read_bytes() + repr((flipped, found)).encode()).hexdigest(),
        config["flips"],
        network,
    )


def bands_of(saved: dict[str, Any]) -> Bands:
    """Raises TypeError or ValueError where a checkpoint or JSON says what cannot be bands."""
    # What loads without running code has lists where Bands has tuples.
    parts: dict[str, Any] = {
        key: tuple(value)
        for key, value in saved.items()
        if isinstance(value, list | tuple | str) and key not in ("dtype", "names", "seen")
    }
    curves = tuple(tuple(curve) for curve in parts.pop("curves", ()))
    numbers = [*chain.from_iterable(parts.values()), *chain.from_iterable(curves)]
    if odd := [value for value in numbers if not isinstance(value, int | float)]:
        raise TypeError(f"{odd[0]!r} in place of a number of a band")
    nodata = parts.pop("nodata", ())
    lengths = {len(part) for part in parts.values()} | ({len(curves)} if curves else set())
    if len(lengths) != 1 or not lengths - {0}:
        raise ValueError(f"different numbers of bands: {saved}")
    facts: dict[str, Any] = {"strict": bool(saved.get("strict", False)), "sought": bool(saved.get("sought", True))}
    facts |= {"names": tuple(map(str, saved.get("names", ()))), "pixel": float(saved.get("pixel", 0))}
    facts["seen"] = tuple(tuple(map(int, steps)) for steps in saved.get("seen", ()))
    return Bands(str(saved["dtype"]), **parts, curves=curves, nodata=nodata, of=int(saved.get("of", 0)), **facts)


def legend_of(saved: dict[str, Any]) -> tuple[tuple[str, ...], UInt8[np.ndarray, "k 3"]]:
    """The classes and their palette. Raises TypeError or ValueError where these are none."""
    classes, palette = tuple(saved["classes"]), np.array(saved["palette"], np.uint8)
    if odd := [name for name in classes if not isinstance(name, str)]:
        raise TypeError(f"a class is called {odd[0]!r}")
    if palette.shape != (len(classes), 3):
        raise ValueError(f"{len(classes)} classes in {palette.shape} colours")
    return classes, palette


def flips_of(asked: bool | None, scored: bool) -> bool:
    """Whether to average over mirror images: as asked for, or else as the run's scores are."""
    if asked is None and scored:
        log.info("Averaged over the four mirror images, as the run's scores are; flips=false takes a quarter")
    return scored if asked is None else asked


def find_device(accelerator: Accelerator) -> torch.device:
    """`auto`: a GPU where there is one, else the CPU; of several processes on a machine, each its own GPU."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(name for name, present in available.items() if present) if accelerator == "auto" else accelerator
    if not available.get(name, False):
        present = ", ".join(name for name, is_present in available.items() if is_present)
        raise InputError(f"accelerator={accelerator}: there is no such device; available: {present}.")
    log.info("Device: %s", name)
    return torch.device(name, int(os.environ.get("LOCAL_RANK", 0))) if name == "cuda" else torch.device(name)


def _predictor(network: nn.Module, device: torch.device, flips: bool) -> Predict:
    @torch.inference_mode()
    def predict(images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        # As in training: bf16 on a GPU, float32 elsewhere.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return probabilities(network, images)

    return averaged_over_flips(predict) if flips else predict
