"""What Hydra calls before a run: a folder that cannot be written is reported at once."""

import tempfile
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


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
