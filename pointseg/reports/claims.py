"""What an experiment is held against: goals set beforehand, and the claims of the technical report.

Both stand in experiments/claims.yaml, by the experiments' names: beside the report, or else in the checkout. Without
that file nothing is judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from pointseg.config import CONF
from pointseg.errors import reading
from pointseg.reports.arms import by_setting, label, markdown
from pointseg.reports.rules import RULES, Claim
from pointseg.reports.statistics import FAILS, HOLDS, UNDECIDED

FILE = "claims.yaml"  # beside the experiments' folders


@dataclass(frozen=True)
class Judged:
    """goals: the share of every pixel's mIoU that each budget is to reach. protocol: what the technical report trained
    with, by the keys of a configuration. arms: those that the claims are about, by name."""

    goals: dict[str, float] = field(default_factory=dict)
    protocol: dict[str, str] = field(default_factory=dict)
    arms: dict[str, dict[str, str]] = field(default_factory=dict)
    claims: Sequence[Claim] = ()


def load(experiment: Path) -> Judged:
    """What the experiment in this folder is held against. Raises InputError where the file is damaged."""
    name, beside = experiment.name, experiment.parent / FILE
    file = beside if beside.exists() else CONF.parent / "experiments" / FILE  # a report written elsewhere
    if not file.exists():
        return Judged()
    with reading(file, "claims and goals", "restore it, or remove it."):
        content = OmegaConf.to_container(OmegaConf.load(file))
        assert isinstance(content, dict)
        goals = {str(budget): float(share) for budget, share in content["goals"].get(name, {}).items()}
        arms = {arm: {key: str(value) for key, value in keys.items()} for arm, keys in content["arms"].items()}
        protocol = {key: str(value) for key, value in content["protocol"].items()}
        return Judged(goals, protocol, arms, content["claims"].get(name, []))


def table(judged: Judged, runs: pd.DataFrame, factors: list[str]) -> str:
    """A row a claim, a column for each setting of the factors that the claims do not speak of."""
    others = [name for name in factors if name not in ("sampler", "loss", "budget")]
    settings = {label(zip(others, key, strict=True)): members for key, members in by_setting(runs, others)}
    rows, verdicts = [], []
    for claim in judged.claims:
        row = {"claim": claim["claim"], "report": str(claim.get("report", "–"))}
        for name, members in settings.items():
            if decided := _judge(claim, judged.arms, members):
                verdicts.append(decided[1])
                row[name or "these runs"] = ": ".join(decided)
        if len(row) > 2:
            rows.append(row)
    if not rows:
        return ""
    count = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, UNDECIDED))
    rules = "The rules of the verdicts stand at the top of `pointseg/reports/rules.py`."
    return "\n\n".join([f"Verdicts: {count}. {rules}", markdown(rows), _deviations(runs, judged.protocol)]).strip()


def _judge(claim: Claim, arms: dict[str, dict[str, str]], runs: pd.DataFrame) -> tuple[str, str] | None:
    """Our figure and the verdict; None where no run is of the claim's arms. Arms are compared at shared seeds."""
    a, b = (_select(runs, arms[claim.get(key, claim["arm"])]) for key in ("arm", "against"))
    shared = a.index.intersection(b.index)
    (rule,) = RULES.keys() & claim.keys()
    return RULES[rule](a.loc[shared], b.loc[shared], claim) if len(shared) else None


def _select(runs: pd.DataFrame, arm: dict[str, str]) -> pd.DataFrame:
    chosen = runs[(runs[list(arm)] == pd.Series(arm)).all(axis=1)]
    return chosen.set_index("seed").sort_index()


def _deviations(runs: pd.DataFrame, protocol: dict[str, str]) -> str:
    """Where the runs were not made as the report's were."""
    values = {key: runs[key].unique() for key in protocol}
    rows = [
        {"": key, "report": protocol[key], "these runs": ", ".join(ours)}
        for key, ours in values.items()
        if set(ours) != {protocol[key]}
    ]
    return f"What differs from the report's protocol:\n\n{markdown(rows)}" if rows else ""
