"""Points that an earlier run's network suggests, labelled by the masks: one round of annotation."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pointseg.annotation.drawn import count
from pointseg.annotation.kept import Kept
from pointseg.errors import InputError
from pointseg.prediction.trained import Accelerator, Trained, load_run
from pointseg.suggestions.margin import Rules, choose, sample
from pointseg.types import IGNORE, Dataset, Points, Scene, whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Suggested:
    """The points of an earlier run, and those that its network suggests.

    run: the earlier run's folder; its points on the training and validation scenes are kept.
    share, distance: see Rules.
    budget: of each training scene on average; the added points lie wherever they are worth most.
    """

    run: str
    share: float
    distance: float
    budget: int | float
    seed: int
    accelerator: Accelerator

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterator[Points]:
        """A pixel without a label in its mask is never among them.

        Raises InputError where the earlier run has as many points already, has other classes, or where too few pixels
        lie far enough apart.
        """
        model = self._network(dataset)
        labelled = [*dataset.splits["train"], *dataset.splits["val"]]
        kept = Kept(Path(self.run) / "points").annotate(dataset, labelled)
        points = dict(zip((scene.id for scene in labelled), kept, strict=True))
        points |= self._round(model, dataset, [points[scene.id] for scene in dataset.splits["train"]])
        for scene in scenes:
            yield points[scene.id]

    def _round(self, model: Trained, dataset: Dataset, kept: Sequence[Points]) -> dict[str, Points]:
        """The points of the training scenes, by their id: those kept, and those suggested beside them."""
        scenes = dataset.splits["train"]
        rules = Rules(self._missing(scenes, sum(map(len, kept))), self.share, self.distance, self.seed)
        pixels = sample(model, scenes, lambda scene, window: np.ones(window[2:], bool), model.batch_size, self.seed)
        chosen = self._choose(pixels.assign(label=_labels(pixels, scenes)), _table(kept), rules)
        return {
            scene.id: _joined(points, chosen[chosen["scene"] == i])
            for i, (scene, points) in enumerate(zip(scenes, kept, strict=True))
        }

    def _choose(self, pixels: pd.DataFrame, taken: pd.DataFrame, rules: Rules) -> pd.DataFrame:
        refused = int((choose(pixels, taken, rules)["label"] == IGNORE).sum())
        chosen = choose(pixels[pixels["label"] != IGNORE], taken, rules)
        if len(chosen) < rules.count:
            raise InputError(
                f"Only {len(chosen):,} of the {rules.count:,} points wanted lie {self.distance:g} pixels apart; lower "
                "annotation.distance or raise annotation.share."
            )
        log.info("Suggested: %d points; %d more lay where the masks have no label", len(chosen), refused)
        return chosen

    def _network(self, dataset: Dataset) -> Trained:
        model = load_run(Path(self.run), "best", self.accelerator, flips=False)
        if model.classes != dataset.classes:
            raise InputError(
                f"annotation.run={self.run}: was trained on the classes {', '.join(model.classes)}, but the dataset "
                f"has {', '.join(dataset.classes)}; suggest with a run on the same dataset."
            )
        return model

    def _missing(self, scenes: Sequence[Scene], kept: int) -> int:
        """The points that `budget` buys in all scenes beyond those that are kept."""
        labelled = {scene.id: int((scene.mask(whole(scene)) != IGNORE).sum()) for scene in scenes}
        total = sum(count(self.budget, pixels, scene) for scene, pixels in labelled.items())
        if total <= kept:
            raise InputError(
                f"budget={self.budget}: {total:,} points in all, but annotation.run={self.run} has {kept:,} of them "
                "already; give a larger budget."
            )
        return total - kept


def _table(points: Sequence[Points]) -> pd.DataFrame:
    """row, col and scene (index) of the points of each scene."""
    return pd.concat(
        pd.DataFrame({"row": of_scene.rows, "col": of_scene.cols, "scene": i}) for i, of_scene in enumerate(points)
    )


def _labels(pixels: pd.DataFrame, scenes: Sequence[Scene]) -> "pd.Series[int]":
    """What the masks say at the pixels: a class or IGNORE."""
    parts = [
        pd.Series(scenes[i].mask(whole(scenes[i]))[rows["row"], rows["col"]], rows.index)
        for i, rows in pixels.groupby("scene")
    ]
    return pd.concat(parts)


def _joined(kept: Points, chosen: pd.DataFrame) -> Points:
    return Points(
        np.concatenate([kept.rows, chosen["row"].to_numpy(np.float64)]),
        np.concatenate([kept.cols, chosen["col"].to_numpy(np.float64)]),
        np.concatenate([kept.labels, chosen["label"].to_numpy(np.int64)]),
    )
