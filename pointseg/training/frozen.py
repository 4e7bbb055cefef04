"""A head fitted to frozen features, as Lightning sees it: one epoch of sums, and the head at its end."""

import copy
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed

from pointseg.models.frozen import Frozen, set_layer
from pointseg.models.networks import fold_norms
from pointseg.training.closed_form import Moments
from pointseg.training.each_point import EachPointOnce, PlacedBatch
from pointseg.training.head import FOLDS, Fitted, Sample, fit_head
from pointseg.training.point_features import features_at
from pointseg.training.system import PointSeg
from pointseg.types import Shape

log = logging.getLogger(__name__)

ROWS = 240_000  # of features that go into the sums: up to an eighth of it, a point goes in under all eight symmetries
SAMPLED = 60_000  # rows of features that are kept, for cross-validation and the hidden layer
CHUNK = 4096  # points whose features are read at a time
BLOCKS = 6  # along the shorter side of a scene, where too few scenes are there to hold out whole ones


class FrozenSeg(PointSeg):
    """The head of a `Frozen` network is fitted to all training points at once; nothing else is trained.

    Sums over the batches are taken under the symmetries of the image, and over the processes at the end of the only
    epoch. Of the loss, the weights of the classes are used (see `discriminant`).

    The order in which processes and batches bring the points does not matter, to rounding.
    """

    automatic_optimization = False
    model: Frozen

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.moments = Moments.zero(len(self.classes), self.model.classifier.width)
        self.sample: list[tuple[Tensor, Tensor, Tensor]] = []  # rows, labels, places
        self.report: dict[str, Any] = {}

    @property
    def data(self) -> EachPointOnce:
        data: EachPointOnce = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def on_fit_start(self) -> None:
        super().on_fit_start()
        points = sum(self.data.counts)
        self.ways = min(max(ROWS // points, 1), 8)
        self.sampled_ways = min(max(SAMPLED // points, 1), self.ways)
        self.kept_share = SAMPLED / (points * self.sampled_ways)
        on_cpu = self.device.type == "cpu"
        network = fold_norms(copy.deepcopy(self.model)) if on_cpu else self.model
        self._read = partial(features_at, network, ways=self.ways)

    def training_step(self, batch: PlacedBatch, index: int) -> None:  # type: ignore[override]
        (images, points, labels), places = (batch[0].images, batch[0].points, batch[0].labels), batch[1]
        if self.report or not len(labels):
            return
        with torch.no_grad():
            for start in range(0, len(labels), CHUNK):
                chosen = slice(start, start + CHUNK)
                rows = self._read(images, points[chosen]).cpu()
                self.moments.add(rows, labels[chosen])
                self._keep(rows, labels[chosen].cpu(), places[chosen].cpu())

    def _keep(self, rows: Float[Tensor, "n r f"], labels: Int[Tensor, "n"], places: Int[Tensor, "n 3"]) -> None:
        chosen = uniform(places) < self.kept_share
        self.sample.append((rows[chosen, : self.sampled_ways].half(), labels[chosen], places[chosen]))

    def on_train_batch_end(self, outputs: Any, batch: PlacedBatch, batch_idx: int) -> None:
        if self.trainer.is_last_batch and not self.report:  # before the validation
            self._solve()

    def _solve(self) -> None:
        moments, sample = self._of_all_processes()
        fitted = None
        if self.trainer.is_global_zero:
            order = sorted(range(len(sample[1])), key=lambda i: tuple(sample[2][i].tolist()))
            rows, labels, places = (part[order] for part in sample)
            weights = getattr(self.loss, "weights", torch.ones(len(self.classes))).cpu()
            kept = Sample(rows, labels, self.units(places))
            fitted = fit_head(kept, moments, weights, self.land_cover, self.model.head, self.data.seed)
            self._say(fitted)
        fitted = self.trainer.strategy.broadcast(fitted)
        assert isinstance(fitted, Fitted)
        self.install(fitted)
        self._score(*sample[:2], fitted)

    def _of_all_processes(self) -> tuple[Moments, tuple[Tensor, Tensor, Tensor]]:
        mine = (self.moments.parts(), [torch.cat(parts) for parts in zip(*self.sample, strict=True)])
        everyone: list[Any] = [mine]
        if distributed.is_initialized():
            everyone = [None] * distributed.get_world_size()
            distributed.all_gather_object(everyone, mine)
        moments = Moments(*(sum(parts) for parts in zip(*(sums for sums, _ in everyone), strict=True)))
        rows, labels, places = (torch.cat(parts) for parts in zip(*(kept for _, kept in everyone if kept), strict=True))
        return moments, (rows, labels, places)

    def units(self, places: Int[Tensor, "n 3"]) -> list[str]:
        """The piece of ground of each point that is held out as a whole: its group of scenes, or a block of a scene."""
        dataset = self.data.dataset
        scenes = [dataset.splits["train"][i] for i in places[:, 0].tolist()]
        names = [scene.id if dataset.leaks else scene.group for scene in scenes]
        if len(set(names)) >= FOLDS:
            return names
        ids, shapes = [scene.id for scene in scenes], [scene.shape for scene in scenes]
        return blocks(ids, shapes, places[:, 1:].tolist())

    def install(self, fitted: Fitted) -> None:
        """Give the network this head."""
        head = self.model.classifier
        set_layer(head.linear, fitted.linear.weight, fitted.linear.bias)
        head.bend(0)
        if fitted.hidden:
            inner, outer = fitted.hidden.inner, fitted.hidden.outer
            head.bend(len(inner.weight))
            assert head.hidden is not None
            assert head.out is not None
            head.to(self.device)
            set_layer(head.hidden, inner.weight, inner.bias)
            set_layer([head.out], outer.weight, outer.bias)
        self.report = fitted.report

    def _score(self, rows: Float[Tensor, "n r f"], labels: Int[Tensor, "n"], fitted: Fitted) -> None:
        """The scores of the training points, of those that are kept."""
        logits, labels = fitted(rows[:, 0].float()).to(self.device), labels.to(self.device)
        if self.trainer.is_global_zero:  # the scores are summed over the processes
            self.point_metrics.update(logits, labels)
            self.point_loss.update(torch.nn.functional.cross_entropy(logits, labels), weight=len(labels))

    def _say(self, fitted: Fitted) -> None:
        report = fitted.report
        names = {0.0: "linear", 1.0: "a hidden layer"}
        head = names.get(report["hidden"], "the mean of a linear one and a hidden layer")
        log.info("Head: %s; covariance shrunken by %.2f", head, report["shrinkage"])
        if "tried" in report:
            log.info(
                "On held-out ground, the best of %d heads has an mIoU over land cover of %.3f; as it was chosen "
                "there, this is a little too high.",
                *(len(report["tried"]), report["miou_land_cover"]),
            )

    def configure_optimizers(self) -> None:
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["head"] = self.report
        if not self.report:  # stopped within the epoch
            moments, sample = self._of_all_processes()
            checkpoint["so_far"] = (list(moments.parts()), list(sample))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.report = checkpoint["head"]
        if "so_far" in checkpoint and self.trainer.is_global_zero:  # to which the other processes will add theirs
            sums, (rows, labels, places) = checkpoint["so_far"]
            self.moments, self.sample = Moments(*sums), [(rows, labels, places)]


def blocks(ids: Sequence[str], shapes: Sequence[Shape], positions: Sequence[Sequence[int]]) -> list[str]:
    """The block of ground of each point, by its scene's id and shape and its row and column."""
    sides = [max(min(shape) // BLOCKS, 1) for shape in shapes]
    return [f"{name}/{row // side}/{col // side}" for name, side, (row, col) in zip(ids, sides, positions, strict=True)]


def uniform(places: Int[Tensor, "n 3"]) -> Float[Tensor, "n"]:
    """Numbers in [0, 1) that look random and follow from the places, in whatever order and process they come."""
    mixed = (places * torch.tensor([73_856_093, 19_349_663, 83_492_791])).sum(1)
    mixed = (mixed ^ (mixed >> 13)) * 0x5BD1E995 & 0x7FFFFFFF
    return ((mixed ^ (mixed >> 15)) % 1_000_003) / 1_000_003
