"""The points most worth labelling next (margin sampling; PixelPick, Shin et al. 2021, section 3).

Drawn at random from the pixels of smallest margin, because the very smallest lie side by side on one
outline; equally many of each predicted class, because a rare class is what a network lacks.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from pointseg import progress
from pointseg.annotation.identity import Place
from pointseg.errors import InputError
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import predict_scene, strips
from pointseg.types import Window

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


def choose(
    pixels: pd.DataFrame,
    taken: pd.DataFrame,
    rules: Rules,
    elsewhere: Callable[[Place], Iterable[Place]] = lambda place: (),
) -> pd.DataFrame:
    """`rules.count` of the pixels: in turn one of each predicted class, at random from its most uncertain.

    None is another or one that is `taken`, nor lies nearer than `rules.distance` to it; there may be fewer then.
    elsewhere: where the ground of a pixel (scene, row, col) lies in other scenes; it is taken there too.
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
                for scene, row, col in elsewhere((pixel.scene, pixel.row, pixel.col)):
                    near.setdefault(scene, []).append((row, col))
                chosen.append(pixel.Index)
                queues.append(queue)  # its class waits for its next turn; one that has run out does not come back
                break
    return pixels.loc[chosen]
