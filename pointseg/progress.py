"""How far long work is: a bar on a terminal, and a line a minute where the output is a file, as under nohup."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS = 60.0  # between two lines

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
    finished, said = 0, time.monotonic()

    def done() -> None:
        nonlocal finished, said
        finished += 1
        if time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            log.info("%s: %s %d of %d", what, unit, finished, total)

    yield done


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
