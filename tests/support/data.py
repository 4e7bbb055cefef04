"""What tests share with those of data."""

from pathlib import Path
from typing import Any

import numpy as np

from pointseg.annotation.drawn import Drawn
from pointseg.imagery.augment import Augment
from pointseg.imagery.crops import Grid
from pointseg.samplers.random import Random
from pointseg.training.data import PointData
from pointseg.types import IGNORE, Dataset
from tests.conftest import ArrayScene

CROP = 16


def scene(name: str, group: str, shape: tuple[int, int] = (30, 40)) -> ArrayScene:
    rng = np.random.default_rng(len(name) + ord(name[0]))
    mask = rng.choice(np.array([0, 1, IGNORE], np.uint8), shape)
    # The image tells the label of every pixel, so that a point can be checked after augmentation.
    return ArrayScene(name, np.stack([mask] * 3, -1), mask, group)


def dataset(**options: Any) -> Dataset:
    splits = {
        "train": [scene("a", "1"), scene("b", "1", (20, 50))],
        "val": [scene("c", "2"), scene("e", "2"), scene("f", "2")],
        "test": [scene("d", "3")],
    }
    palette = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    leaks = options.pop("leaks", False)
    return Dataset(("x", "y", "z"), palette, (True, True, False), {**splits, **options}, leaks)


def data(folder: Path, augment: Augment | None = None, **options: Any) -> PointData:
    settings: dict[str, Any] = {
        "dataset": dataset(),
        "annotator": Drawn(Random(), 0.2, 0),
        "folder": folder,
        "cropping": Grid(),
        "augment": augment or Augment(CROP, scale=1, colour=0),
        "crop_size": CROP,
        "batch_size": 3,
        "num_workers": 0,
        "seed": 0,
    }
    built = PointData(**{**settings, **options})
    built.prepare_data()
    built.setup("fit")
    return built


def epoch(built: PointData, number: int = 0) -> list[Any]:
    loader = built.train_dataloader()
    loader.sampler.set_epoch(number)  # type: ignore[union-attr]
    return list(loader)
