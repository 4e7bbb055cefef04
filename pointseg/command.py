"""How every command starts and ends: composed by Hydra, and an error of its input as one sentence, without a frame."""

import difflib
import functools
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pointseg.config import CONF
from pointseg.errors import InputError

log = logging.getLogger(__name__)

Task = Callable[[DictConfig], Any]


def command(name: str) -> Callable[[Task], Callable[[], None]]:
    """Of a function of the configuration, the command that conf/<name>.yaml describes."""

    def decorate(task: Task) -> Callable[[], None]:
        composed = hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(_job(task, name))

        @functools.wraps(task)
        def main() -> None:
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves errors to us
            sys.argv[1:] = map(quoted, sys.argv[1:])
            try:
                composed()
            except HydraException as error:
                raise SystemExit(_in_words(error, name)) from None
            except InputError as error:  # of a sweep
                raise SystemExit(str(error)) from None

        return main

    return decorate


def _job(task: Task, name: str) -> Task:
    """The function as Hydra runs it, once or for each run of a sweep, which goes on after one that fails."""

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        try:
            return task(cfg)
        except Exception as error:
            config = HydraConfig.get()
            if config.mode == RunMode.MULTIRUN:  # Hydra reports only the first failure, at the end
                log.error("%s failed: %s", config.job.override_dirname, error)
            elif isinstance(error, InputError):
                _discard(Path(config.runtime.output_dir), config.output_subdir)
                raise SystemExit(str(error)) from None
            raise

    job.__module__ = f"pointseg.{name}"  # Hydra names the job, and its log, after it; it may be run as __main__
    return job


def _discard(folder: Path, own: str | None) -> None:
    """Remove the folder of a refused command, if it holds nothing but what Hydra has put there."""
    if own is None or not folder.is_dir():
        return
    rest = [entry for entry in folder.iterdir() if entry.name != own and entry.suffix != ".log"]
    if not rest:
        with suppress(OSError):
            shutil.rmtree(folder)


PLAIN = r"'[^']*'|\"[^\"]*\"|[^\[\]{},:=()'\"]+"  # what is quoted, or has no character that Hydra's grammar uses


def quoted(argument: str) -> str:
    """`key=value`, in quotes where Hydra's grammar would misread it.

    Quoted as a whole is what names a file that is there; else each word with letters beyond ASCII, which the grammar
    does not know.
    """
    key, separator, value = argument.partition("=")
    if not separator or not (re.search(r"[\s,()\[\]{}'\"$=:;]", value) or not value.isascii()) or _is_read(argument):
        return argument
    if Path(value).exists():
        return f"{key}={_in_quotes(value)}"
    if value.isascii() or "{" in value:  # whose keys cannot stand in quotes
        return argument
    return f"{key}=" + re.sub(PLAIN, lambda word: word[0] if word[0].isascii() else _spaced(word[0]), value)


def _is_read(argument: str) -> bool:
    """Whether the grammar reads the value as it stands."""
    value = argument.partition("=")[2]
    with suppress(HydraException):
        return bool(OverridesParser.create().parse_override(argument).value() == value and "${" not in value)
    return False


def _spaced(word: str) -> str:
    """In quotes, but for spaces at its ends."""
    if word[0] in "'\"":
        return word
    inner = word.strip()
    return word.replace(inner, _in_quotes(inner), 1)


def _in_quotes(value: str) -> str:
    return "'" + value.replace("'", "\\'").replace("${", "\\${") + "'"


def _in_words(error: HydraException, name: str) -> str:
    """What Hydra found in the command line, without what it says of itself."""
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        example = f"\"{key}='{value or '…'}'\""
        return (
            f"{error.override}: cannot be read: brackets, commas, quotes, $ and = have a meaning in values. Put those "
            f"of a name in quotes twice, as in {example}, or name files in a list, as in {key}=@list.txt."
        )
    if unknown := re.match(r"Could not override '([^']+)'", str(error)):
        known = [str(key) for key in OmegaConf.load(CONF / f"{name}.yaml") if key not in ("defaults", "hydra")]
        close = difflib.get_close_matches(unknown[1], known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{unknown[1]}: there is no such key; {hint}conf/{name}.yaml and its groups say which there are."
    cause = f"\n{error.__cause__}" if isinstance(error.__cause__, OmegaConfBaseException) else ""
    return str(error).partition("\nConfig search path")[0].strip() + cause
