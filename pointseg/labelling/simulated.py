"""A simulated person labels on the page, the masks answering: which way of choosing points needs the fewest?

Each site (the scenes of one group of a dataset, such as a tile) is labelled by itself, with the page's own features,
head and suggestions. Every way begins with one random point of each class. *random*: any pixel. *class_by_class*: a
random pixel of each class in turn, as a person seeks them. *suggested*: what the page suggests, or any pixel where it
has nothing to suggest.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int, UInt8
from omegaconf import DictConfig
from tqdm import tqdm

from pointseg import metrics
from pointseg.config import construct, values
from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.labelling.command import MEGABYTE, frozen_network
from pointseg.labelling.features import Features
from pointseg.labelling.knowledge import Fit, Knowledge, judge
from pointseg.labelling.records import Pixel
from pointseg.labelling.survey import Survey
from pointseg.types import IGNORE, Dataset, Scene, Shape, Window

log = logging.getLogger(__name__)

WAYS = ("random", "class_by_class", "suggested")
COLUMNS = ["site", "way", "seed", "points", "miou", "seconds"]
APART = 20.0  # pixels between a suggested point and any other, as on the page


@dataclass(frozen=True)
class Shown:
    """A scene of a dataset, as the page looks at an image."""

    scene: Scene

    @property
    def id(self) -> str:
        return self.scene.id

    @property
    def shape(self) -> Shape:
        return self.scene.shape

    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]:
        return self.scene.image(window)

    def valid(self, window: Window) -> Bool[np.ndarray, "h w"]:
        return np.ones((window.height, window.width), bool)


class Site:
    """Scenes that one person labels, and the truth at the samples of a survey of them.

    places: scene, row and column among the samples of each labelled one; labels: its class.
    """

    def __init__(self, scenes: Sequence[Scene], features: Features, limit: int) -> None:
        self.survey = Survey(features, limit)
        self.numbers = count(1)  # of fits: the survey keeps its answers by them
        with torch.inference_mode():
            for place in tqdm(list(self.survey.left), desc=scenes[0].group, disable=None):
                self.survey.look(place, features.computed(place))
        self.truths = [
            scene.mask(Window(0, 0, *scene.shape))[np.ix_(samples.rows, samples.cols)]
            for scene, samples in zip(scenes, self.survey.samples, strict=True)
        ]
        self.places: Int[np.ndarray, "n 3"] = np.concatenate(
            [np.insert(np.argwhere(truth != IGNORE), 0, i, axis=1) for i, truth in enumerate(self.truths)]
        )
        self.labels = np.concatenate([truth[truth != IGNORE] for truth in self.truths]).astype(int)

    def pixel(self, place: Int[np.ndarray, "3"]) -> Pixel:
        samples = self.survey.samples[place[0]]
        return Pixel(int(place[0]), int(samples.rows[place[1]]), int(samples.cols[place[2]]))

    def place(self, pixel: Pixel) -> tuple[int, int, int]:
        samples = self.survey.samples[pixel.scene]
        return pixel.scene, int(np.searchsorted(samples.rows, pixel.row)), int(np.searchsorted(samples.cols, pixel.col))

    def score(self, fit: Fit) -> float:
        """Mean IoU over the site's classes, at all samples."""
        answers = [self.survey.answer(i, fit).classes[truth != IGNORE] for i, truth in enumerate(self.truths)]
        predicted = np.array([int(name) for name in fit.names])[np.concatenate(answers)]
        k = int(self.labels.max()) + 1
        confusion = np.bincount(self.labels * k + predicted, minlength=k * k).reshape(1, k, k)
        return float(metrics.ious(confusion)[0][np.unique(self.labels)].mean())


