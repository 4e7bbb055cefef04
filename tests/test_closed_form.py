"""The head: sums over points, discriminant analysis, the hidden layer, and the choice between them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pointseg.training import head
from pointseg.training.closed_form import Linear, Moments, discriminant, shrinkage, standardisation
from pointseg.training.each_point import windows_around
from pointseg.training.head import Sample, assign, fit_head
from pointseg.training.hidden import fit_hidden
from pointseg.types import Points


def drawn(
    n: int = 200, features: int = 6, classes: int = 3, ways: int = 1, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    means = torch.randn(classes, features, generator=generator)
    mix = torch.randn(features, features, generator=generator)
    rows = means[labels][:, None] + torch.randn(n, ways, features, generator=generator) @ mix + 5
    return rows, labels


def summed(rows: torch.Tensor, labels: torch.Tensor, classes: int = 3) -> Moments:
    moments = Moments.zero(classes, rows.shape[2])
    moments.add(rows, labels)
    return moments


def test_without_shrinkage_it_is_scikit_learn_s() -> None:
    rows, labels = drawn()
    theirs = LinearDiscriminantAnalysis(solver="lsqr").fit(rows[:, 0].numpy(), labels.numpy())
    ours = discriminant(summed(rows, labels), 0.0)(rows[:, 0])
    np.testing.assert_allclose(ours.softmax(1), theirs.predict_proba(rows[:, 0].numpy()), atol=1e-4)


def test_shrunken_it_is_the_formula_on_standardised_features() -> None:
    rows, labels = drawn()
    x = rows[:, 0].double().numpy()
    x = (x - x.mean(0)) / x.std(0)
    y = labels.numpy()
    means = np.stack([x[y == k].mean(0) for k in range(3)])
    within = (x - means[y]).T @ (x - means[y]) / len(x)
    weight = np.linalg.solve(0.7 * within + 0.3 * np.eye(6), means.T)
    expected = x @ weight - 0.5 * (means.T * weight).sum(0) + np.log(np.bincount(y) / len(y))
    found = discriminant(summed(rows, labels), 0.3)(rows[:, 0])
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_classes_weigh_in_by_their_shares_times_their_weights() -> None:
    moments = summed(*drawn())
    weights = torch.tensor([1.0, 2.0, 4.0])
    plain, weighted = discriminant(moments, 0.3), discriminant(moments, 0.3, weights)
    moved = weighted.bias - plain.bias
    assert torch.allclose(moved - moved[0], weights.log(), atol=1e-4)
    assert torch.equal(plain.weight, weighted.weight)


@given(st.permutations(range(40)), st.lists(st.integers(0, 40), max_size=4))
def test_sums_of_parts_in_any_order_give_the_same_head(order: list[int], cuts: list[int]) -> None:
    rows, labels = drawn(40, ways=2)
    whole = summed(rows, labels)
    parts = Moments.zero(3, 6)
    ends = [0, *sorted(cuts), 40]
    for start, end in pairwise(ends):
        chosen = order[start:end]
        parts.add(rows[chosen], labels[chosen])
    for mine, theirs in zip(parts.parts(), whole.parts(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    a, b = discriminant(parts, 0.2), discriminant(whole, 0.2)
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-5, atol=1e-6)
    rest = summed(rows[order[:10]], labels[order[:10]])
    torch.testing.assert_close(whole.without(rest).products, summed(rows[order[10:]], labels[order[10:]]).products)


def test_a_point_seen_in_several_ways_counts_once() -> None:
    rows, labels = drawn(ways=1)
    once, eight = summed(rows, labels), summed(rows.expand(-1, 8, -1), labels)
    for mine, theirs in zip(once.parts(), eight.parts(), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("amount", [0.05, 0.95])
@pytest.mark.parametrize(
    ("labels", "features"),
    [
        ([0, 1, 2], 500),  # a point a class, many more features
        ([1, 1, 1], 5),  # one class
        ([0, 2, 2, 2], 5),  # a class without points
        ([0] * 50 + [1], 5),  # a class with one point
        (list(range(3)) * 40, 5),
    ],
)
def test_a_head_is_finite_and_knows_no_class_without_points(labels: list[int], features: int, amount: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor(labels)
    rows = torch.eye(3, features)[truth][:, None] * 3 + torch.randn(len(labels), 1, features, generator=generator) * 0.1
    rows[..., -1] = 7.0  # a constant feature
    linear = discriminant(summed(rows, truth), amount)
    assert linear.weight.isfinite().all()
    predicted = linear(rows[:, 0]).argmax(1)
    assert torch.equal(predicted, truth)
    anywhere = linear(torch.randn(1000, features, generator=generator) * 10).argmax(1)
    assert set(anywhere.tolist()) <= set(labels)


def test_points_that_are_all_alike_give_their_shares() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    linear = discriminant(summed(torch.ones(4, 1, 3), labels, 2), 0.5)
    assert linear(torch.randn(5, 3)).softmax(1).numpy() == pytest.approx(np.tile([0.75, 0.25], (5, 1)), abs=1e-5)


def test_repeated_points_change_nothing_but_their_number() -> None:
    rows, labels = drawn(30)
    once, thrice = (discriminant(summed(rows.repeat(n, 1, 1), labels.repeat(n)), 0.3) for n in (1, 3))
    torch.testing.assert_close(once.weight, thrice.weight, rtol=1e-4, atol=1e-5)


def test_a_hundred_classes() -> None:
    rows, labels = drawn(400, 20, 100)
    linear = discriminant(summed(rows, labels, 100), 0.2)
    assert linear(rows[:, 0]).shape == (400, 100)
    assert float((linear(rows[:, 0]).argmax(1) == labels).float().mean()) > 0.2


def test_fewer_points_are_shrunken_more() -> None:
    amounts = [shrinkage(summed(*drawn(n, 50))) for n in (10, 100, 5000)]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[0] <= 1
    assert amounts[2] < 0.2


def test_constant_features_are_left_out() -> None:
    rows, labels = drawn()
    rows[..., 2] = 1e4
    _, scale = standardisation(summed(rows, labels))
    assert scale[2] == 0
    assert bool((scale[[0, 1, 3, 4, 5]] > 0).all())


def xor(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(n, 1, 2, generator=generator)
    return rows, (rows[:, 0, 0] * rows[:, 0, 1] > 0).long()


def test_a_hidden_layer_tells_what_a_line_cannot() -> None:
    rows, labels = xor(400)
    straight = discriminant(summed(rows, labels, 2), 0.1)
    bent = fit_hidden(rows, labels, torch.ones(2), seed=0)
    assert float((straight(rows[:, 0]).argmax(1) == labels).float().mean()) < 0.7
    assert float((bent(rows[:, 0]).argmax(1) == labels).float().mean()) > 0.9


def test_a_hidden_layer_follows_from_its_points_and_seed_alone() -> None:
    rows, labels = xor(50)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit_hidden(rows, labels, torch.ones(2), seed=3)
    assert torch.equal(torch.rand(1), expected)  # no other randomness is disturbed
    again, other = (fit_hidden(rows, labels, torch.ones(2), seed=seed) for seed in (3, 4))
    assert torch.equal(first.inner.weight, again.inner.weight)
    assert not torch.equal(first.inner.weight, other.inner.weight)


def fitted(
    rows: torch.Tensor, labels: torch.Tensor, units: Sequence[str], kind: head.HeadKind = "auto", classes: int = 2
) -> head.Fitted:
    sample = Sample(rows.half(), labels, units)
    return fit_head(sample, summed(rows, labels, classes), torch.ones(classes), [True] * classes, kind, seed=0)


def test_the_choice_is_bent_where_that_predicts_better_and_straight_where_it_does_not() -> None:
    rows, labels = xor(600)
    units = [str(i % 7) for i in range(600)]
    assert fitted(rows, labels, units).report["hidden"] > 0
    # Each unit has a direction of its own, which a hidden layer learns by heart; common to all is one feature.
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (60,), generator=generator)
    rows = torch.randn(60, 1, 300, generator=generator)
    rows[:, 0, 0] += 4.0 * labels
    found = fitted(rows, labels, [str(i // 6) for i in range(60)])
    scores = {(t["shrinkage"], t["hidden"]): t["miou_land_cover"] for t in found.report["tried"]}
    assert found.report["miou_land_cover"] == max(scores.values())
    assert scores[found.report["shrinkage"], found.report["hidden"]] == max(scores.values())
    low, high = found.report["interval"]
    assert low <= found.report["miou_land_cover"] <= high


def test_whole_units_are_held_out() -> None:
    """A feature that tells the unit, in which all points have one class, is worth nothing on other units."""
    units = [str(i // 10) for i in range(200)]
    labels = torch.tensor([int(unit) % 2 for unit in units])
    rows = torch.nn.functional.one_hot(torch.tensor([int(unit) for unit in units]), 20).float()[:, None]
    rows = rows + 0.01 * torch.randn(200, 1, 20, generator=torch.Generator().manual_seed(0))
    assert fitted(rows, labels, units, "linear").report["miou_land_cover"] < 0.5
    mixed = [str(i % 10) for i in range(200)]
    assert fitted(rows, labels, mixed, "linear").report["miou_land_cover"] > 0.9


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_folds_are_of_whole_units_and_about_equal(numbers: list[int]) -> None:
    units = [f"u{number}" for number in numbers]
    folds = assign(units)
    assert all(len({fold for fold, u in zip(folds, units, strict=True) if u == unit}) == 1 for unit in set(units))
    sizes = np.bincount(folds, minlength=5)
    assert sizes.max() - sizes.min() <= max(units.count(unit) for unit in set(units))


def test_one_piece_of_ground_holds_nothing_out() -> None:
    rows, labels = drawn(30)
    found = fitted(rows, labels, ["all"] * 30, classes=3)
    assert found.report["hidden"] == 0
    assert found.report["shrinkage"] == pytest.approx(shrinkage(summed(rows, labels)))
    assert "miou_land_cover" not in found.report


@pytest.mark.parametrize(("kind", "share"), [("linear", 0.0), ("hidden", 1.0)])
def test_a_head_that_is_asked_for_is_given(kind: head.HeadKind, share: float) -> None:
    found = fitted(*xor(60), [str(i % 6) for i in range(60)], kind)
    assert found.report["hidden"] == share
    assert (found.hidden is not None) == (share == 1)


def test_a_head_is_as_sure_as_it_is_right_on_ground_held_out() -> None:
    """Of labels that the features do not tell, every class is as likely, however many features there are."""
    generator = torch.Generator().manual_seed(0)
    rows, labels = torch.randn(100, 1, 400, generator=generator), torch.randint(2, (100,), generator=generator)
    found = fitted(rows, labels, [str(i // 5) for i in range(100)], "linear")
    assert found.report["temperature"] > 2
    fresh = found(torch.randn(1000, 400, generator=generator)).softmax(1).amax(1)
    assert float(fresh.mean()) < 0.75


def test_linear_is_features_times_weights() -> None:
    linear = Linear(torch.tensor([[1.0, 2.0]]), torch.tensor([3.0]))
    assert linear(torch.tensor([[[4.0, 5.0]]])).tolist() == [[[17.0]]]


@given(st.integers(0, 99), st.integers(1, 60), st.integers(1, 30), st.integers(30, 300))
def test_each_point_is_one_window_s_own_with_ground_about_it(seed: int, number: int, margin: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(side, 2 * side), (side + 13, side)]
    points = [
        Points(rng.integers(0, h, number) + 0.25, rng.integers(0, w, number) - 0.25, np.zeros(number, int))
        for h, w in shapes
    ]
    parts = windows_around(shapes, points, margin, (1, 32, 64))
    for scene, (shape, of_scene) in enumerate(zip(shapes, points, strict=True)):
        own = np.concatenate([part.points for part in parts if part.scene == scene])
        assert sorted(own) == list(range(number))
        for _, window, chosen in (part for part in parts if part.scene == scene):
            frame = (
                (of_scene.rows, window.row, window.height, shape[0]),
                (of_scene.cols, window.col, window.width, shape[1]),
            )
            for values, start, length, size in frame:
                assert 0 <= start <= start + length <= size
                assert values[chosen].min() - start >= min(margin, values[chosen].min()) - 1
                assert start + length - values[chosen].max() >= min(margin, size - values[chosen].max()) - 1
    assert len({part.window[2:] for part in parts}) <= 2
