"""Images with masks, and what of them is held out together, for the benchmark `alternatives`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from benchmarks.common import configuration
from pointseg.config import CONF, construct
from pointseg.types import IGNORE, SPLITS, Dataset, Sampler, Scene, whole

FEWEST = 1000  # labelled pixels of an image that is used


@dataclass(frozen=True)
class Images:
    """name: the footing under which its scores are reported.

    folds: the groups (`group_of` the scenes) in each split. sampler: how points are drawn in the training images.
    """

    name: str
    scenes: Sequence[Scene]
    group_of: Sequence[str]
    folds: Sequence[Mapping[str, Sequence[str]]]
    classes: int
    sampler: str = "random"

    def drawn_by(self, sampler: str) -> "Images":
        return replace(self, sampler=sampler)

    def annotator(self) -> Sampler:
        content: Any = OmegaConf.load(CONF / f"sampler/{self.sampler}.yaml")
        found: Sampler = construct(content)
        return found


def aerial(split: str) -> Images:
    """At 512×512. split: tiles, whole tiles held out in four folds; images, images among their neighbours."""
    config = configuration("dataset=aerial", "dataset.scale=512", f"dataset.split={split}").dataset
    dataset: Dataset = construct(config)
    scenes = _scenes(dataset)
    if split == "images":
        of_split = {name: [scene.id for scene in dataset.splits[name]] for name in SPLITS}
        return Images("aerial, images held out", scenes, [scene.id for scene in scenes], [of_split], 6)
    folds = [{name: [f"Tile {tile}" for tile in tiles] for name, tiles in fold.items()} for fold in config.folds]
    return Images("aerial", scenes, [scene.group for scene in scenes], folds, 6)


def others() -> Iterator[Images]:
    """The sets in $POINTSEG_SETS: `monterey_dunes` by place, `obx_coast` (every second frame) by flight."""
    if "POINTSEG_SETS" not in os.environ:
        return
    for name, step in (("monterey_dunes", 1), ("obx_coast", 2)):
        dataset: Dataset = construct(configuration(f"dataset={name}").dataset)
        scenes = [s for s in _scenes(dataset)[::step] if (s.mask(whole(s)) != IGNORE).sum() >= FEWEST]
        groups = sorted({scene.group for scene in scenes})
        parts = [list(part) for part in np.array_split(groups, min(len(groups), 4))]
        folds = [{"train": [g for g in groups if g not in part], "test": part} for part in parts]
        yield Images(name, scenes, [scene.group for scene in scenes], folds, len(dataset.classes))


def _scenes(dataset: Dataset) -> list[Scene]:
    return sorted((scene for of_split in dataset.splits.values() for scene in of_split), key=lambda scene: scene.id)
