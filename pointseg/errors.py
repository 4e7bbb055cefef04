"""The one error a user is meant to read, and how it is raised, collected, or made of a library's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from hydra.errors import CompactHydraException


class InputError(CompactHydraException):
    """Input that cannot be used: says what was found, where, and what to do about it.

    Derives from Hydra's compact exception because Hydra prints those without a traceback, and
    because a multirun counts it as one failed job rather than ending the sweep.
    """


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
