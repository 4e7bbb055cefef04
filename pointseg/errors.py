"""The one error a user is meant to read, and how it is raised, collected, or made of a library's own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class InputError(CompactHydraException):
    """Input that cannot be used: says what was found, where, and what to do about it.

    Derives from Hydra's compact exception because Hydra prints those without a traceback, and
    because a multirun counts it as one failed job rather than ending the sweep.
    """


class SaidOfEach(Callback):
    """Says why a run of a sweep failed when it does; Hydra says it at the end, and of the first alone."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED:
            log.error("%s failed: %s", config.hydra.job.override_dirname, job_return._return_value)


REASON = 300  # characters that are shown of a library's own words

_collected: ContextVar[list[InputError] | None] = ContextVar("collected", default=None)


@contextmanager
def collected() -> Iterator[list[InputError]]:
    """Within it, readers go on after a fault that leaves others to be found; the list fills with them."""
    faults: list[InputError] = []
    token = _collected.set(faults)
    try:
        with separately():
            yield faults
    finally:
        _collected.reset(token)


@contextmanager
def separately() -> Iterator[None]:
    """Work that the work after it can do without: its InputError ends both, or (in `collected`) itself alone."""
    try:
        yield
    except InputError as error:
        faults = _collected.get()
        if faults is None:
            raise
        faults.append(error)


def fault(message: str) -> None:
    """Raise InputError, or (in `collected`) note it and return."""
    with separately():
        raise InputError(message)


@contextmanager
def reading(file: Path, what: str, remedy: str) -> Iterator[None]:
    """Whatever a library raises within it as an InputError: a damaged file can make a decoder raise anything.

    what: that the file was to be read as, as in "an image". remedy: what to do about it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join([f"{type(error).__name__}:", *str(error).split()])[:REASON]
        raise InputError(f"{file}: cannot be read as {what} ({reason}); {remedy}") from error
