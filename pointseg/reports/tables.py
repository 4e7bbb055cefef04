"""The tables of an experiment's README, from its CSV files alone."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pointseg.config import GROUPS
from pointseg.reports import claims, curves, records, scene_confusion
from pointseg.reports.claims import Claim
from pointseg.reports.scene_confusion import Scenes
from pointseg.reports.statistics import Interval, confidence, paired
from pointseg.reports.sweeps import FACTS, FOLD

SCORES = {
    "best mIoU, all classes": "best_miou",
    "best mIoU, land cover": "best_miou_land_cover",
    "final mIoU, all classes": "final_miou",
    "final accuracy": "final_accuracy",
}
MEASURES = SCORES | {"epoch of the best": "best_epoch", "minutes": "minutes"}
MANY = 4  # factors of a sweep of which few change at a time
TESTED = "test_miou_land_cover"  # of runs that have been evaluated on the test split
TEST = {"mIoU, all classes": "test_miou", "mIoU, land cover": TESTED, "accuracy": "test_accuracy"}


class Results(NamedTuple):
    """What an experiment's folder holds: results.csv, its factors, test scenes by run, and noise.csv (or no rows)."""

    runs: pd.DataFrame
    factors: list[str]
    scenes: dict[str, Scenes]
    noise: pd.DataFrame

    @property
    def finished(self) -> pd.DataFrame:
        return self.runs[self.runs.finished]


def load(file: Path) -> Results:
    """results.csv, its factors, which are the columns between run and seed, and the files beside it.

    Factors are text, even where they look like numbers.
    """
    header = list(pd.read_csv(file, nrows=0).columns)
    names = header[1 : header.index("seed")]
    text = {name: str for name in ("run", *names, *FACTS) if name in header}
    runs = pd.read_csv(file, dtype=text)
    along = file.with_name("noise.csv")
    noise = pd.read_csv(along) if along.exists() else pd.DataFrame()
    return Results(runs, names, scene_confusion.load(file.with_name(records.FOLDER)), noise)


