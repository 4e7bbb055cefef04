"""Tables of scores over budgets: what more points bring, and what a choice of points saves."""

from collections.abc import Iterator, Mapping

import pandas as pd

from pointseg.reports import curves
from pointseg.reports.arms import arms, by_setting, markdown, pairs, splits, without_budget
from pointseg.reports.statistics import Interval, above_zero, confidence
from pointseg.reports.sweeps import FOLD


def scores(runs: pd.DataFrame, factors: list[str]) -> str:
    """A row for each arm and split, a column for each budget."""
    rows = []
    for name, members, split, column in _curves(runs, factors):
        by_budget = curves.by_budget(members, column).reindex(curves.points(runs).index)
        cells = {str(budget): confidence(row.dropna().tolist()).show() for budget, row in by_budget.iterrows()}
        rows.append({"arm": name, "scores": split} | cells)
    return markdown(rows, "mIoU over land cover, by points a scene or their share.")


def shares(runs: pd.DataFrame, factors: list[str], goals: Mapping[str, float]) -> str:
    """A row for each arm, split and budget. goals: by budget."""
    rows = []
    for name, budget, split, ratios in _ratios(runs, factors):
        share = confidence(ratios.tolist())
        row = {"arm": name, "budget": budget, "scores": split, "seeds": str(len(ratios)), "share": share.show()}
        rows.append(row | _verdict(goals.get(budget), share))
    note = (
        "Share: of the mIoU over land cover of the same arm and seed with every labelled pixel (budget 1.0); the mean\n"
        "of these ratios."
    )
    if goals:
        note += (
            " A goal, set beforehand, holds where the 95 % interval of the share lies above it, and does not hold\n"
            "where the interval lies below."
        )
    return markdown(rows, note)


def over_folds(runs: pd.DataFrame, factors: list[str], goals: Mapping[str, float]) -> str:
    """Shares and differences once more, with a column for each fold; empty where all runs are of one."""
    if runs[FOLD].nunique() < 2:
        return ""
    fold_of = runs.drop_duplicates("seed").set_index("seed")[FOLD]

    def row(name: str, split: str, values: "pd.Series[float]", goal: float | None) -> dict[str, str]:
        means = values.groupby(fold_of.loc[values.index].to_numpy()).mean().reindex(sorted(set(fold_of)))
        over = confidence(means.dropna().tolist())
        by_fold = {f"fold {fold}": f"{mean:.3f}" for fold, mean in means.items()}
        return {"": name, "scores": split, **by_fold, "mean over folds": over.show()} | _verdict(goal, over)

    rows = [
        row(f"share, {name}, budget {budget}", split, ratios, goals.get(budget))
        for name, budget, split, ratios in _ratios(runs, factors)
    ]
    for names, a, b in pairs(runs, factors):
        for split, column in splits(runs).items():
            if len(differences := (a[column] - b[column]).dropna()):
                rows.append(row(names, split, differences, 0.0))
    note = (
        "By fold: the mean over its seeds, of shares and of differences in mIoU over land cover. The interval takes\n"
        "folds for independent, not runs: it is wider than those above, and says more about other ground."
    )
    return markdown(rows, note)


def savings(runs: pd.DataFrame, factors: list[str]) -> str:
    """A row for each choice of points and budget, the other factors being equal."""
    choices = [name for name in factors if name in ("annotation", "sampler")]
    others = [name for name in without_budget(factors) if name not in choices]
    if not choices or "budget" not in factors:
        return ""
    rows, means = [], []
    for _, members in by_setting(runs, others):
        at_random = (members.annotation == "drawn") & (members.sampler == "random")
        random, chosen = members[at_random], members[~at_random]
        for name, arm in arms(chosen, [*choices, *others]) if len(random) else []:
            saved, mean = curves.savings(arm.reset_index(), random[random.seed.isin(arm.index)])
            rows += [{"arm": name} | _saving(saving) for saving in saved]
            if mean is not None:
                means.append(f"- {name}, the mean over its budgets: {mean.show()}, {above_zero(mean)}.")
    note = (
        "mIoU: the best over all classes. Random points needed: their number where random points of the same seeds\n"
        "reach the same mean, interpolated over its logarithm (inf: none that was tried; the smallest that was tried\n"
        "also stands for fewer). Where scores hardly rise, a difference within the noise is worth many points: look\n"
        "at the intervals first."
    )
    half = "Half as many points suffice where their mIoU less that of twice as many random ones lies above zero:"
    return markdown(rows, note, *([f"{half}\n\n" + "\n".join(means)] if means else []))


def _saving(saving: curves.Saving) -> dict[str, str]:
    points, miou, needed, difference = saving
    row = {
        "points": f"{points:,.0f}",
        "mIoU": miou.show(),
        "random points needed": f"{needed:,.0f}",
        "times as many": f"{needed / points:.2f}",
    }
    if difference is not None:
        row |= {"− twice as many random": difference.show(), "half suffices": above_zero(difference)}
    return row


def _curves(runs: pd.DataFrame, factors: list[str]) -> Iterator[tuple[str, pd.DataFrame, str, str]]:
    """Each arm, the budget apart, with its runs, for each split with its column; none where budgets do not differ."""
    for name, members in arms(runs, without_budget(factors)) if "budget" in factors else []:
        for split, column in splits(runs).items():
            yield name, members.reset_index(), split, column


def _ratios(runs: pd.DataFrame, factors: list[str]) -> Iterator[tuple[str, str, str, "pd.Series[float]"]]:
    """Each arm, the budget apart, with each budget below every pixel and split: its shares by seed."""
    for name, members, split, column in _curves(runs, factors):
        for budget, ratios in curves.shares(members, column).items():
            if budget != curves.WHOLE:
                yield name, budget, split, ratios


def _verdict(goal: float | None, mean: Interval) -> dict[str, str]:
    if goal is None:
        return {}
    return {"goal": f"{goal:g}", "verdict": above_zero(Interval(mean.mean - goal, mean.half))}
