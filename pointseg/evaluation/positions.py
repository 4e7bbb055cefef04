"""Labelled positions of the validation scenes, and what a run's network says there."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pointseg.annotation.drawn import draw
from pointseg.prediction.calibration import Shares
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import Imagery, Views, views_at
from pointseg.samplers.random import Random
from pointseg.training.data import PointData

Numbers = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Sample:
    """Labelled positions of the validation scenes. groups: of their scenes; words: where they come from.

    random: their classes have the scenes' own shares, as those of points that a person chose or that a
    sampler balanced have not.
    """

    views: Views
    labels: Int[np.ndarray, "n"]
    groups: Int[np.ndarray, "n"]
    random: bool
    words: str

    def shares(self, classes: int) -> Shares:
        return np.bincount(self.labels, minlength=classes) / len(self.labels)

    def weights(self, shares: Shares) -> Numbers:
        """Weights of the positions by which their classes have these shares."""
        own = self.shares(len(shares))
        return np.asarray((shares / np.where(own > 0, own, 1))[self.labels])


def draw_sample(model: Trained, data: PointData, budget: int | float | None) -> Sample:
    """`budget` pixels of each validation scene's mask at random; None: the run's points."""
    scenes = data.dataset.splits["val"]
    if budget is None:
        drawn = [data.points[scene.id] for scene in scenes]
    else:
        drawn = [draw(scene, Random(), budget, data.seed) for scene in scenes]
    labelled = [(scene, found) for scene, found in zip(scenes, drawn, strict=True) if len(found)]
    names = sorted({scene.group for scene, _ in labelled})
    what = "points of the run in" if budget is None else "pixels drawn at random from the masks of"
    views = [views_of(model, scene, found.rows.astype(int), found.cols.astype(int)) for scene, found in labelled]
    return Sample(
        Views.joined(views),
        np.concatenate([found.labels for _, found in labelled]),
        np.concatenate([np.full(len(found), names.index(scene.group)) for scene, found in labelled]),
        budget is not None,
        f"{sum(len(found) for _, found in labelled):,} {what} {len(labelled)} validation scenes",
    )


def views_of(model: Trained, scene: Imagery, rows: Int[np.ndarray, "n"], cols: Int[np.ndarray, "n"]) -> Views:
    return views_at(model.predict, scene, rows, cols, model.window_size, model.overlap, model.batch_size, model.device)
