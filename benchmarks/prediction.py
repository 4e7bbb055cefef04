"""Validation and prediction of whole scenes.

Speed: *network alone* is the network's forward on the windows of the scene, one resident batch after the other;
*prediction* is what `python -m pointseg.predict` does for a map (reading, forward, upsampling, softmax, blending,
writing the cloud-optimised GeoTIFF; batch norm made part of the convolutions); *validation* what training does for a
scene of its cache (scores, class map). Megapixels are the scene's; ratios are of seconds in the same round (1: nothing
but the network): median (quartiles). Growth: `python -m pointseg.predict` as a process, on empty scenes, with a network
of one convolution, so that pointseg's own share shows; peak memory is the process's.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import nn

from benchmarks.common import (
    SMALL,
    TINY_SCENES,
    Samples,
    Seconds,
    configuration,
    in_turn,
    median,
    number,
    ratio,
    table,
    timed,
)
from pointseg.imagery.decoded import CachedScene
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.maps.predict import Settings, predict_map
from pointseg.prediction.trained import Trained, load_run
from pointseg.prediction.windows import cover
from pointseg.training.runs import load
from pointseg.training.system import PointSeg
from pointseg.training.train import train as train_run
from pointseg.types import LabelledScene

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Size:
    """side: of the scene that speed is measured on, in pixels. growing: sides of the empty scenes."""

    models: tuple[str, ...]
    side: int
    window: int
    rounds: int
    growing: tuple[int, ...]


SIZES = {
    "tiny": Size(("unet",), 96, 64, 1, (128,)),
    "quick": Size(("deeplabv3plus_mobilenet_v2",), 1024, 256, 3, (1000, 2000, 4000)),
    "full": Size(("deeplabv3plus_mobilenet_v2", "deeplabv3_resnet50"), 1536, 512, 2, (8000, 16000, 30000)),
}


def run(size: Size, folder: Path) -> str:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        trained = place / "small"
        train(trained, *SMALL, "crop_size=512", "overlap=64", "batch_size=8")
        grown = [growth(trained, place, side) for side in size.growing]  # first: its memory is not below this process's
        rows = [row for model in size.models for row in speed(size, model, place)]
    head = ["network", "window", "contender", "Mpx/s", "of the network alone, processor", "wall"]
    grown_head = ["scene", "wall s", "processor s", "s per Mpx, processor", "peak memory, MB"]
    return f"{table(head, rows)}\n{table(grown_head, grown)}"


def train(folder: Path, *overrides: str) -> None:
    """A run of one step, for its folder."""
    with_one_step = ("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1")
    cfg = configuration("dataset=synthetic", *TINY_SCENES, *with_one_step, "trainer.accelerator=auto", *overrides)
    folder.mkdir()
    train_run(cfg, folder, {})


def speed(size: Size, model: str, place: Path) -> list[list[object]]:
    run_folder = place / model
    train(run_folder, f"model={model}", "model.weights=null", f"crop_size={size.window}", "overlap=32", "batch_size=4")
    trained = load_run(run_folder, "last", "auto", flips=False)
    _, _, system = load(run_folder, "last")
    system = system.to(trained.device).eval()
    file = place / f"{model}.tif"
    noise = np.random.default_rng(0).integers(0, 255, (3, size.side, size.side), np.uint8)
    write(file, size.side, noise)
    (raster,) = open_rasters({model: file}, bands=trained.bands)
    labelled = LabelledScene(cached(place, noise), None)
    settings = Settings(size.window, 32, 4, probabilities=False)
    contenders: dict[str, Callable[[], Seconds]] = {
        "network alone": partial(timed, partial(alone, system.model, trained.device, size)),
        "prediction": partial(timed, partial(map_anew, trained, raster, place / "map.tif", settings)),
        "validation": partial(timed, torch.inference_mode()(partial(validate, system, labelled))),
    }
    samples = in_turn(contenders, size.rounds)
    pixels = size.side**2 / 1e6
    return [
        [model, f"{size.window}²", name, number(pixels / median(times)), *ratios(samples, name)]
        for name, times in samples.items()
    ]


def ratios(samples: Samples, name: str) -> list[str]:
    return [ratio(samples, name, "network alone", clock) for clock in ("processor", "wall")]


def alone(network: nn.Module, device: torch.device, size: Size) -> None:
    """The network's forward on as many windows as the scene has, by the batch."""
    windows = len(cover(size.side, size.window, 32)) ** 2
    side = min(size.window, size.side)
    images = torch.zeros(4, side, side, 3, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, device.type == "cuda"):
        for first in range(0, windows, 4):
            network(images[: min(4, windows - first)])


def validate(system: PointSeg, scene: LabelledScene) -> None:
    system.on_validation_start()
    system.validation_step(scene, 0)


def map_anew(trained: Trained, raster: Raster, file: Path, settings: Settings) -> None:
    for there in file.parent.glob(f"{file.stem}*.tif"):
        there.unlink()
    predict_map(trained, raster, file, settings)


def cached(place: Path, noise: np.ndarray) -> CachedScene:
    """The scene as training has it."""
    image, mask = place / "image.npy", place / "mask.npy"
    np.save(image, noise.transpose(1, 2, 0))
    np.save(mask, np.zeros(noise.shape[1:], np.uint8))
    return CachedScene("noise", "noise", noise.shape[1:], image, mask)


def write(file: Path, side: int, values: np.ndarray | None = None) -> None:
    """An RGB GeoTIFF; without values its blocks are empty and take no room."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": side, "width": side, "tiled": True}
    with rasterio.open(file, "w", **profile, sparse_ok=True, photometric="RGB") as dataset:
        if values is not None:
            dataset.write(values)


def growth(trained: Path, place: Path, side: int) -> list[object]:
    """Seconds and peak memory of the command on an empty scene."""
    file, output = place / f"{side}.tif", place / f"map{side}.tif"
    write(file, side)
    command = [sys.executable, "-m", "pointseg.predict", f"run={trained}", f"input={file}", f"output={output}"]
    command += ["checkpoint=last", f"hydra.run.dir={place}/log"]
    start = time.perf_counter()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }  # to find `small`, from another folder
    process = subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, f"{' '.join(command)} failed"
    for there in place.glob(f"map{side}*"):
        there.unlink()
    processor = usage.ru_utime + usage.ru_stime
    megapixels = side**2 / 1e6
    memory = usage.ru_maxrss / 1024
    return [f"{side:,}²", number(seconds), number(processor), f"{processor / megapixels:.3g}", number(memory)]
