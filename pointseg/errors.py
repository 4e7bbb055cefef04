"""The one error that a user is meant to read: raised alone, several together, or made of a library's own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from hydra.errors import CompactHydraException

REASON = 300  # characters that are shown of a library's own words
SHOWN = 20  # faults that one message lists


class InputError(CompactHydraException):
    """Input that cannot be used: says what was found, where, and what to do about it.

    Derives from Hydra's compact exception because Hydra prints those without a traceback, and
    because a multirun counts it as one failed job rather than ending the sweep.
    """


class InputErrorGroup(InputError, ExceptionGroup[InputError]):  # noqa: N818 (named as Python's own groups are)
    """Several faults of one input, to be mended together; `exceptions` are the single ones."""

    def __new__(cls, faults: Sequence[InputError]) -> "InputErrorGroup":
        listed = [f"{number:3}. {fault}" for number, fault in enumerate(faults[:SHOWN], 1)]
        more = [f"and {len(faults) - SHOWN} more."] if len(faults) > SHOWN else []
        return super().__new__(cls, "\n".join([f"{len(faults)} faults:", *listed, *more]), faults)

    def __str__(self) -> str:
        return self.message


class Faults:
    """Within it, each step is tried whatever became of the others; at its end it raises the InputErrors of all.

    with Faults() as faults:
        for file in files:
            with faults.step():
                read(file)
    """

    def __init__(self) -> None:
        self.found: list[InputError] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.found += single(error)

    def add(self, message: str) -> None:
        self.found.append(InputError(message))

    def __enter__(self) -> "Faults":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self.found:
            raise self.found[0] if len(self.found) == 1 else InputErrorGroup(self.found)


def single(error: InputError) -> list[InputError]:
    """The faults that an error stands for."""
    if not isinstance(error, InputErrorGroup):
        return [error]
    return [fault for fault in error.exceptions if isinstance(fault, InputError)]


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
        # GDAL's own words lie beneath those of a library that says no more than that they do.
        cause: BaseException = error
        while cause.__cause__ is not None and "previous exception" in str(cause):
            cause = cause.__cause__
        reason = " ".join([f"{type(error).__name__}:", *str(cause).split()])[:REASON]
        raise InputError(f"{file}: cannot be read as {what} ({reason}); {remedy}") from error


def counted(count: int, one: str, many: str) -> str:
    """The number with its noun, and verb, in words that fit it: 1 point lies, 1,650 points lie."""
    return f"{count:,} {one if count == 1 else many}"
