"""Growth of time and memory with the data.

Scenes, points in each scene, and classes grow, one at a time; each setting trains an epoch in a process of its own,
with a network of one convolution, so that pointseg's own share shows. Scenes are squares of noise with random points.
Epoch: loader, augmentation, network, loss, optimiser, logging, in processor seconds. Setup: from the configuration to
the first step's start (points drawn, written and read again). The exponent is the slope of log time against log number
between the last two settings: 1 is linear. `growth.png` shows it.
"""

import multiprocessing
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from benchmarks.common import SMALL, Seconds, configuration, now, number, since, table
from pointseg.config import parse
from pointseg.files import writing
from pointseg.imagery.decoded import CachedScene
from pointseg.training import runs
from pointseg.training.train import make_trainer
from pointseg.types import Dataset

SIDE = 512


@dataclass(frozen=True)
class Setting:
    scenes: int = 10
    points: int = 1000
    classes: int = 6


@dataclass(frozen=True)
class Size:
    scenes: tuple[int, ...]
    points: tuple[int, ...]
    classes: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return ((name, value) for name in ("scenes", "points", "classes") for value in getattr(self, name))


SIZES = {
    "tiny": Size((2, 4), (10, 20), (2, 3)),
    "quick": Size((4, 40, 400), (10, 100, 1000, 10_000, 100_000), (2, 10, 100)),
    "full": Size((10, 100, 1000), (10, 100, 1000, 10_000, 100_000), (2, 6, 20, 50, 100)),
}


def run(size: Size, folder: Path) -> str:
    grown: dict[str, list[tuple[int, Seconds, Seconds, float]]] = {}
    for name, value in size:
        with tempfile.TemporaryDirectory() as place, multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(epoch, (replace(Setting(), **{name: value}), Path(place)))
        grown.setdefault(name, []).append((value, *measured))
    with writing(folder / "growth.png") as partial:
        draw(grown, partial)
    rows = [
        [name, f"{value:,}", number(setup.processor), number(seconds.processor), number(memory)]
        for name, values in grown.items()
        for value, setup, seconds, memory in values
    ]
    exponents = ", ".join(f"{name} {exponent(values):.2f}" for name, values in grown.items())
    head = ["what grows", "number", "setup, s", "epoch, s", "peak memory, MB"]
    return f"{table(head, rows)}\nExponents of the epoch's time: {exponents}.\n\n![Growth](growth.png)\n"


def exponent(values: list[tuple[int, Seconds, Seconds, float]]) -> float:
    (fewer, _, less, _), (more, _, longer, _) = list(pairwise(values))[-1]
    return log(longer.processor / less.processor) / log(more / fewer)


def epoch(setting: Setting, place: Path) -> tuple[Seconds, Seconds, float]:
    """Setup, epoch, and the process's peak memory in MB."""
    start = now()
    dataset = [f"dataset._target_={__name__}.noise", f"+dataset.scenes={setting.scenes}"]
    dataset += [f"+dataset.classes={setting.classes}", f"+dataset.folder={place}"]
    dataset += [f"~dataset.{key}" for key in ("tiles", "size", "seed", "split")]
    cfg = configuration("dataset=synthetic", *dataset, *SMALL, f"budget={setting.points}", "trainer.max_epochs=1")
    config = parse(cfg)
    data, system = runs.build(config, place)
    clock = EpochClock()
    trainer = make_trainer(
        config,
        logger=TensorBoardLogger(place),
        callbacks=[clock],
        enable_checkpointing=False,
        limit_val_batches=0,
    )
    setup = since(start)
    trainer.fit(system, data)
    return setup, clock.seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class EpochClock(Callback):
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = now()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds = since(self._start)


def noise(scenes: int, classes: int, folder: str) -> Dataset:
    """`scenes` training scenes and one for validation, which share one image and mask on disk."""
    image, mask = Path(folder) / "image.npy", Path(folder) / "mask.npy"
    rng = np.random.default_rng(0)
    np.save(image, rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8))
    np.save(mask, rng.integers(0, classes, (SIDE, SIDE), np.uint8))
    held = [CachedScene(f"{i:05}", f"{i}", (SIDE, SIDE), image, mask) for i in range(scenes + 1)]
    palette = rng.integers(0, 255, (classes, 3), np.uint8)
    names = tuple(f"class {i}" for i in range(classes))
    return Dataset(names, palette, (True,) * classes, {"train": held[1:], "val": held[:1]})


def draw(grown: dict[str, Any], file: Path) -> None:
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots(1, len(grown), sharey=True)
    for axis, (name, values) in zip(axes, grown.items(), strict=True):
        numbers = [value[0] for value in values]
        seconds = [value[2].processor for value in values]
        axis.loglog(numbers, seconds, "o-", label="measured")
        axis.loglog(numbers, [seconds[-1] * n / numbers[-1] for n in numbers], "--", color="grey", label="linear")
        axis.set_xlabel(f"{name} a scene" if name == "points" else name)
    axes[0].set_ylabel("epoch, processor s")
    axes[0].legend()
    figure.savefig(file, dpi=110)
