"""Statistics against closed forms, scipy and scikit-learn, and the rules that decide claims."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import jaccard_score

from pointseg.reports.rules import RULES
from pointseg.reports.statistics import Interval, above_zero, confidence, paired, prediction, randomisation
from tests.sweep import LAND, matrices

A, B = [0.41, 0.38, 0.44, 0.40], [0.36, 0.37, 0.39, 0.38]


def test_the_interval_is_students() -> None:
    low, high = stats.t.interval(0.95, 3, np.mean(A), stats.sem(A))
    assert confidence(A)[:] == pytest.approx((np.mean(A), (high - low) / 2))


def test_an_interval_of_two_by_its_closed_form() -> None:
    """t with one degree of freedom is Cauchy's: tan(0.475 π)."""
    assert confidence([0.0, 2.0]).half == pytest.approx(np.tan(0.475 * np.pi))
    assert prediction([0.0, 2.0]).half == pytest.approx(np.tan(0.475 * np.pi) * np.sqrt(3))
    assert np.isnan(confidence([1.0]).half)


def test_the_prediction_interval_holds_its_share_of_further_values() -> None:
    samples = np.random.default_rng(0).normal(size=(4000, 4))
    inside = [(x := prediction(row[:3].tolist())).low <= row[3] <= x.high for row in samples]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_paired_comparison_is_that_of_the_differences() -> None:
    result = paired(A, B)
    differences = np.subtract(A, B)
    assert result.difference == pytest.approx(confidence(differences.tolist()))
    assert result.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert result.effect == pytest.approx(differences.mean() / differences.std(ddof=1))


@pytest.mark.parametrize(("a", "b"), [([1.0], [0.0]), ([0.5, 0.75], [0.25, 0.5])])
def test_differences_without_spread_have_no_test(a: list[float], b: list[float]) -> None:
    result = paired(a, b)
    assert result.difference.mean == a[0] - b[0]
    assert np.isnan([result.p, result.effect]).all()


def test_arms_that_are_alike_and_arms_that_are_not() -> None:
    alike, better = [matrices(50, 60, 70)] * 3, [matrices(60, 70, 80)] * 3
    assert randomisation(alike, alike, LAND) == 1
    # Better in each of 9 pairs: all swapped or none are as far apart, 2 of 2⁹.
    assert randomisation(better, alike, LAND) == pytest.approx(2 / 2**9)
    assert randomisation(better, alike, LAND) == randomisation(alike, better, LAND)


@pytest.mark.parametrize("draw", [1, 2, 5])
def test_the_randomisation_is_that_of_all_swaps(draw: int) -> None:
    """Every way in which the pairs may have changed places, by sklearn's Jaccard index."""
    a, b = np.random.default_rng(draw).integers(0, 50, (2, 2, 3, 3, 3))  # arm, seed, scene

    def score(seeds: np.ndarray) -> float:
        labels = np.indices((3, 3)).reshape(2, 9)
        scores = [jaccard_score(*labels, average=None, sample_weight=seed.sum(0).ravel())[:2].mean() for seed in seeds]
        return float(np.mean(scores))

    swaps = np.array(list(product([False, True], repeat=6))).reshape(-1, 2, 3, 1, 1)
    differences = [abs(score(np.where(swap, b, a)) - score(np.where(swap, a, b))) for swap in swaps]
    exact = np.mean(np.array(differences) >= differences[0] - 1e-12)
    assert randomisation(list(a), list(b), LAND) == pytest.approx(exact)


def test_many_scenes_are_swapped_at_random() -> None:
    """Of 30 pairs, more than all swaps can be tried of; arms that are equally often the better one."""
    a, b = matrices(*[60, 50] * 15), matrices(*[50, 60] * 15)
    assert randomisation([a], [b], LAND) == 1
    assert randomisation([matrices(*[60] * 30)], [matrices(*[50] * 30)], LAND) == pytest.approx(2 / 10_000)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(0.03, 0.02), "holds"),
        (Interval(-0.03, 0.02), "does not hold"),
        (Interval(0.01, 0.02), "undecided"),
        (Interval(0.01, np.nan), "undecided"),
    ],
)
def test_a_difference_is_decided_by_the_sign_of_its_interval(interval: Interval, verdict: str) -> None:
    assert above_zero(interval) == verdict


@pytest.mark.parametrize(
    ("claim", "a", "b", "shown", "verdict"),
    [
        ({"relative": "x"}, [1.1, 1.1, 1.1001], [1.0, 1.0, 1.0], "10.0 ± 0.0 %", "holds"),
        ({"higher": "x"}, [0.1, 0.1, 0.1001], [0.2, 0.2, 0.2], "-0.100 ± 0.000", "does not hold"),
        ({"higher": "x"}, [0.9], [0.2], "0.700", "undecided"),
        ({"similar": "x", "within": 0.02}, [0.30, 0.301, 0.30], [0.30, 0.30, 0.301], "0.000 ± 0.002", "holds"),
        ({"similar": "x", "within": 0.02}, [0.40, 0.401, 0.40], [0.30, 0.30, 0.301], "0.100 ± 0.002", "does not hold"),
        ({"similar": "x", "within": 0.02}, [0.40, 0.20, 0.30], [0.30, 0.30, 0.30], "0.000 ± 0.248", "undecided"),
        ({"figure": "x", "report": 0.38}, [0.37, 0.39, 0.38], None, "0.380 ± 0.025", "holds"),
        ({"figure": "x", "report": 0.10}, [0.37, 0.39, 0.38], None, "0.380 ± 0.025", "does not hold"),
        ({"figure": "x", "report": 0.10}, [0.37], None, "0.370", "undecided"),
        ({"figure": "x", "report": 0.80}, [0.20, 0.70, 0.60], None, "0.500 ± 0.657", "undecided"),
        ({"always": "x > 1"}, [2, 3], None, "2 of 2 seeds", "holds"),
        ({"always": "x >= 2"}, [0, 2], None, "1 of 2 seeds", "undecided"),
        ({"always": "x < 0.5 y"}, [4, 4], None, "0 of 2 seeds", "does not hold"),
        ({"always": "x <= y"}, [8], None, "1 of 1 seeds", "undecided"),
    ],
)
def test_each_rule(claim: dict[str, Any], a: list[float], b: list[float] | None, shown: str, verdict: str) -> None:
    (rule,) = RULES.keys() & claim.keys()
    runs = pd.DataFrame({"x": a, "y": 8.0})
    assert RULES[rule](runs, runs if b is None else pd.DataFrame({"x": b}), claim) == (shown, verdict)


def test_class_claims_read_weights_and_points() -> None:
    runs = pd.DataFrame({f"weight/{name}": [w, w] for name, w in (("Road", 0.1), ("Land", 1.0), ("Building", 9.0))})
    for rule, column, verdict in (
        ("highest", "weight/Building", "holds"),
        ("lowest", "weight/Road", "holds"),
        ("highest", "weight/Land", "does not hold"),
    ):
        assert RULES[rule](runs, runs, {rule: column})[1] == verdict
    points = pd.DataFrame({"points/Road": [44, 45, 43], "points/Land": [56, 55, 57]})
    assert RULES["share"](points, points, {"share": "Road", "report": 0.44}) == ("0.440 ± 0.025", "holds")
