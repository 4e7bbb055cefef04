"""Temperature, prior correction and their scores, against closed forms and torchmetrics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import norm
from torchmetrics.functional.classification import multiclass_calibration_error

from pointseg.errors import InputError
from pointseg.evaluation.calibrate import _held_out
from pointseg.evaluation.positions import Sample
from pointseg.evaluation.prior import check, check_estimate
from pointseg.losses.partial_ce import PartialCrossEntropy
from pointseg.losses.weighted_partial_ce import WeightedPartialCrossEntropy
from pointseg.models.networks import unet
from pointseg.prediction import calibration
from pointseg.prediction.calibration import Calibrated, Calibration, blend, fit_temperature, prior_shift
from pointseg.prediction.windows import Views, predict_scene, probabilities, views_at
from tests.support.windows import own_position, scene

NONE = (0.0, 0.0, 0.0)


def sample(n: int = 20_000, temperature: float = 1.0, seed: int = 0) -> tuple[Views, np.ndarray]:
    """Views whose softmax is the distribution of the labels once divided by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3))
    cumulated = softmax(logits, 1).cumsum(1)
    labels = (rng.random((n, 1)) > cumulated[:, :2]).sum(1)
    logits = logits * temperature
    said = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return Views(said, np.ones(n), np.arange(n), n), labels


def test_what_is_calibrated_has_next_to_no_error_and_what_is_not_has_that_of_torchmetrics() -> None:
    for temperature, low, high in ((1.0, 0.0, 0.01), (3.0, 0.1, 0.3)):
        views, labels = sample(temperature=temperature)
        said = blend(views, Calibration(1.0, NONE))
        error = calibration.expected_error(said, labels, np.ones(len(labels)))
        assert low <= error < high
        reference = multiclass_calibration_error(
            torch.from_numpy(said), torch.from_numpy(labels), num_classes=3, n_bins=15, norm="l1"
        )
        assert error == pytest.approx(float(reference), abs=5e-5)  # its sums are float32


def test_a_point_of_weight_two_counts_as_two_points() -> None:
    views, labels = sample(500, 2.0)
    said = blend(views, Calibration(1.0, NONE))
    twice = np.concatenate([np.arange(500), np.arange(100)])
    weights = np.where(np.arange(500) < 100, 2.0, 1.0)
    for score in (calibration.expected_error, calibration.nll):
        assert score(said, labels, weights) == pytest.approx(score(said[twice], labels[twice], np.ones(600)))


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found(temperature: float) -> None:
    views, labels = sample(temperature=temperature)
    assert fit_temperature(views, labels, np.ones(len(labels)), NONE) == pytest.approx(temperature, rel=0.05)


def gaussians(prior: np.ndarray, n: int = 50_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels by the prior, their likelihoods under three overlapping Gaussians, and their Bayes posteriors."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, n, p=prior)
    x = rng.normal(labels * 1.5, 1.0)
    likelihood = norm.pdf(x[:, None], np.arange(3) * 1.5, 1.0)
    joint = likelihood * prior
    return labels, likelihood, joint / joint.sum(1, keepdims=True)


def test_another_prior_gives_the_bayes_posterior() -> None:
    training, prior = np.array([0.4, 0.4, 0.2]), np.array([0.1, 0.2, 0.7])
    _, likelihood, bayes = gaussians(prior)
    trained = likelihood * training
    trained /= trained.sum(1, keepdims=True)
    views = Views(np.log(trained), np.ones(len(trained)), np.arange(len(trained)), len(trained))
    assert np.abs(blend(views, Calibration(1.0, prior_shift(prior, training))) - bayes).max() < 1e-9


def test_shares_are_found_without_labels_between_the_training_s_and_the_truth() -> None:
    training, prior = np.array([0.4, 0.4, 0.2]), np.array([0.1, 0.2, 0.7])
    labels, likelihood, _ = gaussians(prior)
    trained = likelihood * training / (likelihood * training).sum(1, keepdims=True)
    found = calibration.estimate_prior(trained)
    assert ((found - training) * (prior - found) > 0).all()
    certain = calibration.estimate_prior(np.eye(3)[labels])
    assert np.abs(certain - np.bincount(labels, minlength=3) / len(labels)).max() < 1e-9
    assert calibration.estimate_prior(np.array([[1.0, 0.0, 0.0]])).min() > 0  # no class is ruled out


@pytest.mark.parametrize(("rare", "weights"), [(0.0005, np.ones(50)), (0.1, np.r_[np.ones(3), np.full(47, 1e-6)])])
def test_an_estimate_by_which_a_class_vanishes_or_few_points_count_is_refused(rare: float, weights: np.ndarray) -> None:
    found = np.array([rare, 1 - rare])
    with pytest.raises(InputError, match="prior=estimate"):
        check_estimate("estimate", found, weights, ("a", "b"))
    check_estimate("estimate", np.array([0.1, 0.9]), np.ones(50), ("a", "b"))
    check_estimate("points", found, weights, ("a", "b"))


def test_a_class_without_training_points_keeps_its_logit() -> None:
    shift = prior_shift(np.array([0.3, 0.6, 0.1]), np.array([0.6, 0.4, 0.0]))
    assert np.allclose(shift, [np.log(0.5), np.log(1.5), 0])


def test_the_training_has_shown_what_the_loss_weighs() -> None:
    counts = [10, 30, 60]
    assert np.allclose(calibration.training_shares(counts, PartialCrossEntropy()), [0.1, 0.3, 0.6])
    balanced = WeightedPartialCrossEntropy(counts, cap=100)
    assert np.allclose(calibration.training_shares(counts, balanced), 1 / 3)


def test_views_blend_to_what_the_scene_is_predicted_as() -> None:
    image = scene(50, 70)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, 50, 200), rng.integers(0, 70, 200)

    def predict(images: torch.Tensor) -> torch.Tensor:
        ramp = own_position(images) / 255
        return torch.cat([ramp, 2 - ramp, torch.ones_like(ramp)], 1).softmax(1)

    whole = np.zeros((3, 50, 70))
    for (row, col, height, width), values in predict_scene(predict, image, 32, 12, 3, "cpu"):
        whole[:, row : row + height, col : col + width] = values
    views = views_at(predict, image, rows, cols, 32, 12, 3, "cpu")
    assert len(views.weights) > 200  # some positions are seen by several windows
    assert np.allclose(blend(views, Calibration(1.0, NONE)), whole[:, rows, cols].T, atol=1e-5)
    both = Views.joined([views, views])
    assert np.allclose(blend(both, Calibration(1.0, NONE))[200:], whole[:, rows, cols].T, atol=1e-5)
    # Calibrated in each window before they are blended: what the network does once it is calibrated.
    found = Calibration(2.0, (0.0, 1.0, -1.0))

    def calibrated(images: torch.Tensor) -> torch.Tensor:
        return (predict(images).log() / 2 + torch.tensor(found.shift).view(1, 3, 1, 1)).softmax(1)

    assert np.allclose(
        blend(views, found), blend(views_at(calibrated, image, rows, cols, 32, 12, 3, "cpu"), Calibration(1.0, NONE))
    )


