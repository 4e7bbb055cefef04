"""The tables of an experiment's README, from its results.csv alone."""

from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import pandas as pd

from pointseg.config import GROUPS
from pointseg.reports import claims, curves
from pointseg.reports.claims import Claim
from pointseg.reports.statistics import confidence, paired
from pointseg.reports.sweeps import FACTS

SCORES = {
    "best mIoU, all classes": "best_miou",
    "best mIoU, land cover": "best_miou_land_cover",
    "final mIoU, all classes": "final_miou",
    "final accuracy": "final_accuracy",
}
MEASURES = SCORES | {"epoch of the best": "best_epoch", "minutes": "minutes"}


def load(file: Path) -> tuple[pd.DataFrame, list[str]]:
    """results.csv and its factors, the columns between run and seed: text, even where they look like numbers."""
    header = list(pd.read_csv(file, nrows=0).columns)
    names = header[1 : header.index("seed")]
    text = {name: str for name in ("run", *names, *FACTS) if name in header}
    return pd.read_csv(file, dtype=text), names


def render(name: str, results: pd.DataFrame, factors: list[str]) -> str:
    """All tables of the experiment `name`, as Markdown."""
    finished = results[results.finished].assign(minutes=lambda runs: runs.seconds / 60) if len(results) else results
    sections = {
        "Scores": _arms(finished, factors),
        "Arms compared": _comparisons(finished, factors),
        "Random points needed for the same mIoU": _savings(finished, factors),
        "The report's claims": _claims(claims.CLAIMS.get(name, []), finished, factors),
        "Not finished": _table(
            ["run", "epochs"], ([run, str(n)] for run, n in zip(*_unfinished(results), strict=True))
        ),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items() if text)


def _unfinished(results: pd.DataFrame) -> tuple[list[str], list[int]]:
    rows = results[~results.finished]
    return list(rows.run), list(rows.epochs)


def label(values: Iterable[tuple[str, str]]) -> str:
    """An arm in words: options by their name, keys with theirs."""
    return ", ".join(value if name in GROUPS else f"{name} {value}" for name, value in values) or "all runs"


def arms(results: pd.DataFrame, factors: list[str]) -> list[tuple[str, pd.DataFrame]]:
    """Each arm in words with its runs by seed, the highest mean of the best mIoU first."""
    groups = results.groupby(factors) if factors else [((), results)]
    found = [(label(zip(factors, key, strict=True)), runs.set_index("seed").sort_index()) for key, runs in groups]
    return sorted(found, key=lambda arm: -float(arm[1].best_miou.mean()))


def _arms(results: pd.DataFrame, factors: list[str]) -> str:
    rows = [
        [name, str(len(runs)), *(claims.show(confidence(runs[column].tolist())) for column in MEASURES.values())]
        for name, runs in arms(results, factors)
    ]
    return _table(["arm", "seeds", *MEASURES], rows)


def _comparisons(results: pd.DataFrame, factors: list[str]) -> str:
    """Arms that differ in one factor only."""
    rows = []
    for (name, a), (other, b) in combinations(arms(results, factors), 2):
        shared = a.index.intersection(b.index)
        differing = (a[factors].iloc[0] != b[factors].iloc[0]).sum() if factors else 0
        if differing == 1 and len(shared):
            for what in ("best_miou", "final_miou"):
                n, difference, p, effect = paired(a.loc[shared, what].tolist(), b.loc[shared, what].tolist())
                higher = {claims.HOLDS: name, claims.FAILS: other}.get(claims.sign(difference), claims.UNDECIDED)
                numbers = [str(n), claims.show(difference), f"{p:.3f}", f"{effect:.1f}", higher]
                rows.append([f"{name} − {other}", what, *numbers])
    return _table(["arms", "measure", "seeds", "difference", "p", "effect size", "higher"], rows)


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
            found, mean = curves.savings(members.reset_index(), random)
            for points, miou, needed, difference in found:
                saved = [claims.show(miou), f"{needed:,.0f}", f"{needed / points:.2f}"]
                half = ["–", "–"] if difference is None else [claims.show(difference), claims.sign(difference)]
                rows.append([name, f"{points:,.0f}", *saved, *half])
            if mean is not None:
                statements.append(f"- {name}, the mean over its budgets: {claims.show(mean)}, {claims.sign(mean)}.")
    if not rows:
        return ""
    columns = ["points", "mIoU", "random points needed", "times as many", "− twice as many random", "half suffices"]
    goal = (
        "Random points needed: where their mean mIoU reaches that of the others, interpolated over the logarithm of\n"
        "their number (inf: not within the numbers tried; the smallest number tried stands for it and fewer). Half as\n"
        "many points suffice where their mIoU less that of twice as many random ones, seed by seed, lies above zero:"
    )
    return "\n\n".join([_table(["arm", *columns], rows), goal, "\n".join(statements)]).strip()


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
    body = [f"| {' | '.join('–' if cell == 'nan' else cell for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", f"|{'---|' * len(header)}", *body]) if body else ""
