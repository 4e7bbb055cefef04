"""Means over seeds with their uncertainty, and arms compared seed by seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95


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
