"""The tables of an experiment's README, from its results.csv and records.jsonl."""

from collections.abc import Mapping

import pandas as pd

from pointseg.reports import agreement, budgets, claims, scenes
from pointseg.reports.arms import arms, markdown, pairs, rule
from pointseg.reports.claims import Judged
from pointseg.reports.results import SETTINGS, TESTED, Results
from pointseg.reports.statistics import FAILS, HOLDS, UNDECIDED, above_zero, confidence, paired

SCORES = {
    "best mIoU, all classes": "best_miou",
    "best mIoU, land cover": "best_miou_land_cover",
    "final mIoU, all classes": "final_miou",
    "final accuracy": "final_accuracy",
}
MEASURES = SCORES | {"epoch of the best": "best_epoch", "minutes": "minutes"}
TEST_SCORES = {"mIoU, all classes": "test_miou", "mIoU, land cover": TESTED, "accuracy": "test_accuracy"}
HIGHER = {HOLDS: "higher", FAILS: "lower", UNDECIDED: UNDECIDED}


def render(results: Results, judged: Judged) -> str:
    """All tables of an experiment, as Markdown. judged: what it is held against."""
    finished = results.finished.assign(minutes=lambda runs: runs.seconds / 60)
    factors = results.factors
    sections = {
        "Scores": _scores(finished, factors, MEASURES),
        "Test scores": _scores(finished, factors, TEST_SCORES) if TESTED in finished else "",
        "mIoU by budget": budgets.scores(finished, factors),
        "Arms compared": _comparisons(results),
        "Share of every pixel's mIoU": budgets.shares(finished, factors, judged.goals),
        "Over folds": budgets.over_folds(finished, factors, judged.goals),
        "Random points needed for the same mIoU": budgets.savings(finished, factors),
        "Class shares of the training points": _class_shares(finished),
        "Agreement of the masks": _agreement(agreement.table(list(results.runs.values()))),
        "The technical report's claims": claims.table(judged, finished, factors),
        "Not finished": _unfinished(results.table),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def common(results: Results) -> str:
    """The settings that all runs share, in the form of a command's arguments."""
    table = results.table
    shared = (name for name in SETTINGS if name not in results.factors and table[name].nunique() == 1)
    return " ".join(f"{name}={table[name].iloc[0]}" for name in shared)


def _scores(runs: pd.DataFrame, factors: list[str], measures: Mapping[str, str]) -> str:
    rows = []
    for name, members in arms(runs, factors):
        scored = members.dropna(subset=list(measures.values()))
        if len(scored):
            scores = {title: confidence(scored[column].tolist()).show() for title, column in measures.items()}
            rows.append({"arm": name, "seeds": str(len(scored))} | scores)
    return markdown(rows, rule(runs, factors))


def _comparisons(results: Results) -> str:
    """Arms that differ in one factor only, which is not the budget."""
    runs = results.finished
    measures = {"mIoU, land cover": "best_miou_land_cover"}
    if runs.epochs.max() > 1:
        measures = {"best mIoU": "best_miou", "final mIoU": "final_miou"} | measures
    if TESTED in runs:
        measures["test mIoU, land cover"] = TESTED
    rows = []
    for names, a, b in pairs(runs, results.factors):
        for measure, column in measures.items():
            shared = a[column].dropna().index.intersection(b[column].dropna().index)
            if len(shared):
                compared = _compared(a.loc[shared], b.loc[shared], column, results)
                rows.append({"arms": names, "measure": measure} | compared)
    note = (
        "p over seeds and scenes: of the difference in test mIoU over land cover, by the confusion matrices of each\n"
        "seed and scene, which change places between the arms at random (approximate randomisation, 9,999 times)."
    )
    return markdown(rows, note if any(run.scenes for run in results.runs.values()) else "")


def _compared(a: pd.DataFrame, b: pd.DataFrame, column: str, results: Results) -> dict[str, str]:
    n, difference, p, effect = paired(a[column].tolist(), b[column].tolist())
    both = ([results.runs[run].scenes for run in arm.run] for arm in (a, b))
    return {
        "seeds": str(n),
        "difference": difference.show(),
        "p": f"{p:.3f}",
        "p over seeds and scenes": f"{scenes.p_value(*both):.4f}" if column == TESTED else "–",
        "effect size": f"{effect:.1f}",
        "the first is": HIGHER[above_zero(difference)],
    }


def _class_shares(runs: pd.DataFrame) -> str:
    """Of the first run of each choice of points and budget."""
    points = runs.filter(regex="^points/").rename(columns=lambda name: name.partition("/")[2])
    rows = []
    for chosen, members in runs.groupby(["annotation", "sampler", "budget"]):
        counts = points.loc[members.index[0]]
        shares = {name: f"{share:.3f}" for name, share in (counts / counts.sum()).items()}
        choice = dict(zip(("annotation", "sampler", "budget"), chosen, strict=True))
        rows.append((counts.sum(), choice | {"points": f"{counts.sum():,.0f}"} | shares))
    rows.sort(key=lambda row: (row[1]["annotation"], row[1]["sampler"], row[0]))
    return markdown([row for _, row in rows])


def _agreement(table: pd.DataFrame) -> str:
    """A row for each split."""
    titles = ("equal across", "beside", "mIoU across", "mIoU beside")
    rows = [
        {"scenes": setting or "–", "split": split, "pairs": f"{pairs:,}"}
        | {title: f"{value:.3f}" for title, value in zip(titles, values, strict=True)}
        for setting, split, pairs, *values in table.itertuples(index=False)
    ]
    note = (
        "Neighbouring scenes of one tile were annotated apart, so their common border shows how far annotators agree.\n"
        "Equal across: the share of pixel pairs of equal class across the cuts between scenes. Beside: the same one\n"
        "pixel further, within one mask, which is what a step of one pixel costs. mIoU: over land cover, of one mask\n"
        "by the other; across the cuts, about what another annotator would score there. A tile that was annotated as\n"
        "a whole has equal figures in both columns, and raises the first."
    )
    return markdown(rows, note)


def _unfinished(runs: pd.DataFrame) -> str:
    left = runs[~runs.finished]
    return markdown([{"run": run, "epochs": str(epochs)} for run, epochs in zip(left.run, left.epochs, strict=True)])
