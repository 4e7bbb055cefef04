"""Curves of scores over numbers of training points: what a choice of points saves."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pointseg.reports.statistics import Interval, confidence


def by_points(runs: pd.DataFrame) -> pd.DataFrame:
    """Best mIoU: a row for each budget, by its training points in all scenes (mean over seeds), a column a seed."""
    points = runs.filter(regex="^points/").sum(axis=1).groupby(runs["budget"]).mean()
    scores = runs.pivot(index="budget", columns="seed", values="best_miou")
    return scores.set_axis(points.reindex(scores.index).to_numpy(float)).sort_index()


def needed(curve: "pd.Series[float]", score: float) -> float:
    """Where a curve over numbers of points, linear in their logarithm between them, first reaches `score`.

    Its first number where it begins there already, inf where it never does.
    """
    points, values = curve.index.to_numpy(float), curve.to_numpy(float)
    reached = np.flatnonzero(values >= score)
    if not len(reached):
        return np.inf
    after = reached[0]
    if not after:
        return float(points[0])
    # One segment, and it rises: np.interp wants rising values.
    ends = slice(after - 1, after + 1)
    return float(np.exp(np.interp(score, values[ends], np.log(points[ends]))))


class Saving(NamedTuple):
    """points: in all scenes. miou: their mean over seeds. needed: of the other points for the same mean.

    difference: of the mIoU to that of twice as many other points, seed by seed; None without such runs.
    """

    points: float
    miou: Interval
    needed: float
    difference: Interval | None


def savings(runs: pd.DataFrame, others: pd.DataFrame) -> tuple[list[Saving], Interval | None]:
    """What each budget of `runs` saves against the points of `others`; and the difference, mean over the budgets."""
    scores, reference = by_points(runs), by_points(others)
    found, differences = [], []
    for points, row in scores.iterrows():
        difference = None
        for twice in reference.index[np.isclose(reference.index, 2 * points, rtol=0.01)]:
            by_seed = (row - reference.loc[twice]).dropna()
            if len(by_seed):
                differences.append(by_seed)
                difference = confidence(by_seed.tolist())
        mean = confidence(row.dropna().tolist())
        found.append(Saving(points, mean, needed(reference.mean(axis=1), mean.mean), difference))
    whole = pd.concat(differences, axis=1).dropna().mean(axis=1).tolist() if differences else []
    return found, confidence(whole) if whole else None
