"""How far long work is: a bar on a terminal, and a line a minute where the output is a file, as under nohup."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("POINTSEG_PROGRESS", 60.0))  # between two lines

Item = TypeVar("Item")


def over(items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
    """The items, one after the other."""
    with steps(len(items), what, unit) as done:
        for item in items:
            yield item
            done()


@contextmanager
def steps(total: int, what: str, unit: str) -> Iterator[Callable[[], None]]:
    """Gives what is to be called after each of `total` steps."""
    if not total or sys.stderr.isatty():
        with tqdm(desc=what, total=total, unit=unit, disable=not total) as bar:

            def advance() -> None:
                bar.update()

            yield advance
        return
    finished, reported = 0, time.monotonic()

    def done() -> None:
        nonlocal finished, reported
        finished += 1
        if time.monotonic() - reported >= SECONDS:
            reported = time.monotonic()
            log.info("%s: %s %d of %d", what, unit, finished, total)

    yield done
