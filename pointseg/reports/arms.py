"""The arms of an experiment, named in words, and tables of them."""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from pointseg.reports.results import TESTED
from pointseg.reports.sweeps import OPTIONS

Arms = list[tuple[str, pd.DataFrame]]
"""An arm's name, and its runs by seed."""

MANY = 4  # factors, of which few change at a time
ALL, COMMON = "all runs", "most common settings"


def label(values: Iterable[tuple[str, str]]) -> str:
    """In words: options by their name, keys with theirs."""
    return ", ".join(value if name in OPTIONS else f"{name} {value}" for name, value in values)


def common(runs: pd.DataFrame, factors: list[str]) -> dict[str, str]:
    """The most common value of each factor, which names of arms leave out where there are many factors."""
    return {name: str(runs[name].mode()[0]) for name in factors} if len(factors) > MANY else {}


def rule(runs: pd.DataFrame, factors: list[str]) -> str:
    """What names of arms leave out, in a sentence."""
    settings = label(common(runs, factors).items())
    return f"Arm names list only the settings that differ from the most common ones: {settings}." if settings else ""


def by_setting(runs: pd.DataFrame, factors: list[str]) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """The runs of each combination of factors that occurs."""
    return [(tuple(key), members) for key, members in runs.groupby(factors)] if factors else [((), runs)]


def arms(runs: pd.DataFrame, factors: list[str]) -> Arms:
    """The highest mean of the best mIoU first."""
    usual = common(runs, factors)
    named = []
    for key, members in by_setting(runs, factors):
        name = label((factor, value) for factor, value in zip(factors, key, strict=True) if value != usual.get(factor))
        named.append((name or (COMMON if usual else ALL), members.set_index("seed").sort_index()))
    return sorted(named, key=lambda arm: -float(arm[1].best_miou.mean()))


def without_budget(factors: list[str]) -> list[str]:
    return [name for name in factors if name != "budget"]


def pairs(runs: pd.DataFrame, factors: list[str]) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Arms that differ in one factor only, which is not the budget: "first − second", and the runs of both by seed."""
    for (name, a), (other, b) in combinations(arms(runs, factors), 2):
        different = [factor for factor in factors if a[factor].iloc[0] != b[factor].iloc[0]]
        if len(different) == 1 and different != ["budget"]:
            yield f"{name} − {other}", a, b


def splits(runs: pd.DataFrame) -> dict[str, str]:
    """Those that runs have been scored on, with the column of their mIoU over land cover."""
    return {"validation": "best_miou_land_cover"} | ({"test": TESTED} if TESTED in runs else {})


def markdown(rows: list[dict[str, str]], *notes: str) -> str:
    """A Markdown table, without columns of dashes, and what explains it; empty where there are no rows."""
    table = pd.DataFrame(rows).fillna("–").replace("nan", np.nan).replace("–", np.nan).dropna(axis=1, how="all")
    if table.empty:
        return ""
    cells = table.fillna("–").to_markdown(index=False, disable_numparse=True)
    return "\n\n".join([cells, *filter(None, notes)])
