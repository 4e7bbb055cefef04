"""Several processes that train one run: what Lightning and torchrun leave to their caller.

Lightning (`trainer=ddp`) starts the others itself, in `Trainer.fit`, when the run has been begun and its
points are drawn. torchrun starts all of them at once.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from omegaconf import read_write
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from pointseg.errors import InputError

_jobs = itertools.count()


def rank() -> int:
    """Of this process among those of its run; the first, 0, writes what is written once."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0)))  # torchrun's, Lightning's


@contextmanager
def in_turn(folder: Path) -> Iterator[Path]:
    """Within, torchrun's first process prepares the run in `folder`, and after it the others in its folder.

    Hydra has given each its own folder, whose name may hold the time.
    """
    if "RANK" not in os.environ:
        yield folder
        return
    store, this, _ = next(rendezvous("env://"))
    key = f"pointseg/{next(_jobs)}"
    if this:
        store.set_timeout(timedelta(days=1))  # drawing the points of a large dataset takes its time
        prepared = store.get(key).decode()
        if not prepared:
            raise InputError("The first process could not begin this run; its message says why.")
        yield Path(prepared)
        return
    prepared = ""
    try:
        yield folder
        prepared = str(folder)
    finally:
        store.set(key, prepared)


@contextmanager
def of_one_job(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Within, Lightning may start the processes of one job of a sweep, and after it the next job its own.

    It starts them with this process's command line, which is that of the whole sweep (hydra #2070): instead
    they are given the job's configuration, which Hydra keeps in the run's folder. And it takes the variables
    that it sets for them as a sign that they are there already (lightning #11300).
    """
    launcher = trainer.strategy.launcher
    if launcher is None or "LOCAL_RANK" in os.environ:  # this process is alone, or is one of those started
        yield
        return
    before, arguments = dict(os.environ), sys.argv[1:]
    if HydraConfig.initialized():
        sys.argv[1:] = ["--config-path", str(folder / ".hydra"), "--config-name", "config"]
        hydra: Any = HydraConfig.get()
        with read_write(hydra):
            hydra.run.dir = str(folder)  # they are given it too; in a sweep it is not the job's
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        _end(getattr(launcher, "procs", []))
        for name in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        os.environ.update(before)


def _end(others: list[subprocess.Popen[bytes]]) -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
    for process in others:
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # it waits for what will not come
            process.kill()
    others.clear()  # Lightning watches them, and where one has failed it kills this process, with all that is to follow
