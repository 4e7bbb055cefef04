"""Sweeps: small runs one after another and two at a time.

`python -m pointseg.train -m` with seeds; two at a time by Hydra's joblib launcher (the extra `sweep`). Training time is
what the runs' scores.json give, the first step to the last validation. Overhead: what the sweep takes beyond it (all
of the start included), divided by the runs.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common import TINY_SCENES, number, table
from benchmarks.start import process

TWO = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@dataclass(frozen=True)
class Size:
    runs: int
    epochs: int
    steps: int


SIZES = {"tiny": Size(1, 1, 1), "quick": Size(8, 1, 4), "full": Size(8, 4, 20)}


def run(size: Size, folder: Path) -> str:
    ways: dict[str, tuple[str, ...]] = {"one after another": ()}
    missing = "\nNot measured: two at a time, which needs the extra `sweep` (hydra-joblib-launcher).\n"
    if find_spec("hydra_plugins.hydra_joblib_launcher") is not None:
        ways, missing = {**ways, "two at a time": TWO}, ""
    rows = [[name, size.runs, *sweep(size, launcher)] for name, launcher in ways.items()]
    head = ["runs", "number", "wall s", "processor s", "sum of training, s", "overhead a run, s (at most 5)"]
    return table(head, rows) + missing


def sweep(size: Size, launcher: tuple[str, ...]) -> list[str]:
    with tempfile.TemporaryDirectory() as place:
        seeds = ",".join(str(seed) for seed in range(size.runs))
        scenes = ("experiment=demo", *TINY_SCENES, "crop_size=32", "overlap=8", "trainer.accelerator=cpu")
        length = (f"trainer.max_epochs={size.epochs}", f"+trainer.limit_train_batches={size.steps}")
        command = partial(process, place, {**os.environ, "POINTSEG_CACHE": f"{place}/cache"}, "pointseg.train", "-m")
        seconds = command(*scenes, *length, f"seed={seeds}", "hydra.sweep.dir=sweep", *launcher)
        scores = [json.loads(file.read_text()) for file in Path(place).glob("sweep/*/scores.json")]
    assert len(scores) == size.runs
    training = sum(score["finished"]["seconds"] for score in scores)
    overhead = (seconds.wall - training / (2 if launcher else 1)) / size.runs
    return [number(seconds.wall), number(seconds.processor), number(training), number(overhead)]
