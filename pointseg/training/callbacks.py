"""What Lightning calls while a run is trained and evaluated: pictures, and lines in place of a progress bar."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from pointseg import plots, progress
from pointseg.files import writing
from pointseg.training.system import PointSeg
from pointseg.types import Dataset, LabelledScene

log = logging.getLogger(__name__)


class TrainingPictures(Callback):
    """After each validation: panels of the same few scenes, spread over the split, and the confusion matrix."""

    def __init__(self, dataset: Dataset, scenes: int = 4) -> None:
        self.dataset = dataset
        self.shown = set(np.linspace(0, len(dataset.splits["val"]) - 1, scenes).round().astype(int).tolist())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts: list[int] = trainer.datamodule.counts  # type: ignore[attr-defined]
        _show(trainer, "points per class", plots.counts(counts, self.dataset.palette, self.dataset.classes))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        if batch_idx in self.shown and outputs["class_map"] is not None:
            _show(trainer, f"validation/{batch.scene.id}", _panel(self.dataset, batch, outputs["class_map"]))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        _show(trainer, "confusion", _confusion(self.dataset, pl_module))


class EvaluationPictures(Callback):
    """A picture of each evaluated scene, and the confusion matrix, as files in `folder`."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        if outputs["class_map"] is not None:
            with writing(self.folder / f"{batch.scene.id}.png") as partial:
                _panel(self.dataset, batch, outputs["class_map"]).savefig(partial)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with writing(self.folder / "confusion.png") as partial:
            _confusion(self.dataset, pl_module).savefig(partial)


def _panel(dataset: Dataset, labelled: LabelledScene, class_map: UInt8[np.ndarray, "h w"]) -> Figure:
    return plots.panel(labelled.scene, labelled.points, class_map, dataset.palette, dataset.classes)


def _confusion(dataset: Dataset, system: LightningModule) -> Figure:
    assert isinstance(system, PointSeg)
    return plots.confusion({"": system.confusion.numpy()}, dataset.classes)


def _show(trainer: Trainer, tag: str, figure: Figure) -> None:
    if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
        # close=False: the figure was never pyplot's to close.
        trainer.logger.experiment.add_figure(tag, figure, trainer.current_epoch + 1, close=False)


class Lines(Callback):
    """A line now and then while an epoch is trained or validated, where no progress bar is shown."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.pace = progress.Pace()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._due(trainer):
            loss = f", loss {outputs['loss']:.3f}" if outputs else ""  # a head that is fitted at the end has none yet
            self._report(trainer, f"batch {batch_idx + 1} of {trainer.num_training_batches}{loss}")

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: int
    ) -> None:
        if self._due(trainer):
            self._report(trainer, f"validation, scene {batch_idx + 1} of {sum(trainer.num_val_batches)}")

    def _due(self, trainer: Trainer) -> bool:
        return trainer.progress_bar_callback is None and self.pace.due()

    def _report(self, trainer: Trainer, what: str) -> None:
        if trainer.is_global_zero:
            log.info("Epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, what)