def test_a_network_is_calibrated_at_its_own_stride() -> None:
    network = unet(3, None).eval()
    images = torch.randint(0, 256, (2, 3, 40, 50), dtype=torch.uint8)
    found = Calibration(0.1, (0.5, 0.0, -0.5))
    with torch.inference_mode():
        expected = (probabilities(network, images).log() / 0.1 + torch.tensor(found.shift).view(1, 3, 1, 1)).softmax(1)
        assert torch.allclose(probabilities(Calibrated(network, found), images), expected, atol=1e-5)


def test_it_is_of_the_weights_it_was_fitted_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert calibration.read(tmp_path, "best", 2) is None
    (tmp_path / "best.ckpt").write_bytes(b"weights")
    content = {"temperature": 2.0, "shift": [0.0, 1.0], "weights": calibration.digest(tmp_path / "best.ckpt")}
    (tmp_path / calibration.FILE).write_text(json.dumps(content))
    assert calibration.read(tmp_path, "best", 2) == Calibration(2.0, (0.0, 1.0))
    (tmp_path / "best.ckpt").write_bytes(b"others")
    assert calibration.read(tmp_path, "best", 2) is None
    assert "best.ckpt" in caplog.text
    for damaged in ("{", "{}", '{"temperature": null, "shift": [], "weights": ""}'):
        (tmp_path / calibration.FILE).write_text(damaged)
        with pytest.raises(InputError, match=r"calibration\.json"):
            calibration.read(tmp_path, "best", 2)


def test_what_is_held_out_is_calibrated_by_the_other_scenes() -> None:
    (first, labels), (second, others) = sample(temperature=1.0), sample(temperature=3.0, seed=1)
    groups = np.repeat([0, 1], len(labels))
    both = Sample(Views.joined([first, second]), np.concatenate([labels, others]), groups, True, "")
    said, folds = _held_out(both, np.ones(len(groups)), NONE)
    assert sorted(folds["temperatures"]) == pytest.approx([1, 3], rel=0.05)
    assert np.abs(said[groups == 0] - blend(first, Calibration(3.0, NONE))).max() < 0.02
    assert np.abs(said[groups == 1] - blend(second, Calibration(1.0, NONE))).max() < 0.02


def test_points_of_chosen_shares_count_as_if_they_had_those_of_the_map() -> None:
    views, labels = sample(600)
    shares = np.array([0.7, 0.2, 0.1])
    weights = Sample(views, labels, labels, False, "").weights(shares)
    assert np.allclose(np.bincount(labels, weights) / weights.sum(), shares)


@pytest.mark.parametrize(
    ("chosen", "images", "random", "message"),
    [
        ("guess", None, True, "prior=guess"),
        ({"a": 0.5, "b": 0.4}, None, True, r"a, b"),
        ({"a": 1.0}, None, True, "a, b"),
        ({"a": 1.0, "b": 0.0}, None, True, "a, b"),
        ("points", None, False, "prior=points"),
        ("estimate", None, False, "prior=estimate input=site.tif"),
        (None, "site.tif", True, "input=site.tif.*prior=estimate"),
    ],
)
def test_shares_that_cannot_be_had_are_refused(chosen: Any, images: Any, random: bool, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(chosen, images, random, ("a", "b"))
