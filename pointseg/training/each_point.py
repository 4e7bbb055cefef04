"""Batches in which each training point stands once, in a window that shows the ground around it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import DataLoader, Sampler

from pointseg.imagery.crops import read
from pointseg.training.data import PointData, batched, place
from pointseg.types import Points, Scene, Shape, Window

CORES = (1, 64, 128, 256, 512, 1024)  # sides of the part of a window that may hold its points

PlacedBatch = Sequence[Any]
"""A Batch, and for each of its points (n, 3): the scene (its index in the training split), row and column."""


class Part(NamedTuple):
    """A window of a scene (by index), and which of the scene's points are its own."""

    scene: int
    window: Window
    points: Int[np.ndarray, "n"]


def windows_around(
    shapes: Sequence[Shape], points: Sequence[Points], margin: int, cores: Sequence[int] = CORES
) -> list[Part]:
    """Windows that show all points, each as the own of one window, and a margin around them where the scene has it.

    All are of one size (smaller where a scene is): that of whose core the fewest pixels are read.
    """
    covers = [
        [part for scene, shape in enumerate(shapes) for part in _cover(scene, shape, points[scene], core, margin)]
        for core in cores
    ]
    return min(covers, key=lambda parts: sum(part.window.height * part.window.width for part in parts))


def _cover(scene: int, shape: Shape, points: Points, core: int, margin: int) -> Iterator[Part]:
    """From the top: a strip as high as a window's core, and of its points from the left as many as go into one core."""
    side = core + 2 * margin
    left = np.argsort(points.rows, kind="stable")
    while len(left):
        strip = left[points.rows[left] < points.rows[left[0]] + core]
        left = left[len(strip) :]
        strip = strip[np.argsort(points.cols[strip], kind="stable")]
        while len(strip):
            own = strip[points.cols[strip] < points.cols[strip[0]] + core]
            strip = strip[len(own) :]
            (row, height), (col, width) = (
                _about(values[own], size, side) for values, size in zip((points.rows, points.cols), shape, strict=True)
            )
            yield Part(scene, Window(row, col, height, width), own)


def _about(values: np.ndarray, size: int, side: int) -> tuple[int, int]:
    """Where a window begins that has the values about its middle, and its length."""
    if size <= side:
        return 0, size
    return int(np.clip(round((values.min() + values.max() - side + 1) / 2), 0, size - side)), side


class EachPointOnce(PointData):
    """The training points in windows around them, without augmentation; evaluation as `PointData` has it.

    margin: pixels of ground that are shown on each side of a point, where the scene has them.
    """

    def __init__(self, *arguments: Any, margin: int = 0, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.margin = margin

    def train_dataloader(self) -> DataLoader[Any]:
        scenes = self.dataset.splits["train"]
        points = [self.points[scene.id] for scene in scenes]
        parts = windows_around([scene.shape for scene in scenes], points, self.margin)
        return DataLoader(
            _Parts(scenes, points),
            sampler=_Once(parts, self.batch_size, self.begun),
            batch_size=None,
            num_workers=self.num_workers,
        )


class _Once(Sampler[list[Part]]):
    """The parts, as many at a time as are of one size and as a batch has; a share of each batch for each process."""

    def __init__(self, parts: Sequence[Part], batch_size: int, begun: tuple[int, int]) -> None:
        self.rank, ranks = place()
        self.ranks, number = ranks, batch_size * ranks
        ordered = sorted(parts, key=lambda part: part.window[2:])
        alike = [list(group) for _, group in groupby(ordered, key=lambda part: part.window[2:])]
        self.batches = [group[i : i + number] for group in alike for i in range(0, len(group), number)]
        self.done = begun[1]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Part]]:
        for batch in self.batches[self.done :]:
            # Every process has as many batches: one that is left over gets a window without points.
            yield batch[self.rank :: self.ranks] or [batch[0]._replace(points=np.zeros(0, np.int64))]


class _Parts(torch.utils.data.Dataset[PlacedBatch]):
    def __init__(self, scenes: Sequence[Scene], points: Sequence[Points]) -> None:
        self.scenes, self.points = scenes, points

    def __getitem__(self, parts: list[Part]) -> PlacedBatch:
        crops, places = [], []
        for scene, window, own in parts:
            points = self.points[scene]
            rows, cols = points.rows[own], points.cols[own]
            moved = Points(rows - window.row, cols - window.col, points.labels[own])
            crops.append((read(self.scenes[scene], window), moved))
            places.append(np.stack([np.full(len(own), scene), rows.round(), cols.round()], 1).astype(np.int64))
        batch = batched(crops, tuple(self.scenes[part.scene].id for part in parts))
        return batch, torch.from_numpy(np.concatenate(places))
