"""The points most worth labelling next (margin sampling; PixelPick, Shin et al. 2021, section 3).

Drawn at random from the pixels of smallest margin, because the very smallest lie side by side on one
outline; equally many of each predicted class, because a rare class is what a network lacks.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from pointseg import progress
from pointseg.annotation import kept as annotation
from pointseg.errors import InputError
from pointseg.prediction.trained import Accelerator, Trained, load_run
from pointseg.prediction.windows import predict_scene, strips
from pointseg.types import IGNORE, Dataset, Points, Scene, Window, whole

log = logging.getLogger(__name__)

SAMPLE = 1_000_000  # pixels, drawn at random over all scenes, among which the most uncertain are looked for


@dataclass(frozen=True)
class Rules:
    """How points are chosen; conf/suggest.yaml says what each means. Raises InputError where they cannot be."""

    count: int
    share: float
    distance: float
    seed: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.share <= 1 or self.distance < 0:
            raise InputError(
                f"count={self.count}, share={self.share}, distance={self.distance}: give 1 point at least, a share in "
                "(0, 1] and a distance from 0 on."
            )


@dataclass(frozen=True)
class Margin:
    """The points of an earlier run, and those that its network suggests, labelled by the masks: one round.

    run: the earlier run's folder; its points on the training and validation scenes are kept.
    share, distance: see Rules.
    """

    run: str
    share: float
    distance: float

    def annotate(self, dataset: Dataset, budget: int | float, seed: int, accelerator: Accelerator) -> dict[str, Points]:
        """The points of every training and validation scene, by its id.

        The training scenes have `budget` points each on average, and those that are added lie wherever they are
        worth most; a pixel without a label in its mask is never one. Raises InputError where the earlier run has
        as many already, has other classes, or too few pixels lie far enough apart.
        """
        model = self._network(dataset, accelerator)
        scenes, kept = dataset.splits["train"], self._kept(dataset)
        there = [kept[scene.id] for scene in scenes]
        rules = Rules(self._missing(scenes, sum(map(len, there)), budget), self.share, self.distance, seed)
        pixels = sample(model, scenes, lambda scene, window: np.ones(window[2:], bool), model.batch_size, seed)
        pixels["label"] = _labels(pixels, scenes)
        taken = pd.concat(pd.DataFrame({"row": at.rows, "col": at.cols, "scene": i}) for i, at in enumerate(there))
        refused = int((choose(pixels, taken, rules)["label"] == IGNORE).sum())
        chosen = choose(pixels[pixels["label"] != IGNORE], taken, rules)
        if len(chosen) < rules.count:
            raise InputError(
                f"Only {len(chosen):,} of the {rules.count:,} points wanted lie {self.distance:g} pixels apart; lower "
                "sampler.distance or raise sampler.share."
            )
        log.info("Suggested: %d points; %d more lay where the masks have no label", len(chosen), refused)
        return kept | {
            scene.id: _joined(kept[scene.id], chosen[chosen["scene"] == i]) for i, scene in enumerate(scenes)
        }

    def _network(self, dataset: Dataset, accelerator: Accelerator) -> Trained:
        model = load_run(Path(self.run), "best", accelerator, flips=False)
        if model.classes != dataset.classes:
            raise InputError(
                f"sampler.run={self.run}: was trained on the classes {', '.join(model.classes)}, but the dataset has "
                f"{', '.join(dataset.classes)}; suggest with a run on the same dataset."
            )
        return model

    def _kept(self, dataset: Dataset) -> dict[str, Points]:
        folder = Path(self.run) / "points"
        return {
            scene.id: annotation.load(annotation.file_of(folder, scene), scene, dataset.classes)
            for scene in [*dataset.splits["train"], *dataset.splits["val"]]
        }

    def _missing(self, scenes: Sequence[Scene], there: int, budget: int | float) -> int:
        """The points that `budget` buys in all scenes beyond the number that is there."""
        labelled = {scene.id: int((scene.mask(whole(scene)) != IGNORE).sum()) for scene in scenes}
        total = sum(annotation.count(budget, number, scene) for scene, number in labelled.items())
        if total <= there:
            raise InputError(
                f"budget={budget}: {total:,} points in all, but sampler.run={self.run} has {there:,} of them already; "
                "give a larger budget."
            )
        return total - there


def _labels(pixels: pd.DataFrame, scenes: Sequence[Scene]) -> "pd.Series[int]":
    """What the masks say at the pixels: a class or IGNORE."""
    parts = [
        pd.Series(scenes[i].mask(whole(scenes[i]))[there["row"], there["col"]], there.index)
        for i, there in pixels.groupby("scene")
    ]
    return pd.concat(parts)


def _joined(kept: Points, chosen: pd.DataFrame) -> Points:
    return Points(
        np.concatenate([kept.rows, chosen["row"].to_numpy(np.float64)]),
        np.concatenate([kept.cols, chosen["col"].to_numpy(np.float64)]),
        np.concatenate([kept.labels, chosen["label"].to_numpy(np.int64)]),
    )


def sample(
    model: Trained,
    scenes: Sequence[Any],
    valid: Callable[[Any, Window], Bool[np.ndarray, "h w"]],
    batch_size: int,
    seed: int,
) -> pd.DataFrame:
    """About SAMPLE random pixels: scene (index), row, col, predicted, margin.

    The margin is the probability of the best class less that of the next, in [0, 1].
    scenes: Imagery, of the dataset or rasters. valid: a scene and a window → the pixels that may be drawn.
    """
    rng = np.random.default_rng(seed)
    rate = SAMPLE / sum(scene.shape[0] * scene.shape[1] for scene in scenes)
    parts = []
    total = sum(len(strips(scene.shape[0], model.window_size, model.overlap)) for scene in scenes)
    with progress.steps(total, "looking for uncertain pixels", "strip") as done:
        for index, scene in enumerate(scenes):
            blocks = predict_scene(
                model.predict,
                scene,
                model.window_size,
                model.overlap,
                batch_size,
                model.device,
                wanted=lambda window, scene=scene: bool(valid(scene, window).any()),  # type: ignore[misc]
            )
            for window, values in blocks:
                best, classes = values.topk(2, dim=0)
                margin = (best[0] - best[1]).cpu().numpy()
                drawn = (rng.random(margin.shape) < rate) & valid(scene, window)
                rows, cols = np.nonzero(drawn)
                part = {"scene": index, "row": rows + window.row, "col": cols + window.col, "margin": margin[drawn]}
                parts.append(pd.DataFrame({**part, "predicted": classes[0].cpu().numpy()[drawn]}))
                if window.col == 0:
                    done()
    if not sum(map(len, parts)):
        raise InputError("input: no pixel of the images holds data.")
    return pd.concat(parts, ignore_index=True)


def choose(pixels: pd.DataFrame, taken: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """`rules.count` of the pixels: in turn one of each predicted class, at random from its most uncertain.

    None is another or one that is `taken`, nor lies nearer than `rules.distance` to it; there may be fewer then.
    """
    rng = np.random.default_rng(rules.seed)
    queues = []
    for _, of_class in pixels.groupby("predicted"):
        uncertain = of_class.nsmallest(max(round(rules.share * len(of_class)), 1), "margin")
        queues.append(iter(uncertain.sample(frac=1, random_state=rng).itertuples()))
    near = {scene: list(zip(rows["row"], rows["col"], strict=True)) for scene, rows in taken.groupby("scene")}
    apart = max(rules.distance, 1)  # whole pixels that differ are 1 apart
    chosen: list[int] = []
    while queues and len(chosen) < rules.count:
        queue = queues.pop(0)
        for pixel in queue:
            others = near.setdefault(pixel.scene, [])
            if not others or np.hypot(*(np.array(others) - (pixel.row, pixel.col)).T).min() >= apart:
                others.append((pixel.row, pixel.col))
                chosen.append(pixel.Index)
                queues.append(queue)  # its class waits for its next turn; one that has run out does not come back
                break
    return pixels.loc[chosen]
