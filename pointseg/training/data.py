"""From scenes and points to batches."""

import logging
import signal
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import lightning
import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Sampler

from pointseg import progress
from pointseg.annotation import identity, kept
from pointseg.annotation.annotator import Annotator
from pointseg.errors import InputError, counted
from pointseg.imagery.augment import Augment
from pointseg.imagery.crops import Crop, Cropping, read
from pointseg.types import Batch, Dataset, LabelledScene, Points, Scene, Shape

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """One crop of an epoch. Its augmentation follows from `seed`, whichever worker cuts it."""

    crop: Crop
    seed: int


class Epoch(Sampler[list[Request]]):
    """The batches of an epoch: the crops of a cropping, shuffled.

    begun: the epoch that an interrupted run is in, and how many of its batches are left out, having been trained on.

    A last batch that would leave one image to a process joins the one before, because batch norm over
    the pooled features of one image has no variance (vision #2151).
    """

    def __init__(
        self,
        cropping: Cropping,
        shapes: Sequence[Shape],
        points: Sequence[Points],
        crop_size: int,
        batch_size: int,
        seed: int,
        begun: tuple[int, int] = (0, 0),
    ) -> None:
        self.cropping, self.shapes, self.points = cropping, shapes, points
        self.crop_size, self.seed = crop_size, seed
        self.epoch, _ = self.begun = begun
        crops = cropping.count(shapes, crop_size)
        _, ranks = place()
        if batch_size < 2:
            raise InputError(f"batch_size={batch_size}: batch norm needs two images; give 2 at least.")
        if crops < 2 * ranks:
            raise InputError(
                f"{crops} training crops of {crop_size} pixels leave a batch of one image; batch norm needs two: lower "
                "crop_size."
            )
        batch = batch_size * ranks
        full, rest = divmod(crops, batch)
        self.ends = [(i + 1) * batch for i in range(full)]
        if rest >= 2 * ranks or not full:
            self.ends.append(crops)
        self.ends[-1] = crops

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning; the epoch and the seed decide the crops, the order and the augmentation."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[Request]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        crops = [
            Request(crop, int(rng.integers(2**63)))
            for crop in self.cropping(self.shapes, self.points, self.crop_size, rng)
        ]
        order = rng.permutation(len(crops))
        rank, ranks = place()
        epoch, done = self.begun
        bounds = [0, *self.ends][done if epoch == self.epoch else 0 :]
        for start, end in pairwise(bounds):
            yield [crops[i] for i in order[start:end][rank::ranks]]


def batched(crops: Sequence[tuple[np.ndarray, Points]], scenes: tuple[str, ...]) -> Batch:
    """Images of one size (h, w, c), each with the points in its own frame, as a batch."""
    images = torch.from_numpy(np.stack([image for image, _ in crops])).permute(0, 3, 1, 2)
    positions = [
        np.stack([np.full(len(points), i), points.rows, points.cols], 1) for i, (_, points) in enumerate(crops)
    ]
    labels = np.concatenate([points.labels for _, points in crops])
    return Batch(images, torch.from_numpy(np.concatenate(positions)).float(), torch.from_numpy(labels), scenes)


class Crops(torch.utils.data.Dataset[Batch]):
    """Requests → batches: the crop is read and augmented together with its points."""

    def __init__(self, scenes: Sequence[Scene], points: Sequence[Points], augment: Augment) -> None:
        self.scenes, self.points, self.augment = scenes, points, augment

    def __getitem__(self, requests: list[Request]) -> Batch:
        crops = [self._crop(request) for request in requests]
        return batched(crops, tuple(self.scenes[request.crop.scene].id for request in requests))

    def _crop(self, request: Request) -> tuple[np.ndarray, Points]:
        index, window, anchor = request.crop
        scene = self.scenes[index]
        rng = np.random.default_rng(request.seed)
        window = self.augment.window(window, scene.shape, rng, anchor)
        return self.augment(read(scene, window), self.points[index].crop(window), rng)


