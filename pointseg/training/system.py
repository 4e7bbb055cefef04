"""Training and evaluation as Lightning sees them: one network, one loss, whole-scene scores."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, Metric

from pointseg import metrics
from pointseg.errors import InputError
from pointseg.models.logits import at_points
from pointseg.models.networks import fold_norms
from pointseg.prediction.windows import Predict, averaged_over_flips, paste, predict_scene, probabilities
from pointseg.training import finite
from pointseg.types import IGNORE, Batch, Dataset, LabelledScene, Points

SHOWN = 50_000_000  # pixels of a scene up to which pictures of it are drawn


class PointSeg(lightning.LightningModule):
    """A network trained at points and scored on whole scenes.

    model: 8-bit images → logits at its own stride.
    optimizer: parameters → optimiser.
    schedule: (optimiser, number of steps of the whole run) → its scheduler, stepped after each batch.
    dataset: whose classes, palette and bands are kept with the weights, so that these can be used without it.
    window_size, overlap (pixels), batch_size: of the windows in whole-scene prediction.
    flips: average that over the image and its three mirror images.

    After an evaluation, `scores` and `confusion` (truth × prediction) hold its result, after a test `by_scene` the
    confusion of each scene; `history` has the scores of every validation of a fit.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler] | None,
        dataset: Dataset,
        window_size: int,
        overlap: int,
        batch_size: int,
        flips: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.classes, self.land_cover = list(dataset.classes), list(dataset.land_cover)
        self.at_points = dataset.points is not None  # few enough for the scores to need an interval
        self.palette, self.bands = dataset.palette.tolist(), asdict(dataset.bands)
        self.window_size, self.overlap, self.batch_size = window_size, overlap, batch_size
        self.flips = flips
        self.point_metrics = metrics.collection(len(self.classes))
        self.point_loss = MeanMetric(nan_strategy="disable")
        self.scene_metrics = metrics.collection(len(self.classes))
        self.scene_loss = MeanMetric(nan_strategy="disable")
        self.scores: dict[str, float] = {}
        self.confusion = torch.zeros(len(self.classes), len(self.classes), dtype=torch.long)
        self.by_scene: dict[str, Int[Tensor, "k k"]] = {}
        self.history: list[dict[str, Any]] = []
        self._folded: Predict | None = None

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Class probabilities at every pixel."""
        predict: Predict = self._folded or partial(probabilities, self.model)
        return (averaged_over_flips(predict) if self.flips else predict)(images)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self._reseed(index)
        logits = self.model(batch.images)
        loss, points = self._over_processes(self.loss(logits, batch), batch)
        self.point_metrics.update(at_points(logits.detach(), batch), batch.labels)
        # An epoch's mean is over points, as the loss is; a batch without any counts as one.
        self.point_loss.update(loss.detach(), weight=max(points, 1))
        self.log("train/loss_step", loss, prog_bar=True, sync_dist=True)
        return loss

    def _over_processes(self, loss: Tensor, batch: Batch) -> tuple[Tensor, int]:
        """The loss so weighted that its mean over processes is that over the points of all, and the number of these.

        DDP averages gradients over processes, whose batches hold different numbers of points.
        Raises InputError, in every process, where the loss of one is not finite.
        """
        n = len(batch.labels)
        counts = torch.stack([torch.tensor(n, device=loss.device), (~loss.isfinite()).long()])
        total, faults = self.trainer.strategy.reduce(counts, reduce_op="sum").tolist()
        if faults:
            finite.stop(Path(self.trainer.default_root_dir), loss, batch, self.current_epoch, self.global_step)
        return loss * (n * self.trainer.world_size / total if total else 1.0), total

    def on_fit_start(self) -> None:
        self._seed = torch.initial_seed()

    def _reseed(self, index: int) -> None:
        """The randomness of each batch (dropout) follows from its place, so that a resumed run needs none restored."""
        seed = np.random.SeedSequence([self._seed, self.current_epoch, index, self.global_rank])
        lightning.seed_everything(int(seed.generate_state(1)[0]), verbose=False)

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # an epoch that is gone on with is not started

    def on_train_epoch_start(self) -> None:
        # However rarely a run is validated, its end is: what was trained last is scored too.
        if self.current_epoch + 1 == self.trainer.max_epochs:
            self.trainer.check_val_every_n_epoch = 1

    def on_train_epoch_end(self) -> None:
        values = metrics.scores(self.point_metrics.compute(), self.classes, self.land_cover)
        self.point_metrics.reset()
        named = {f"train/{name}": values[name] for name in ("accuracy", "miou_all_classes", "miou_land_cover")}
        self.log_dict({**named, "train/loss_epoch": self.point_loss.compute()}, sync_dist=True)  # the same in each
        self.point_loss.reset()
        if self.history and self.history[-1]["epoch"] == self.current_epoch + 1:
            self.history[-1] |= named

    def on_validation_start(self) -> None:
        if self.device.type == "cpu":  # where it saves a tenth of an evaluation
            self._folded = partial(probabilities, fold_norms(copy.deepcopy(self.model).eval()))

    def on_validation_end(self) -> None:
        self._folded = None

    on_test_start, on_test_end = on_validation_start, on_validation_end

    def validation_step(self, labelled: LabelledScene | None, index: int) -> dict[str, Any]:
        return {"class_map": self._evaluate(labelled) if labelled else None}

    def test_step(self, labelled: LabelledScene, index: int) -> dict[str, Any]:
        before = self._confusion_so_far()
        output = self.validation_step(labelled, index)
        self.by_scene[labelled.scene.id] = (self._confusion_so_far() - before).cpu()
        return output

    def _confusion_so_far(self) -> Int[Tensor, "k k"]:
        confusion: Tensor = self.scene_metrics["confusion"].confmat  # type: ignore[assignment]
        return confusion.clone()  # updated in place

    def _evaluate(self, labelled: LabelledScene) -> UInt8[np.ndarray, "h w"] | None:
        """The scene's pixels enter the scores, its points the loss.

        Returned is its class map; None for a scene too large to be shown, or whose truth is points.
        """
        scene, points = labelled
        shown = scene.shape[0] * scene.shape[1] <= SHOWN and not self.at_points
        class_map = np.full(scene.shape if shown else (0, 0), IGNORE, np.uint8)
        blocks = predict_scene(
            self, scene, self.window_size, self.overlap, self.batch_size, self.device, wanted=scene.has_truth
        )
        for window, values in blocks:
            prediction = values.max(0).indices  # on a CPU ten times faster than argmax, whose time shows
            truth = torch.from_numpy(scene.mask(window)).to(self.device)
            self.scene_metrics.update(prediction.flatten(), truth.flatten())
            if shown:
                paste(class_map, window, prediction)
            if points is not None:
                self._add_loss(values, points.crop(window))
        return class_map if shown else None

    def _add_loss(self, probabilities: Float[Tensor, "k h w"], points: Points) -> None:
        """The training loss at a block's points, as for a network of stride 1 with logits log p."""
        if not len(points):
            return
        logits = probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()[None]
        positions = np.stack([np.zeros(len(points)), points.rows, points.cols], 1)
        images = torch.empty(1, 0, *probabilities.shape[1:], dtype=torch.uint8)
        batch = Batch(images, torch.from_numpy(positions), torch.from_numpy(points.labels)).to(self.device)
        self.scene_loss.update(self.loss(logits, batch), weight=len(points))

    def on_validation_epoch_end(self) -> None:
        self._conclude("val")
        self.scores["loss"] = float(self.scene_loss.compute())
        self.scene_loss.reset()
        self.log("val/loss", self.scores["loss"], sync_dist=True)
        self.history.append({"epoch": self.current_epoch + 1, **self.scores, "confusion": self.confusion.tolist()})

    def on_test_epoch_end(self) -> None:
        self._conclude("test")

    def _conclude(self, split: str) -> None:
        computed = self.scene_metrics.compute()
        self.scene_metrics.reset()
        self.scores = metrics.scores(computed, self.classes, self.land_cover)
        self.confusion = computed["confusion"].cpu()
        if not self.confusion.any():
            raise InputError(
                f"The scenes of the split {split!r} have no labelled pixel, so that there is no score; hold out "
                "others, or label some: see python -m pointseg.check."
            )
        if self.at_points:
            self.scores |= metrics.interval(self.confusion, self.land_cover)
            self.scores |= metrics.class_intervals(self.confusion, self.classes)
        self.log_dict({f"{split}/{name}": value for name, value in self.scores.items()}, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())
        if self.schedule is None:
            return optimizer
        scheduler = self.schedule(optimizer, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {
            "classes": self.classes,
            "land_cover": self.land_cover,
            "palette": self.palette,
            "bands": self.bands,
            "history": self.history,
            "epoch_so_far": [_pooled(metric) for metric in self._of_the_epoch()],
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        values = (value for epoch in self.history for name, value in epoch.items() if name != "confusion")
        if odd := [value for value in values if not isinstance(value, int | float)]:
            raise TypeError(f"{odd[0]!r} in place of a score")
        if self.trainer.is_global_zero:  # to which the other processes will add theirs
            for metric, state in zip(self._of_the_epoch(), checkpoint.get("epoch_so_far", []), strict=False):
                for name, value in state.items():
                    getattr(metric, name).copy_(value)
                metric._update_count = 1  # else it warns

    def _of_the_epoch(self) -> list[Metric]:
        """What the training scores of an epoch are computed from."""
        return [self.point_loss, *self.point_metrics.values(copy_state=False)]


def _pooled(metric: Metric) -> dict[str, Tensor]:
    """A metric's state over all processes, which each must call."""
    with metric.sync_context():
        return {name: value.clone() for name, value in metric.metric_state.items() if isinstance(value, Tensor)}
