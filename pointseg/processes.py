"""Several processes at one job, as torchrun starts them: all at once, each knowing its number among how many."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from pointseg.errors import InputError

_jobs = itertools.count()


def rank() -> int:
    """Of this process among those of its job; the first, 0, writes what is written once."""
    return int(os.environ.get("RANK", 0))


def number() -> int:
    """Of the processes at this job."""
    return int(os.environ.get("WORLD_SIZE", 1))


@contextmanager
def in_turn(folder: Path) -> Iterator[Path]:
    """Within, the first process prepares the run in `folder`, and after it the others, in its folder.

    Hydra has given each process its own folder, whose name may hold the time.
    """
    if number() == 1:
        yield folder
        return
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    key = f"pointseg/{next(_jobs)}"
    if rank():
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