def render(name: str, results: Results) -> str:
    """All tables of the experiment `name`, as Markdown."""
    factors = results.factors
    finished = results.finished.assign(minutes=lambda runs: runs.seconds / 60)
    goals = claims.GOALS.get(name, {})
    sections = {
        "Scores": _arms(finished, factors, MEASURES),
        "Test scores": _arms(finished, factors, TEST) if TESTED in finished else "",
        "mIoU by budget": _by_budget(finished, factors),
        "Arms compared": _comparisons(finished, factors, results.scenes),
        "Share of every pixel's mIoU": _shares(finished, factors, goals),
        "Over folds": _over_folds(finished, factors, goals),
        "Noise of the masks": _noise(results.noise),
        "Random points needed for the same mIoU": _savings(finished, factors),
        "The report's claims": _claims(claims.CLAIMS.get(name, []), finished, factors),
        "Not finished": _table(
            ["run", "epochs"], ([run, str(n)] for run, n in zip(*_unfinished(results.runs), strict=True))
        ),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def _unfinished(results: pd.DataFrame) -> tuple[list[str], list[int]]:
    rows = results[~results.finished]
    return list(rows.run), list(rows.epochs)


def label(values: Iterable[tuple[str, str]]) -> str:
    """In words: options by their name, keys with theirs."""
    return ", ".join(value if name in GROUPS else f"{name} {value}" for name, value in values)


def common(results: Results) -> str:
    """Of the facts told of a run, those that all runs share, in the form of a command's arguments."""
    shared = (name for name in FACTS if name not in results.factors and results.runs[name].nunique() == 1)
    return " ".join(f"{name}={results.runs[name].iloc[0]}" for name in shared)


def _usual(results: pd.DataFrame, factors: list[str]) -> dict[str, str]:
    """The commonest value of each factor, where so many differ that arms are named by what they have otherwise."""
    return {name: str(results[name].mode()[0]) for name in factors} if len(factors) > MANY else {}


def arms(results: pd.DataFrame, factors: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Each arm in words with its runs by seed, the highest mean of the best mIoU first."""
    usual = _usual(results, factors)
    found = []
    for key, runs in results.groupby(factors) if factors else [((), results)]:
        named = label((name, value) for name, value in zip(factors, key, strict=True) if value != usual.get(name))
        found.append((named or ("as most" if usual else "all runs"), runs.set_index("seed").sort_index()))
    return sorted(found, key=lambda arm: -float(arm[1].best_miou.mean()))


def splits(results: pd.DataFrame) -> dict[str, str]:
    """Those that runs have been scored on, with the column of their mIoU over land cover."""
    return {"validation": "best_miou_land_cover"} | ({"test": TESTED} if TESTED in results else {})


def _arms(results: pd.DataFrame, factors: list[str], measures: Mapping[str, str]) -> str:
    rows = [
        [name, str(len(runs)), *(claims.show(confidence(runs[column].tolist())) for column in measures.values())]
        for name, runs in ((name, runs.dropna(subset=list(measures.values()))) for name, runs in arms(results, factors))
        if len(runs)
    ]
    usual = _usual(results, factors)
    rule = f"Arms are named by what they have otherwise than most runs, which have {label(usual.items())}."
    return _explained(_table(["arm", "seeds", *measures], rows), rule if usual else "")


def _by_budget(results: pd.DataFrame, factors: list[str]) -> str:
    """A row for each split and arm, a column for each budget."""
    if "budget" not in factors:
        return ""
    rows = []
    along = curves.points(results).index
    for split, column in splits(results).items():
        for name, runs in arms(results, [name for name in factors if name != "budget"]):
            scores = curves.by_budget(runs.reset_index(), column).reindex(along)
            found = (row.dropna().tolist() for _, row in scores.iterrows())
            rows.append([name, split, *(claims.show(confidence(values)) if values else "–" for values in found)])
    return _explained(
        _table(["arm", "scores", *along], rows), "mIoU over land cover, by points an image or their share."
    )


def _comparisons(results: pd.DataFrame, factors: list[str], of_scenes: Mapping[str, Scenes]) -> str:
    """Arms that differ in one factor only, which is not the budget."""
    measures = ["best_miou", "final_miou", *(["best_miou_land_cover", TESTED] if TESTED in results else [])]
    if results.epochs.max() == 1:
        measures.remove("final_miou")  # is the best
    rows = []
    for name, a, other, b in _pairs(results, factors):
        for what in measures:
            shared = a[what].dropna().index.intersection(b[what].dropna().index)
            if len(shared):
                x, y = a.loc[shared], b.loc[shared]
                n, difference, p, effect = paired(x[what].tolist(), y[what].tolist())
                over_scenes = scene_confusion.p_value(
                    x.run.tolist(), y.run.tolist(), of_scenes if what == TESTED else {}
                )
                higher = {claims.HOLDS: name, claims.FAILS: other}.get(claims.sign(difference), claims.UNDECIDED)
                numbers = [str(n), claims.show(difference), f"{p:.3f}", f"{over_scenes:.4f}", f"{effect:.1f}", higher]
                rows.append([f"{name} − {other}", what, *numbers])
    columns = ["arms", "measure", "seeds", "difference", "p", "p over seeds and scenes", "effect size", "higher"]
    rule = (
        "p over seeds and scenes: of the difference in test mIoU over land cover, by the confusion matrices of each\n"
        "seed and scene, which change places between the arms at random (approximate randomisation, 10,000 times)."
    )
    return _explained(_table(columns, rows), rule if of_scenes else "")


def _pairs(results: pd.DataFrame, factors: list[str]) -> Iterator[tuple[str, pd.DataFrame, str, pd.DataFrame]]:
    """Arms that differ in one factor only, which is not the budget, each in words with its runs by seed."""
    for (name, a), (other, b) in combinations(arms(results, factors), 2):
        differing = [name for name in factors if a[name].iloc[0] != b[name].iloc[0]]
        if len(differing) == 1 and differing != ["budget"]:
            yield name, a, other, b


def _ratios(results: pd.DataFrame, factors: list[str]) -> Iterator[tuple[str, str, str, "pd.Series[float]"]]:
    """Each arm, the budget apart, with each budget and split: the shares by seed."""
    for name, runs in arms(results, [name for name in factors if name != "budget"]) if "budget" in factors else []:
        for split, column in splits(results).items():
            for budget, ratios in curves.shares(runs.reset_index(), column).items():
                yield name, budget, split, ratios


def _held_against(goal: float | None, share: Interval) -> list[str]:
    return ["–", "–"] if goal is None else [f"{goal:g}", claims.sign(Interval(share.mean - goal, share.half))]


def _shares(results: pd.DataFrame, factors: list[str], goals: Mapping[str, float]) -> str:
    """A row for each arm, split and budget. goals: by budget."""
    rows = []
    for name, budget, split, ratios in _ratios(results, factors):
        share = confidence(ratios.tolist())
        told = _held_against(goals.get(budget), share)
        rows.append([name, budget, split, str(len(ratios)), claims.show(share), *told])
    columns = ["arm", "budget", "scores", "seeds", "share", "goal", "verdict"]
    rule = (
        "Share: of the mIoU over land cover of the same arm and seed with every labelled pixel (budget 1.0); the mean\n"
        "of these ratios."
    )
    if goals:
        rule += (
            " A goal holds where the 95 % interval of the share lies above it, and does not hold where it lies\n"
            "below. Goals were set beforehand."
        )
    return _explained(_table(columns, rows), rule)


def _over_folds(results: pd.DataFrame, factors: list[str], goals: Mapping[str, float]) -> str:
    """Shares and differences once more, a row each, with a column for each fold; empty where all runs are of one."""
    if FOLD not in results or results[FOLD].nunique() < 2:
        return ""
    fold_of = results.drop_duplicates("seed").set_index("seed")[FOLD]
    folds = sorted(set(fold_of))

    def row(what: str, split: str, values: "pd.Series[float]", goal: float | None) -> list[str]:
        means = values.groupby(fold_of.loc[values.index].to_numpy()).mean().reindex(folds)
        over = confidence(means.dropna().tolist())
        return [what, split, *(f"{mean:.3f}" for mean in means), claims.show(over), *_held_against(goal, over)]

    rows = [
        row(f"share, {name}, budget {budget}", split, ratios, goals.get(budget))
        for name, budget, split, ratios in _ratios(results, factors)
        if budget != curves.WHOLE
    ]
    for name, a, other, b in _pairs(results, factors):
        for split, column in splits(results).items():
            if len(differences := (a[column] - b[column]).dropna()):
                rows.append(row(f"{name} − {other}", split, differences, 0.0))
    rule = (
        "By fold: the mean over its seeds, of shares and of differences in mIoU over land cover. The interval takes\n"
        "folds, not runs, for independent: it is wider than those above, and says more of other ground."
    )
    columns = [*(f"fold {fold}" for fold in folds), "mean over folds", "goal", "verdict"]
    return _explained(_table(["", "scores", *columns], rows), rule)


def _noise(found: pd.DataFrame) -> str:
    """A row for each split."""
    rows = [
        [str(setting), split, f"{pairs:,}", *(f"{value:.3f}" for value in measures)]
        for setting, split, pairs, *measures in found.itertuples(index=False)
    ]
    rule = (
        "Images of one tile that were annotated apart tell how far annotators agree. Equal: pairs of neighbouring\n"
        "pixels of one class, across the cuts between images, and beside the cuts, within one mask, which is what a\n"
        "step of one pixel costs. mIoU: over land cover, of the one mask by the other; across, about what another\n"
        "annotator would score there. A tile annotated as a whole has the same figure in both columns, and raises\n"
        "the first."
    )
    return _explained(
        _table(["scenes", "split", "pairs", "equal across", "beside", "mIoU across", "mIoU beside"], rows), rule
    )


def _savings(results: pd.DataFrame, factors: list[str]) -> str:
    """A row for each sampler and budget; the other factors being equal."""
    if not {"sampler", "budget"} <= set(factors):
        return ""
    others = [name for name in factors if name not in ("sampler", "budget")]
    rows, statements = [], []
    for _, runs in list(results.groupby(others)) if others else [((), results)]:
        random = runs[runs.sampler == "random"]
        chosen = runs[runs.sampler != "random"]
        for name, members in arms(chosen, ["sampler", *others]) if len(random) else []:
            found, mean = curves.savings(members.reset_index(), random[random.seed.isin(members.index)])
            for points, miou, needed, difference in found:
                saved = [claims.show(miou), f"{needed:,.0f}", f"{needed / points:.2f}"]
                half = ["–", "–"] if difference is None else [claims.show(difference), claims.sign(difference)]
                rows.append([name, f"{points:,.0f}", *saved, *half])
            if mean is not None:
                statements.append(f"- {name}, the mean over its budgets: {claims.show(mean)}, {claims.sign(mean)}.")
    columns = ["points", "mIoU", "random points needed", "times as many", "− twice as many random", "half suffices"]
    rule = (
        "mIoU: the best over all classes. Random points needed: where their mean, of the same seeds, reaches\n"
        "that of the others, interpolated over the logarithm of their number (inf: not within the numbers tried; the\n"
        "smallest number tried stands for it and fewer). Where scores hardly rise with the points, a difference\n"
        "within the noise is worth many: look at the intervals first."
    )
    if statements:
        rule += (
            "\nHalf as many points suffice where their mIoU less that of twice as many random ones, seed by seed,\n"
            "lies above zero:\n\n"
        ) + "\n".join(statements)
    return _explained(_table(["arm", *columns], rows), rule)


def _claims(about: list[Claim], results: pd.DataFrame, factors: list[str]) -> str:
    """A row a claim, a column for each setting of the factors that the claims do not speak of."""
    others = [name for name in factors if name not in ("sampler", "loss", "budget")]
    settings = list(results.groupby(others)) if others else [((), results)]
    names = [label(zip(others, key, strict=True)) for key, _ in settings]
    rows = []
    for claim in about:
        judged = [claims.judge(claim, runs) for _, runs in settings]
        if any(judged):
            rows.append([claim.text, claim.reported, *(cell for verdict in judged for cell in verdict or ("–", "–"))])
    if not rows:
        return ""
    columns = [cell for name in names for cell in ((name, "verdict") if others else ("ours", "verdict"))]
    verdicts = [cell for row in rows for cell in row[3::2]]
    count = ", ".join(f"{verdicts.count(x)} {x}" for x in (claims.HOLDS, claims.FAILS, claims.UNDECIDED))
    return "\n\n".join(
        [f"Verdicts: {count}.", _table(["claim", "report", *columns], rows), _deviations(results, claims.PROTOCOL)]
    )


def _deviations(results: pd.DataFrame, protocol: dict[str, str]) -> str:
    """Where the runs were not made as the report's were."""
    values = {key: results[key].unique() for key in protocol}
    rows = [[key, protocol[key], ", ".join(found)] for key, found in values.items() if set(found) != {protocol[key]}]
    return f"What differs from the report's protocol:\n\n{_table(['', 'report', 'these runs'], rows)}" if rows else ""


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    """As Markdown, without the columns that say nothing in any row; empty where none are left."""
    columns = [column for column in zip(header, *rows, strict=True) if {*column[1:]} - {"nan", "–"}]
    cells = (["–" if cell == "nan" else cell for cell in line] for line in zip(*columns, strict=True))
    lines = [f"| {' | '.join(line)} |" for line in cells]
    return "\n".join([lines[0], f"|{'---|' * len(columns)}", *lines[1:]]) if lines else ""


def _explained(table: str, rule: str) -> str:
    return f"{table}\n\n{rule}".strip() if table else ""
