"""Smoothed probabilities, against the filter's equations and its limits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.errors import InputError
from pointseg.maps.predict import Settings, predict_map
from pointseg.prediction.smoothing import EDGE, guided, smoothed
from tests.test_maps import SMALL, band, by_colour, model, raster

RADIUS = 2


def noisy(seed: int = 0, shape: tuple[int, int] = (24, 30)) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(3), shape).astype(np.float32)


def test_it_is_the_filter_of_the_paper() -> None:
    """Square by square, as equations 5, 6 and 8 have it, away from the border."""
    guide = np.random.default_rng(1).random((24, 30)).astype(np.float32)
    values = noisy()
    slope, level = np.zeros((24, 30)), np.zeros((24, 30))
    for row in range(RADIUS, 24 - RADIUS):
        for col in range(RADIUS, 30 - RADIUS):
            square = (slice(row - RADIUS, row + RADIUS + 1), slice(col - RADIUS, col + RADIUS + 1))
            image, part = guide[square].astype(float), values[(*square, 0)].astype(float)
            slope[row, col] = ((image * part).mean() - image.mean() * part.mean()) / (image.var() + EDGE)
            level[row, col] = part.mean() - slope[row, col] * image.mean()
    found = guided(guide, values, RADIUS)
    for row, col in ((8, 8), (12, 17), (15, 21)):
        square = (slice(row - RADIUS, row + RADIUS + 1), slice(col - RADIUS, col + RADIUS + 1))
        expected = slope[square].mean() * guide[row, col] + level[square].mean()
        assert found[row, col, 0] == pytest.approx(expected, abs=1e-4)


def test_probabilities_stay_probabilities() -> None:
    found = guided(np.random.default_rng(1).random((24, 30)).astype(np.float32), noisy(), 4)
    assert found.min() >= 0
    assert found.sum(-1) == pytest.approx(1, abs=1e-5)


def test_noise_goes_and_edges_of_the_image_stay() -> None:
    truth = np.zeros((40, 40), int)
    truth[:, 20:] = 1
    guide = truth.astype(np.float32)
    shares = np.where(np.eye(2)[truth] == 1, 0.6, 0.4) + np.random.default_rng(0).normal(0, 0.2, (40, 40, 1)) * [1, -1]
    shares = shares.clip(0.01, 0.99).astype(np.float32)
    shares /= shares.sum(-1, keepdims=True)
    before, after = (part.argmax(-1) == truth for part in (shares, guided(guide, shares, 4)))
    assert before.mean() < 0.75
    assert after.mean() > 0.98
    blurred = guided(np.zeros((40, 40), np.float32), shares, 4).argmax(-1) == truth  # no edge to see
    assert after[:, 17:23].mean() > blurred[:, 17:23].mean()


def test_images_of_a_batch_do_not_mix() -> None:
    values = torch.from_numpy(np.stack([noisy(0), noisy(1)])).permute(0, 3, 1, 2)
    images = torch.randint(0, 256, (2, 3, 24, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    both = smoothed(lambda _: values, 3)(images)
    alone = smoothed(lambda _: values[1:], 3)(images[1:])
    assert both.shape == values.shape
    assert torch.allclose(both[1:], alone)


def test_a_radius_as_wide_as_a_window_is_refused() -> None:
    with pytest.raises(InputError, match="smooth=8"):
        Settings(32, 8, 2, False, smooth=8)


def test_a_map_is_smoothed_where_that_is_asked_for(tmp_path: Path) -> None:
    def unsure(images: torch.Tensor) -> torch.Tensor:
        """Right more often than not."""
        chance = torch.rand(len(images), 3, *images.shape[2:], generator=torch.Generator().manual_seed(0))
        return (by_colour(images) + 3 * chance).softmax(1)

    scene, labels = raster(tmp_path)
    predict_map(model(unsure), scene, tmp_path / "plain.tif", SMALL)
    predict_map(model(unsure), scene, tmp_path / "smooth.tif", replace(SMALL, smooth=3))
    plain, smooth = ((band(tmp_path / f"{name}.tif") == labels).mean() for name in ("plain", "smooth"))
    assert plain < 0.9 < smooth
    with pytest.raises(InputError, match=r"smooth\.tif: "):
        predict_map(model(unsure), scene, tmp_path / "smooth.tif", SMALL)
