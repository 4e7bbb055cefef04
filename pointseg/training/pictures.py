"""The pictures a run shows: in TensorBoard while it trains, as files when it is evaluated."""

from pathlib import Path
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure

from pointseg import plots
from pointseg.files import writing
from pointseg.training.system import PointSeg
from pointseg.types import Dataset, LabelledScene


class TrainingPictures(Callback):
    """After each validation: panels of the same few scenes, spread over the split, and the confusion matrix."""

    def __init__(self, dataset: Dataset, scenes: int = 4) -> None:
        self.dataset = dataset
        self.shown = set(np.linspace(0, len(dataset.splits["val"]) - 1, scenes).round().astype(int).tolist())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts: list[int] = trainer.datamodule.counts  # type: ignore[attr-defined]
        _show(trainer, "points per class", plots.counts(counts, self.dataset.palette, self.dataset.classes))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LabelledScene,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx in self.shown and outputs["class_map"] is not None:
            figure = plots.panel(
                batch.scene, batch.points, outputs["class_map"], self.dataset.palette, self.dataset.classes
            )
            _show(trainer, f"validation/{batch.scene.id}", figure)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PointSeg)
        _show(trainer, "confusion", plots.confusion({"": pl_module.confusion.numpy()}, self.dataset.classes))


def _show(trainer: Trainer, tag: str, figure: Figure) -> None:
    if isinstance(trainer.logger, TensorBoardLogger) and trainer.is_global_zero:
        # close=False: the figure was never pyplot's to close.
        trainer.logger.experiment.add_figure(tag, figure, trainer.current_epoch + 1, close=False)


class EvaluationPictures(Callback):
    """A picture of each evaluated scene, and the confusion matrix, as files in `folder`."""

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LabelledScene,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if outputs["class_map"] is None:
            return
        figure = plots.panel(
            batch.scene, batch.points, outputs["class_map"], self.dataset.palette, self.dataset.classes
        )
        with writing(self.folder / f"{batch.scene.id}.png") as partial:
            figure.savefig(partial)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PointSeg)
        with writing(self.folder / "confusion.png") as partial:
            plots.confusion({"": pl_module.confusion.numpy()}, self.dataset.classes).savefig(partial)
