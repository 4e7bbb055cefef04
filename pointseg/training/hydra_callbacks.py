"""What Hydra calls before and after a run: a folder that cannot be written, and a failing run, are reported at once."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class Writable(Callback):
    """Ends the command, in a sentence, where nothing can be written into its folder."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _try(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _try(config, "sweep")


def _try(config: DictConfig, kind: str) -> None:
    HydraConfig.instance().set_config(config)  # which names of folders refer to
    folder = Path(config.hydra[kind].dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:  # Hydra logs an InputError of a callback, and goes on
        raise SystemExit(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with hydra.{kind}.dir=<folder>."
        ) from error


class ReportFailures(Callback):
    """Logs why a run of a sweep failed as soon as it does; Hydra reports only the first failure, at the end."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN and job_return.status == JobStatus.FAILED:
            log.error("%s failed: %s", config.hydra.job.override_dirname, job_return._return_value)
