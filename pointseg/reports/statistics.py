"""Means over seeds with their uncertainty, and arms compared seed by seed, or scene by scene."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from scipy import stats

from pointseg.metrics import ious

LEVEL = 0.95
SWAPS = 10_000


class Interval(NamedTuple):
    """A mean and half the width of an interval about it; NaN where fewer than two values give none."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half


def confidence(values: Sequence[float]) -> Interval:
    """The mean's 95 % interval by Student's t."""
    return _interval(values, 0.0)


def prediction(values: Sequence[float]) -> Interval:
    """Where one further value falls with 95 %: what a single run of somebody else's is held against."""
    return _interval(values, 1.0)


def _interval(values: Sequence[float], further: float) -> Interval:
    array, n = np.asarray(values, float), len(values)
    if n < 2:
        return Interval(float(array.mean()) if n else np.nan, np.nan)
    factor = stats.t.ppf((1 + LEVEL) / 2, n - 1) * np.sqrt(1 / n + further)
    return Interval(float(array.mean()), float(factor * array.std(ddof=1)))


class Comparison(NamedTuple):
    """Differences a − b of runs with the same seed: n of them, p of the paired t-test, Cohen's d_z = mean / sd."""

    n: int
    difference: Interval
    p: float
    effect: float


def paired(a: Sequence[float], b: Sequence[float]) -> Comparison:
    differences = np.subtract(a, b)
    interval = confidence(differences.tolist())
    if len(differences) < 2 or not (sd := float(differences.std(ddof=1))):
        return Comparison(len(differences), interval, np.nan, np.nan)
    p = float(stats.ttest_1samp(differences, 0).pvalue)
    return Comparison(len(differences), interval, p, float(differences.mean()) / sd)


def randomisation(
    a: Sequence[Int[np.ndarray, "_ k k"]], b: Sequence[Int[np.ndarray, "_ k k"]], land_cover: Sequence[bool]
) -> float:
    """p of two arms' land-cover mIoU, paired over seeds and scenes, by approximate randomisation (Noreen 1989).

    a, b: for each seed, the confusion matrices of the same scenes. An arm's score is that of its matrices pooled over
    scenes, the mean over seeds. Were the arms alike, the two matrices of a scene might as well have changed places:
    each pair does so with probability 1/2, SWAPS times. p is (r + 1) / (SWAPS + 1), where r of these differ in score by
    the observed difference or more, in either direction.
    """
    rng = np.random.default_rng(0)
    differences = np.zeros(SWAPS + 1)  # summed over seeds
    for x, y in zip(a, b, strict=True):
        swapped = rng.random((SWAPS + 1, len(x))) < 0.5
        swapped[0] = False  # as observed
        change = np.tensordot(swapped.astype(float), (y - x).astype(float), 1)
        for sign, pooled in ((1, x.sum(0) + change), (-1, y.sum(0) - change)):
            differences += sign * np.nanmean(ious(pooled)[:, np.array(land_cover)], 1)
    differences = np.abs(differences)
    return float(np.mean(differences >= differences[0] - 1e-12))  # equal ones may be rounded apart
