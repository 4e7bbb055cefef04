"""Signs of life of a long run whose output is a file, as under nohup and a cluster's scheduler."""

import logging
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)

SECONDS = 60.0  # between two lines


class Lines(Callback):
    """A line a minute while an epoch is trained or validated, where no progress bar is shown."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._said = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._due(trainer):
            self._say(trainer, f"batch {batch_idx + 1} of {trainer.num_training_batches}, loss {outputs['loss']:.3f}")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        if self._due(trainer):
            self._say(trainer, f"validation, scene {batch_idx + 1} of {sum(trainer.num_val_batches)}")

    def _due(self, trainer: Trainer) -> bool:
        return trainer.progress_bar_callback is None and time.monotonic() - self._said >= SECONDS

    def _say(self, trainer: Trainer, what: str) -> None:
        self._said = time.monotonic()
        if trainer.is_global_zero:
            log.info("Epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, what)
