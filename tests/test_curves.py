"""What a choice of points saves, on curves whose answer is known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointseg.reports import budgets, report
from pointseg.reports.curves import by_points, needed, savings, shares
from pointseg.reports.statistics import confidence
from tests.sweep import row, sections, write_run


def runs(sampler: str, slope: float, shift: float, budgets: list[int], seeds: int = 3) -> pd.DataFrame:
    """mIoU that is linear in the logarithm of the points, 45 scenes of `budget` each; the seeds lie 0.01 apart."""
    return pd.DataFrame(
        [
            {
                **{"annotation": "drawn", "sampler": sampler, "budget": str(budget), "seed": seed},
                **{"points/a": 30 * budget, "points/b": 15 * budget},
                "best_miou": shift + slope * np.log2(45 * budget) + 0.01 * seed,
            }
            for budget in budgets
            for seed in range(seeds)
        ]
    )


def test_a_row_a_budget_in_the_order_of_their_points() -> None:
    scores = by_points(runs("random", 0.05, 0, [80, 5, 10]), "best_miou")
    assert scores.index.tolist() == [225, 450, 3600]
    assert scores.columns.tolist() == [0, 1, 2]
    assert scores.loc[450].tolist() == pytest.approx([0.05 * np.log2(450) + 0.01 * seed for seed in range(3)])


def test_the_points_needed_for_a_score() -> None:
    line = pd.Series([0.1, 0.3, 0.5], [100, 400, 1600])  # 0.1 for each doubling
    assert needed(line, 0.2) == pytest.approx(200)
    assert needed(line, 0.3) == pytest.approx(400)
    assert needed(line, 0.45) == pytest.approx(1600 / np.sqrt(2))
    assert needed(line, 0.05) == 100
    assert needed(line, 0.51) == np.inf
    dented = pd.Series([0.1, 0.3, 0.2, 0.4], [100, 200, 400, 800])
    assert needed(dented, 0.25) == pytest.approx(100 * 2**0.75)  # where it is first reached


@pytest.mark.parametrize(("factor", "verdict"), [(4, "holds"), (2, "undecided"), (1, "does not hold")])
def test_points_worth_a_multiple_of_random_ones(factor: int, verdict: str) -> None:
    random = runs("random", 0.05, 0, [5, 10, 20, 40, 80, 160, 320])
    better = runs("margin", 0.05, 0.05 * np.log2(factor), [10, 20, 40])
    better["best_miou"] += 1e-4 * np.random.default_rng(0).normal(size=len(better))
    saved, mean = savings(better, random)
    assert [saving.points for saving in saved] == [450, 900, 1800]
    for saving in saved:
        assert saving.needed == pytest.approx(factor * saving.points, rel=0.01)
        assert saving.difference is not None
        assert saving.difference.mean == pytest.approx(0.05 * np.log2(factor / 2), abs=1e-3)
    assert mean is not None
    text = budgets.savings(pd.concat([random, better]), ["sampler", "budget"])
    assert text.splitlines()[-1].endswith(f"{mean.show()}, {verdict}.")


def test_without_twice_as_many_random_points_half_is_not_judged() -> None:
    saved, mean = savings(runs("margin", 0.05, 0, [10]), runs("random", 0.05, 0, [5, 10]))
    assert saved[0].difference is None
    assert mean is None


def test_the_share_of_every_pixels_score() -> None:
    table = pd.DataFrame(
        {
            "budget": ["1.0", "1.0", "20", "20", "20", "5", "5"],
            "seed": [0, 1, 0, 1, 2, 0, 1],
            "points/a": [9000, 9000, 900, 900, 900, 225, 225],
            "miou": [0.5, 0.4, 0.4, 0.3, 0.9, 0.25, 0.1],
        }
    )
    by_budget = shares(table, "miou")
    assert {budget: dict(ratios) for budget, ratios in by_budget.items()} == {
        "5": pytest.approx({0: 0.5, 1: 0.25}),
        "20": pytest.approx({0: 0.8, 1: 0.75}),  # seed 2 has no whole
        "1.0": {0: 1, 1: 1},
    }
    assert list(by_budget) == ["5", "20", "1.0"]
    intervals = [confidence(ratios.tolist()) for ratios in by_budget.values()]
    assert [share.mean for share in intervals] == pytest.approx([0.375, 0.775, 1])
    assert intervals[0].half == pytest.approx(0.125 * np.tan(0.475 * np.pi))
    assert shares(table[table.budget != "1.0"], "miou") == {}


def test_only_random_points_of_the_same_seeds_are_compared() -> None:
    chosen, random = runs("margin", 0.05, 0, [10, 20]), runs("random", 0.05, 0, [5, 10, 20])
    luckier = random.assign(seed=random.seed + 100, best_miou=random.best_miou + 1)
    alone, beside = (
        budgets.savings(pd.concat([chosen, *others]), ["sampler", "budget"]) for others in ([random], [random, luckier])
    )
    assert alone
    assert beside == alone


def test_the_report_of_budgets(tmp_path: Path) -> None:
    for seed in range(2):
        for budget, score in ((10, 0.3), (20, 0.4)):
            write_run(tmp_path / f"sweep/random{budget}_{seed}", "random", seed, [score + 0.01 * seed], budget=budget)
        write_run(tmp_path / f"sweep/better_{seed}", "stratified", seed, [0.45 + 0.01 * seed], budget=10)
    for file in (tmp_path / "sweep").glob("*/scores.json"):
        points = 2000 if file.parent.name.startswith("random20") else 1000
        file.write_text(file.read_text().replace('"Water": 600', f'"Water": {points - 400}'))
    report.write(tmp_path / "sweep", tmp_path / "out", examples=0)
    saved = row(sections(tmp_path / "out")["Random points needed for the same mIoU"], arm="stratified")
    assert list(saved.values())[1:] == ["1,000", "0.455 ± 0.064", "inf", "inf", "0.050 ± 0.000", "holds"]
