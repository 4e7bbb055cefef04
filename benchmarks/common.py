"""What every row shares: time, contenders in turn, medians and spread, the configuration of a run."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from lightning import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor, nn
from tqdm import tqdm

from pointseg.config import CONF, TRUST

# Configurations name the small network and the noise below; so do the processes that rows start.
os.environ[TRUST] = ",".join(filter(None, [os.environ.get(TRUST), "benchmarks"]))

TINY_SCENES = ("dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}")
"""Overrides of dataset=synthetic."""

SMALL = ("model._target_=benchmarks.common.small", "model.weights=null")
"""Overrides that put a network of next to no work into a run, so that what is around it shows."""


class Seconds(NamedTuple):
    """wall: by the clock on the wall. processor: of all this process's threads; other work does not lengthen it."""

    wall: float
    processor: float


def now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())


def since(start: Seconds) -> Seconds:
    end = now()
    return Seconds(end.wall - start.wall, end.processor - start.processor)


def timed(work: Callable[[], object]) -> Seconds:
    start = now()
    work()
    return since(start)


Samples = dict[str, list[Seconds]]


def in_turn(contenders: Mapping[str, Callable[[], Seconds]], rounds: int, warmup: int = 1) -> Samples:
    """Each contender once a round, A B A B …, so that noise hits all alike; `warmup` rounds do not count."""
    samples: Samples = {name: [] for name in contenders}
    for i in tqdm(range(warmup + rounds), desc=", ".join(contenders), unit="round", disable=None):
        for name, contender in contenders.items():
            seconds = contender()
            if i >= warmup:
                samples[name].append(seconds)
    return samples


def ratio(samples: Samples, name: str, base: str, clock: str = "processor") -> str:
    """Of the base's seconds to the contender's in the same round, above 1 where it is faster: median (quartiles)."""
    pairs = zip(samples[base], samples[name], strict=True)
    return spread([getattr(theirs, clock) / getattr(ours, clock) for theirs, ours in pairs])


def spread(values: Sequence[float]) -> str:
    """Median (lower to upper quartile)."""
    if len(values) < 2:
        return f"{number(values[0])}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{number(middle)} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """Three figures that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median(samples: Sequence[Seconds], clock: str = "wall") -> float:
    return statistics.median(getattr(seconds, clock) for seconds in samples)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def configuration(*overrides: str) -> DictConfig:
    """What `python -m pointseg.train` would compose from these overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", list(overrides))


class Small(nn.Module):
    """Logits at stride 8 by one convolution of patches."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, classes, 8, stride=8)

    def forward(self, images: Tensor) -> Tensor:
        return self.patches(images / 255)


def small(classes: int, weights: None) -> nn.Module:
    return Small(classes)


class Stopwatch(Callback):
    """Seconds of the `steps` training steps after the first `skipped`, with all that Lightning does between them."""

    def __init__(self, skipped: int, steps: int) -> None:
        self.skipped, self.steps = skipped, steps
        self.seconds: Seconds | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.global_step == self.skipped:
            self._start = now()
        if trainer.global_step == self.skipped + self.steps:
            synchronize()
            self.seconds = since(self._start)


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def size_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
