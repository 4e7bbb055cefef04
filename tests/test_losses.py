import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pointseg.errors import InputError
from pointseg.losses.balanced_partial_ce import BalancedPartialCrossEntropy
from pointseg.losses.functional import cross_entropy, focal, mean_over_points
from pointseg.losses.partial_ce import PartialCrossEntropy
from pointseg.losses.weighted_partial_ce import WeightedPartialCrossEntropy, class_weights
from pointseg.models.logits import at_points, upsample
from pointseg.types import IGNORE, Batch
from tests.support.losses import LOSSES, batch, build, logits


def dense_labels(points: Batch) -> Tensor:
    dense = torch.full((len(points.images), *points.images.shape[2:]), IGNORE)
    tile, row, col = points.points.long().unbind(1)
    dense[tile, row, col] = points.labels
    return dense


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_logits_at_points_are_the_upsampled_ones(n: int, h: int, w: int, seed: int) -> None:
    low, points = logits(seed, shape=(2, 4, h, w)), batch(n, seed=seed)
    dense = upsample(low, (33, 47)).permute(0, 2, 3, 1)
    tile, row, col = points.points.long().unbind(1)
    assert torch.allclose(at_points(low, points), dense[tile, row, col], atol=1e-12, rtol=0)


def test_logits_between_pixel_centres_are_those_of_grid_sample() -> None:
    low = logits(shape=(1, 4, 5, 7))
    positions = torch.rand(200, 2, dtype=torch.float64) * torch.tensor([33.0, 47.0]) - 0.5
    points = Batch(torch.zeros(1, 3, 33, 47, dtype=torch.uint8), F.pad(positions, (1, 0)), torch.zeros(200).long())
    xy = (positions.flip(1) + 0.5) / torch.tensor([47.0, 33.0])
    expected = F.grid_sample(low, 2 * xy[None, None] - 1, padding_mode="border", align_corners=False)[0, :, 0].T
    assert torch.allclose(at_points(low, points), expected, atol=1e-12, rtol=0)


def test_the_gradient_is_that_of_upsampling() -> None:
    low, points = logits(), batch(50)
    tile, row, col = points.points.long().unbind(1)
    dense = upsample(low, (33, 47)).permute(0, 2, 3, 1)[tile, row, col]
    sparse_gradient = torch.autograd.grad(at_points(low, points).sin().sum(), low)[0]
    assert torch.allclose(sparse_gradient, torch.autograd.grad(dense.sin().sum(), low)[0], atol=1e-12, rtol=0)


def test_half_precision_logits_are_read_in_float32() -> None:
    low, points = logits(dtype=torch.bfloat16), batch(50, shape=(700, 900))
    exact = at_points(low.double(), points)
    assert torch.allclose(at_points(low, points).double(), exact, atol=1e-4, rtol=0)


def test_partial_cross_entropy_is_torch_s_with_ignored_pixels() -> None:
    low, points = logits(), batch(80)
    expected = F.cross_entropy(upsample(low, (33, 47)), dense_labels(points), ignore_index=IGNORE)
    assert torch.allclose(PartialCrossEntropy()(low, points), expected, atol=1e-12, rtol=0)


@given(st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=5))
def test_few_points_have_their_plain_mean(losses: list[float]) -> None:
    assert mean_over_points(torch.tensor(losses)).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_lowers_it_and_extreme_logits_stay_finite(name: str) -> None:
    low, points, loss = logits(dtype=torch.float32), batch(40), build(name)
    before = loss(low, points)
    (gradient,) = torch.autograd.grad(before, low)
    assert loss(low - 0.1 * gradient, points) < before
    extreme = (low.detach().sign() * 1e4).requires_grad_()
    value = loss(extreme, points)
    value.backward()
    assert math.isfinite(value.item())
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_s_gradient_is_finite_for_points_that_are_certain(gamma: float) -> None:
    certain = torch.tensor([[200.0, 0, 0], [0.0, 200, 0]], requires_grad=True)
    focal(certain, torch.tensor([0, 2]), 0.25, gamma).sum().backward()
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


def test_class_weights_are_inverse_frequencies_with_mean_one() -> None:
    counts = torch.tensor([100, 300, 600])
    weights = class_weights(counts, cap=100)
    assert torch.allclose(weights * counts, weights[0] * counts[0] * torch.ones(3))
    assert (weights * counts).sum().item() == pytest.approx(1000)
    roots = class_weights(counts, cap=100, power=0.5)
    torch.testing.assert_close(roots / roots[0], (weights / weights[0]).sqrt())
    assert float((roots * counts).sum() / counts.sum()) == pytest.approx(1)
    assert class_weights(counts, cap=100, power=0).tolist() == pytest.approx([1.0] * len(counts))
    capped = class_weights(torch.tensor([1, 999, 0]), cap=10)
    assert capped[0] == capped[2]
    assert capped[0] / capped[1] == pytest.approx(10 * 0.999)
    assert (capped * torch.tensor([1, 999, 0])).sum().item() == pytest.approx(1000)


def test_weighted_cross_entropy_weighs_each_point_by_its_class() -> None:
    low, points = logits(dtype=torch.float32), batch(40)
    loss = WeightedPartialCrossEntropy([10, 20, 30, 40], cap=100)
    single = cross_entropy(at_points(low, points), points.labels)
    expected = (class_weights(torch.tensor([10, 20, 30, 40]), 100)[points.labels] * single).mean()
    assert loss(low, points).item() == pytest.approx(expected.item())


def test_weights_that_are_given_replace_those_by_frequency() -> None:
    low, points = logits(dtype=torch.float32), batch(40)
    loss = WeightedPartialCrossEntropy([10, 20, 30, 40], cap=100, weights=[0.0, 0.0, 0.5, 0.0])
    single = cross_entropy(at_points(low, points), points.labels)
    assert loss(low, points).item() == pytest.approx(0.5 * single[points.labels == 2].sum().item() / len(single))
    with pytest.raises(InputError, match=r"loss\.weights=\[1, 2\]: .* 4 "):
        WeightedPartialCrossEntropy([10, 20, 30, 40], cap=100, weights=[1, 2])


def test_points_out_of_their_tiles_order_are_refused() -> None:
    """They would be read from another tile, silently."""
    positions = torch.tensor([[1.0, 2, 3], [0.0, 2, 3]])
    with pytest.raises(ValueError, match=r"Batch\.points"):
        Batch(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), positions, torch.zeros(2).long())


def test_balanced_weights_are_a_power_of_the_capped_inverse_frequency() -> None:
    weights = BalancedPartialCrossEntropy([1, 199, 800], cap=100, power=0.5).weights  # of the first, 1000 is capped
    expected = torch.tensor([100.0, 1000 / 199, 1000 / 800]).sqrt()
    torch.testing.assert_close(weights / weights[2], expected / expected[2])
    assert float((weights * torch.tensor([1, 199, 800])).sum()) == pytest.approx(1000)


def test_class_weights_are_the_configuration_s_and_not_a_checkpoint_s() -> None:
    """Else a run trained on other points, or with other `loss.weights`, would bring its own when weights are loaded."""
    assert not WeightedPartialCrossEntropy([10, 20], cap=100).state_dict()
