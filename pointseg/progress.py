"""How far long work is: a bar on a terminal, and a line now and then where the output is none, as in a notebook."""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("POINTSEG_PROGRESS", 10.0))  # between two lines at least
SHARE = 0.1  # of the time since the start, that the next line waits for at least, so that long work fills no log
LONGEST = 60.0  # seconds, that it waits at most

Item = TypeVar("Item")


class Advance(Protocol):
    def __call__(self, steps: int = 1) -> None: ...


class Pace:
    """When the next line is due."""

    def __init__(self) -> None:
        self.started = self.reported = time.monotonic()

    def due(self) -> bool:
        """Asked for a line: whether it is time, as if it were then written."""
        now = time.monotonic()
        if now - self.reported < max(SECONDS, min(SHARE * (now - self.started), LONGEST)):
            return False
        self.reported = now
        return True


def over(items: Sequence[Item], what: str, unit: str) -> Iterator[Item]:
    """The items, one after the other."""
    with steps(len(items), what, unit) as done:
        for item in items:
            yield item
            done()


@contextmanager
def steps(total: int, what: str, unit: str) -> Iterator[Advance]:
    """Gives what is to be called after each of `total` steps, or after several."""
    if not total or sys.stderr.isatty():
        with tqdm(desc=what, total=total, unit=unit, disable=not total) as bar:

            def advance(steps: int = 1) -> None:
                bar.update(steps)

            yield advance
        return
    finished, pace = 0, Pace()

    def done(steps: int = 1) -> None:
        nonlocal finished
        finished += steps
        if pace.due():
            log.info("%s: %s %d of %d", what, unit, finished, total)

    yield done