class Person:
    """Labels one site in one way. The draws follow from the seed."""

    def __init__(self, site: Site, way: str, seed: int) -> None:
        self.site, self.way, self.seed = site, way, seed
        self.rng = np.random.default_rng(seed)
        self.classes = np.unique(site.labels).tolist()
        self.knowledge = Knowledge(site.survey.samples[0].features.network.levels)
        self.labelled: dict[Pixel, str] = {}
        self.unclear: list[Pixel] = []  # suggested where the mask has no label: a person cannot tell either
        for label in self.classes:
            self._label(self._random(label))

    def step(self) -> None:
        """One more point."""
        if self.way == "random":
            self._label(self._random(None))
        elif self.way == "class_by_class":
            self._label(self._random(self.classes[len(self.labelled) % len(self.classes)]))
        else:
            self._answer()

    def fit(self) -> Fit:
        return self.knowledge.fit(next(self.site.numbers), self.labelled, [str(label) for label in self.classes])

    def score(self) -> float:
        """After the head's shrinkage was chosen by the points, as the page does."""
        scenes = self.site.survey.samples[0].features.scenes
        quality = judge(*self.knowledge.sample(self.labelled, scenes))
        if quality:
            self.knowledge.amount, self.knowledge.temperature = quality.amount, quality.temperature
        return self.site.score(self.fit())

    def _answer(self) -> None:
        fit = self.fit()
        while True:
            drawn = 1000 * self.seed + len(self.labelled) + len(self.unclear)
            pixel = self.site.survey.next_point(fit, self.labelled, self.unclear, APART, drawn)
            if pixel is None:  # all lies near a point
                return self._label(self._random(None))
            if self.site.truths[pixel.scene][self.site.place(pixel)[1:]] != IGNORE:
                return self._label(pixel)
            self.unclear.append(pixel)

    def _random(self, label: int | None) -> Pixel:
        among = self.site.places if label is None else self.site.places[self.site.labels == label]
        for place in self.rng.permutation(among):
            if (pixel := self.site.pixel(place)) not in self.labelled:
                return pixel
        raise InputError(f"{self.way}: no pixel is left to label; give smaller budgets, or more memory for the survey.")

    def _label(self, pixel: Pixel) -> None:
        scene, row, col = self.site.place(pixel)
        self.labelled[pixel] = str(int(self.site.truths[scene][row, col]))
        self.knowledge.learn(pixel, self.site.survey.samples[scene].values[row, col][None].float())


def simulate(site: Site, way: str, budgets: Sequence[int], seed: int) -> Iterator[dict[str, Any]]:
    """points, miou and seconds (of the machine, since the first point) at each budget that is no fewer than classes."""
    person, start = Person(site, way, seed), time.perf_counter()
    for budget in sorted(budgets):
        if budget < len(person.classes):
            continue
        while len(person.labelled) < budget:
            person.step()
        miou = person.score()
        yield {"points": budget, "miou": miou, "seconds": time.perf_counter() - start}


def active(cfg: DictConfig, folder: Path) -> pd.DataFrame:
    """Simulate every site, way and seed, and keep the scores in results.csv; those that are there are not made again.

    Raises InputError for a way or group that there is none of.
    """
    logging.getLogger("pointseg.training.head").setLevel(logging.WARNING)  # it speaks at each fit
    if unknown := set(cfg.ways) - set(WAYS):
        raise InputError(f"ways: {unknown.pop()} is none; there are {', '.join(WAYS)}.")
    nodes = values(cfg, "dataset", "model")
    dataset: Dataset = construct(nodes["dataset"])
    sites = _sites(dataset, cfg.groups)
    file = folder / "results.csv"
    done = _kept(file)
    for group, scenes in sites.items():
        missing = [
            (way, seed) for way in cfg.ways for seed in range(cfg.seeds)
            if done[(done["site"] == group) & (done["way"] == way) & (done["seed"] == seed)].shape[0] < len(cfg.budgets)
        ]  # fmt: skip
        if not missing:
            continue
        network = frozen_network(nodes["model"], dataset.bands)
        shown = [Shown(scene) for scene in scenes]
        site = Site(scenes, Features(network, shown, cfg.window_size, cfg.overlap, MEGABYTE), cfg.survey * MEGABYTE)
        for way, seed in tqdm(missing, desc=group, disable=None):
            found = pd.DataFrame(simulate(site, way, cfg.budgets, seed)).round({"miou": 4, "seconds": 2})
            rows = found.assign(site=group, way=way, seed=seed)[COLUMNS]
            done = pd.concat([done, rows], ignore_index=True) if len(done) else rows
            with writing(file) as partial:
                done.to_csv(partial, index=False)
        log.info("%s: %s", group, _line(done[done["site"] == group]))
    return done


def _sites(dataset: Dataset, groups: Sequence[str] | None) -> dict[str, list[Scene]]:
    scenes = sorted((scene for of in dataset.splits.values() for scene in of), key=lambda scene: scene.id)
    found: dict[str, list[Scene]] = {}
    for scene in scenes:
        found.setdefault(scene.group, []).append(scene)
    if groups is None:
        return found
    if absent := sorted(set(groups) - set(found)):
        raise InputError(f"groups: no group {', '.join(absent)}; there are {', '.join(sorted(found)[:20])}.")
    return {group: found[group] for group in groups}


def _kept(file: Path) -> pd.DataFrame:
    if not file.exists():
        return pd.DataFrame(columns=COLUMNS)
    with reading(file, "the scores of an earlier simulation", "remove it, or name another folder."):
        return pd.read_csv(file)


def _line(rows: pd.DataFrame) -> str:
    most = rows[rows["points"] == rows["points"].max()].groupby("way", sort=False)["miou"].mean()
    return f"mIoU with {rows['points'].max()} points: " + ", ".join(f"{way} {value:.3f}" for way, value in most.items())
