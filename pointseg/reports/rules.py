"""The rules that decide claims about runs. Each gives our figure as text and a verdict.

Verdicts: "holds", "does not hold", or "undecided" where the runs are too few or too scattered to say.

higher            a measure of one arm lies above another's: the sign of the 95 % interval of the paired difference
relative          the same, of the difference in per cent
similar, within   the same interval lies within a margin (holds) or wholly beyond it (does not hold)
figure            a figure of one run elsewhere: it lies outside our 95 % prediction interval for one run (does not
                  hold), or within CLOSE of all of our mean's 95 % interval (holds)
share             the same, of the share that a class has of the training points
always            a statement about one run: true of every seed (holds) or of none (does not hold)
highest, lowest   the same, that a class's column (weight/Road) is highest or lowest among its kind
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pandas as pd

from pointseg.reports.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Interval,
    above_zero,
    confidence,
    paired,
    prediction,
)

CLOSE = 0.05  # of a score or a share
STATEMENT = re.compile(r"(\w+) (<=|>=|<|>) ([\d.]*) ?(\w*)")
SIGNS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}

Runs: TypeAlias = pd.DataFrame
Claim = Mapping[str, Any]
Rule = Callable[[Runs, Runs, Claim], tuple[str, str]]
"""The runs of the claim's arm, those of the arm it is held against, both by seed, and the claim → figure, verdict."""


def higher(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    interval = _difference(a[claim["higher"]], b[claim["higher"]])
    return interval.show(), above_zero(interval)


def relative(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    gain = 100 * (a[claim["relative"]] / b[claim["relative"]] - 1)
    interval = _difference(gain, 0 * gain)
    return interval.show(" %"), above_zero(interval)


def similar(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    interval, margin = _difference(a[claim["similar"]], b[claim["similar"]]), claim["within"]
    within = -margin <= interval.low and interval.high <= margin
    beyond = interval.low > margin or interval.high < -margin
    return interval.show(), HOLDS if within else FAILS if beyond else UNDECIDED


def figure(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    return _reached(a[claim["figure"]], claim["report"])


def share(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    points = a.filter(regex="^points/")
    return _reached(points[f"points/{claim['share']}"] / points.sum(axis=1), claim["report"])


def always(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    """always: as in `best_epoch <= 2` or `final_miou < 0.5 best_miou`."""
    column, sign, factor, other = STATEMENT.fullmatch(claim["always"]).groups()  # type: ignore[union-attr]
    limit = float(factor or 1) * (a[other] if other else 1)
    return _always(SIGNS[sign](a[column], limit))


def highest(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    return _always(a[claim["highest"]] == _kind(a, claim["highest"]).max(axis=1))


def lowest(a: Runs, b: Runs, claim: Claim) -> tuple[str, str]:
    return _always(a[claim["lowest"]] == _kind(a, claim["lowest"]).min(axis=1))


def _kind(runs: Runs, column: str) -> Runs:
    return runs.filter(regex=f"^{column.partition('/')[0]}/")


def _difference(a: "pd.Series[float]", b: "pd.Series[float]") -> Interval:
    return paired(a.tolist(), b.tolist()).difference


def _reached(values: "pd.Series[float]", reported: float) -> tuple[str, str]:
    one, mean = prediction(values.tolist()), confidence(values.tolist())
    outside = reported < one.low or reported > one.high
    close = reported - CLOSE <= mean.low and mean.high <= reported + CLOSE
    return mean.show(), FAILS if outside else HOLDS if close else UNDECIDED


def _always(true: "pd.Series[bool]") -> tuple[str, str]:
    verdict = UNDECIDED if len(true) < 2 else HOLDS if true.all() else UNDECIDED if true.any() else FAILS
    return f"{int(true.sum())} of {len(true)} seeds", verdict


RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (higher, relative, similar, figure, share, always, highest, lowest)
}
