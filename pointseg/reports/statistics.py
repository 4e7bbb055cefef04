"""Means over seeds with their intervals, and two arms compared: seed by seed, or scene by scene."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from pointseg.metrics import ious

LEVEL = 0.95
RESAMPLES = 9_999
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"


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

    def show(self, unit: str = "") -> str:
        """As 0.412 ± 0.013; per cent need fewer digits. Of no values a dash."""
        digits = 1 if unit else 3
        if np.isnan(self.mean):
            return "–"
        spread = f" ± {self.half:.{digits}f}" if self.half >= 0 else ""
        return f"{self.mean:.{digits}f}{spread}{unit}"


def confidence(values: Sequence[float]) -> Interval:
    """The mean's 95 % interval by Student's t."""
    if len(values) < 2:
        return Interval(float(values[0]) if len(values) else np.nan, np.nan)
    half = stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * stats.sem(values)
    return Interval(float(np.mean(values)), float(half))


def prediction(values: Sequence[float]) -> Interval:
    """Where one further value falls with 95 %: what a single run of somebody else's is held against."""
    mean, half = confidence(values)
    return Interval(mean, half * float(np.sqrt(len(values) + 1)))


def above_zero(interval: Interval) -> str:
    """The verdict on the statement that what the interval is of lies above zero."""
    if interval.low > 0:
        return HOLDS
    return FAILS if interval.high < 0 else UNDECIDED


class Comparison(NamedTuple):
    """Differences a − b of runs with the same seed: n of them, p of the paired t-test, Cohen's d_z = mean / sd."""

    n: int
    difference: Interval
    p: float
    effect: float


def paired(a: Sequence[float], b: Sequence[float]) -> Comparison:
    differences = np.subtract(a, b)
    n = len(differences)
    if n < 2 or np.ptp(differences) < 1e-12:  # no spread, but for rounding, to test against
        return Comparison(n, confidence(differences.tolist()), np.nan, np.nan)
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(LEVEL)
    interval = Interval(float(low + high) / 2, float(high - low) / 2)
    return Comparison(n, interval, float(test.pvalue), float(test.statistic / np.sqrt(n)))


def randomisation(
    a: Sequence[Int[np.ndarray, "_ k k"]], b: Sequence[Int[np.ndarray, "_ k k"]], land_cover: Sequence[bool]
) -> float:
    """p of two arms' land-cover mIoU, paired over seeds and scenes, by approximate randomisation (Noreen 1989).

    a, b: for each seed, the confusion matrices of the same scenes. An arm's score is that of its matrices pooled over
    scenes, the mean over seeds. Were the arms alike, the two matrices of a scene might as well have changed places.
    """
    ends = np.cumsum([len(matrices) for matrices in a])

    def difference(x: Float[np.ndarray, "*r n"], y: Float[np.ndarray, "*r n"], axis: int) -> Float[np.ndarray, "*r"]:
        """x: 1 where the matrices of a scene have changed places, else 0; y the contrary."""
        total = np.zeros(x.size // ends[-1])
        for swapped, one, other in zip(np.split(x.reshape(len(total), -1), ends[:-1], 1), a, b, strict=True):
            change = np.tensordot(swapped, (other - one).astype(float), 1)
            for sign, pooled in ((1, one.sum(0) + change), (-1, other.sum(0) - change)):
                total += sign * np.nanmean(ious(pooled)[:, np.array(land_cover)], 1)
        return total.reshape(x.shape[:-1])

    places = np.zeros(ends[-1]), np.ones(ends[-1])
    test = stats.permutation_test(
        places, difference, permutation_type="samples", n_resamples=RESAMPLES, vectorized=True, rng=0
    )
    return float(test.pvalue)