class Evaluation(torch.utils.data.Dataset[LabelledScene | None]):
    """The scenes of a split that fall to this process: each to exactly one, none twice.

    Where they do not divide, the last of some processes is None: all take equally many steps, as Lightning skips
    the evaluation of a process that has none, and the others would wait for its scores.
    """

    def __init__(self, scenes: Sequence[Scene], points: dict[str, Points]) -> None:
        rank, ranks = place()
        self.scenes, self.points = scenes[rank::ranks], points
        self.steps = -(-len(scenes) // ranks)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> LabelledScene | None:
        if index == len(self.scenes):
            return None
        scene = self.scenes[index]
        return LabelledScene(scene, self.points.get(scene.id))


class PointData(lightning.LightningDataModule):
    """Crops of the training scenes with their points; whole scenes for evaluation.

    annotator: labels each training and validation scene, once.
    folder: where the points of this run are kept, and read from.
    seed: decides the crops of every epoch and their augmentation.
    """

    def __init__(
        self,
        dataset: Dataset,
        annotator: Annotator,
        folder: Path,
        cropping: Cropping,
        augment: Augment,
        crop_size: int,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset, self.annotator, self.folder = dataset, annotator, folder
        self.cropping, self.augment, self.crop_size = cropping, augment, crop_size
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.points: dict[str, Points] = {}
        self.begun = (0, 0)

    def prepare_data(self) -> None:
        """Have the scenes annotated and keep the points in `folder`; what lies there already stays."""
        missing = [scene for scene in self._labelled() if not kept.file_of(self.folder, scene).exists()]
        drawn = self.dataset.points is None
        annotated = self.annotator.annotate(self.dataset, missing) if missing else ()
        for scene, points in zip(progress.over(missing, "drawing points, once", "scene"), annotated, strict=True):
            kept.save(points, self.folder, scene, self.dataset.classes, drawn)
        if missing:
            identity.save(self.folder, self._labelled())

    def setup(self, stage: str) -> None:
        """Read the points from `folder`, once, and warn of classes that have none to be learnt from."""
        if self.points:
            return  # Lightning calls this again after runs.build has
        self.points = {scene.id: self._points(scene) for scene in self._labelled()}
        counts = dict(zip(self.dataset.classes, self.counts, strict=True))
        numbers = ", ".join(f"{name}: {n:,}" for name, n in counts.items())
        scenes = counted(len(self.dataset.splits["train"]), "scene", "scenes")
        log.info("Training points: %s in %s (%s)", counted(sum(counts.values()), "pixel", "pixels"), scenes, numbers)
        if absent := [name for name, n in counts.items() if n == 0]:
            log.warning("No training point has the class %s: the network cannot learn it.", ", ".join(absent))

    def _points(self, scene: Scene) -> Points:
        given = self.dataset.points
        if given is not None and isinstance(scene, identity.Located) and identity.regridded(self.folder, scene.raster):
            return given[scene.id]  # those kept count the pixels of the image that was there before
        return kept.load(kept.file_of(self.folder, scene), scene, self.dataset.classes)

    def _labelled(self) -> list[Scene]:
        return [*self.dataset.splits["train"], *self.dataset.splits["val"]]

    @property
    def counts(self) -> list[int]:
        """Drawn points of each class in the training scenes."""
        labels = [self.points[scene.id].labels for scene in self.dataset.splits["train"]]
        return [int(n) for n in np.bincount(np.concatenate(labels), minlength=len(self.dataset.classes))]

    def train_dataloader(self) -> DataLoader[Any]:
        scenes = self.dataset.splits["train"]
        points = [self.points[scene.id] for scene in scenes]
        shapes = [scene.shape for scene in scenes]
        epoch = Epoch(self.cropping, shapes, points, self.crop_size, self.batch_size, self.seed, self.begun)
        return DataLoader(
            Crops(scenes, points, self.augment),
            sampler=epoch,
            batch_size=None,  # the sampler's items are whole batches
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_begin_worker,
        )

    def state_dict(self) -> dict[str, Any]:
        """The number of whole epochs, and of the batches of the next that were trained on."""
        loop: Any = self.trainer and self.trainer.fit_loop
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        return {"epochs": epochs.processed, "batches": batches.processed if epochs.started > epochs.processed else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.begun = (index(state_dict["epochs"]), index(state_dict["batches"]))  # a damaged one fails here

    def val_dataloader(self) -> DataLoader[Any]:
        return self.scenes("val")

    def scenes(self, split: str) -> DataLoader[Any]:
        """The whole scenes of a split, one at a time."""
        return DataLoader(Evaluation(self.dataset.splits[split], self.points), batch_size=None)


def place() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def _begin_worker(worker: int) -> None:
    cv2.setNumThreads(0)  # as torch does in its workers: the cores are shared between them
    # Ctrl-C and a scheduler's SIGTERM come to all processes, and the one that trains needs its workers to the end of
    # the step. A second SIGTERM, as that one may send, ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL))
