"""Which points to label next: those that the labelling page suggests, beside others.

A person is simulated by the masks: on a tile of the aerial dataset, its nine images put together, each way of choosing
points starts with one random point of each class and goes on to the budget. *Random*: any pixel. *Class by class*: a
random pixel of each class in turn, as a person who seeks them out. *Unsure*: at random one of twenty pixels of small
margin, in turn of each predicted class (as `pointseg suggest`). *Page*: of these twenty the one least like the points
labelled, which is what the page suggests. Scores: mean IoU over the tile's classes at pixels all over it, mean and
standard deviation over the seeds. `$POINTSEG_WEIGHTS` names the folder of the encoder's weights.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import table
from benchmarks.field import put_together, write_scene
from benchmarks.label import weights
from pointseg import metrics
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.labelling.features import Features
from pointseg.labelling.knowledge import Fit, Knowledge, judge
from pointseg.labelling.records import Pixel
from pointseg.labelling.survey import Survey
from pointseg.models.frozen import frozen
from pointseg.models.networks import fold_norms
from pointseg.types import IGNORE

WAYS = ("random", "class by class", "unsure", "page")
APART = 20.0  # pixels, as on the page


@dataclass(frozen=True)
class Size:
    tiles: tuple[int, ...]
    seeds: int
    budgets: tuple[int, ...]


SIZES = {
    "tiny": Size((7,), 1, (10, 20)),
    "quick": Size((7,), 3, (10, 25, 50, 100)),
    "full": Size((1, 2, 3, 4, 5, 6, 7, 8), 5, (10, 25, 50, 100, 200)),
}


def run(size: Size, folder: Path) -> str:
    lines = []
    for tile in size.tiles:
        with tempfile.TemporaryDirectory() as place:
            truth, survey = looked_at(tile, Path(place))
        scores = {
            way: np.array([simulated(way, truth, survey, size.budgets, seed) for seed in range(size.seeds)])
            for way in WAYS
        }
        for way, values in scores.items():
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(values.mean(0), values.std(0), strict=True)]
            lines.append([f"Tile {tile}", way, *cells])
    return table(["tile", "points", *map(str, size.budgets)], lines)


def looked_at(tile: int, place: Path) -> tuple[np.ndarray, Survey]:
    """The truth at the samples of a survey, and the survey when all is looked at."""
    _, image, mask = put_together(tile)
    write_scene(place / "tile.tif", image)
    scenes = open_rasters(find(str(place / "tile.tif"), "images"))
    network = fold_norms(frozen(2, "mobilenet_v2", str(weights()), 2, "linear", scenes[0].bands)).eval()
    survey = Survey(Features(network, scenes, 512, 64, 1), 128 * 10**6)
    with torch.inference_mode():
        while survey.left:
            window = survey.left[-1]
            survey.look(window, survey.samples[0].features.computed(window))
    samples = survey.samples[0]
    return mask[np.ix_(samples.rows, samples.cols)], survey


def simulated(way: str, truth: np.ndarray, survey: Survey, budgets: tuple[int, ...], seed: int) -> list[float]:
    """Mean IoU at each budget."""
    rng = np.random.default_rng(seed)
    samples = survey.samples[0]
    classes = [int(label) for label in np.unique(truth) if label != IGNORE]
    knowledge = Knowledge(samples.features.network.levels)
    labelled: dict[Pixel, str] = {}

    def label(row: int, col: int) -> None:
        pixel = Pixel(0, int(samples.rows[row]), int(samples.cols[col]))
        labelled[pixel] = str(int(truth[row, col]))
        knowledge.learn(pixel, samples.values[row, col][None].float())

    def random_of(wanted: np.ndarray) -> tuple[int, int]:
        return tuple(np.argwhere(wanted)[rng.integers(wanted.sum())])  # type: ignore[return-value]

    for each in classes:
        label(*random_of(truth == each))
    order = [str(each) for each in classes]
    scores = []
    skipped: list[Pixel] = []
    number = 0
    while len(scores) < len(budgets):
        number += 1
        fit = knowledge.fit(number, labelled, order)
        if len(labelled) >= budgets[len(scores)]:
            quality = judge(*knowledge.sample(labelled, samples.features.scenes))
            if quality:
                knowledge.amount, knowledge.temperature = quality.amount, quality.temperature
            number += 1
            scores.append(score(survey, knowledge.fit(number, labelled, order), truth, classes))
            continue
        if way == "random":
            label(*random_of(truth != IGNORE))
        elif way == "class by class":
            label(*random_of(truth == classes[len(labelled) % len(classes)]))
        else:
            taken = [*labelled, *skipped]
            drawn = 1000 * seed + len(taken)
            if way == "page":
                known = torch.stack(list(knowledge.means.values())).float()
                pixel = survey.next_point(fit, taken, known, APART, drawn)
            else:
                uncertain = survey.uncertain(fit, taken, APART, drawn)
                pixel = uncertain[rng.integers(len(uncertain))]
            assert pixel is not None
            row, col = int(np.searchsorted(samples.rows, pixel.row)), int(np.searchsorted(samples.cols, pixel.col))
            if truth[row, col] == IGNORE:
                skipped.append(pixel)  # the person cannot tell either
            else:
                label(row, col)
    return scores


def score(survey: Survey, fit: Fit, truth: np.ndarray, classes: list[int]) -> float:
    answer = survey.answer(0, fit).classes
    names = np.array([int(name) for name in fit.names] + [IGNORE] * (256 - len(fit.names)))
    chosen = (truth != IGNORE) & (answer != IGNORE)
    k = max(classes) + 1
    confusion = np.bincount(truth[chosen] * k + names[answer[chosen]], minlength=k * k).reshape(1, k, k)
    return float(metrics.ious(confusion)[0][classes].mean())
