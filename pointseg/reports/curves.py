"""Curves of scores over numbers of training points: what a choice of points saves."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from pointseg.reports.statistics import Interval, confidence

WHOLE = "1.0"  # the budget of every labelled pixel


def by_budget(runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A row for each budget, that of the fewest training points first, a column a seed."""
    return runs.pivot(index="budget", columns="seed", values=measure).reindex(points(runs).index)


def by_points(runs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A row for each budget, by its training points in all scenes (mean over seeds), a column a seed."""
    return by_budget(runs, measure).set_axis(points(runs).to_numpy(float))


def points(runs: pd.DataFrame) -> "pd.Series[float]":
    """The training points of each budget in all scenes, mean over the runs; the fewest first."""
    return runs.filter(regex="^points/").sum(axis=1).groupby(runs["budget"]).mean().sort_values(kind="stable")


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
    scores, reference = by_points(runs, "best_miou"), by_points(others, "best_miou")
    saved, differences = [], []
    for points, row in scores.iterrows():
        difference = None
        for twice in reference.index[np.isclose(reference.index, 2 * points, rtol=0.01)]:
            by_seed = (row - reference.loc[twice]).dropna()
            if len(by_seed):
                differences.append(by_seed)
                difference = confidence(by_seed.tolist())
        mean = confidence(row.dropna().tolist())
        saved.append(Saving(points, mean, needed(reference.mean(axis=1), mean.mean), difference))
    whole = pd.concat(differences, axis=1).dropna().mean(axis=1).tolist() if differences else []
    return saved, confidence(whole) if whole else None


def shares(runs: pd.DataFrame, measure: str) -> dict[str, "pd.Series[float]"]:
    """For each budget the ratio of `measure` to that with every pixel labelled, by the seeds that have both."""
    scores = by_budget(runs, measure)
    if WHOLE not in scores.index:
        return {}
    ratios = scores / scores.loc[WHOLE]
    return {str(budget): row.dropna() for budget, row in ratios.iterrows() if row.notna().any()}
