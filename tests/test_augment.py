import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pointseg.imagery.augment import Augment
from pointseg.imagery.crops import partition
from pointseg.types import Points, Window
from tests.support.augment import SIDE, coordinates, every_pixel


@settings(max_examples=60)
@given(st.sampled_from([30, 48, 100, 120]), st.integers(0, 2**32))
def test_points_move_with_the_image_to_a_fraction_of_a_pixel(side: int, seed: int) -> None:
    augment = Augment(SIDE, colour=0)
    image, points = augment(coordinates(side), every_pixel(side), np.random.default_rng(seed))
    inner = (points.rows > 1) & (points.rows < SIDE - 2) & (points.cols > 1) & (points.cols < SIDE - 2)
    rows, cols = points.rows[inner].astype(np.float32), points.cols[inner].astype(np.float32)
    shown = cv2.remap(image.astype(np.float32), cols[:, None], rows[:, None], cv2.INTER_LINEAR)[:, 0]
    came_from = np.stack(np.divmod(points.labels[inner], side), -1)
    # The image is rounded to whole numbers, and by OpenCV a little downwards. Coordinates counted from the
    # pixels' edges, or from their centres throughout, would be off by half the change of scale.
    assert np.abs(shown[:, :2] - came_from).max() < 0.8
    assert np.abs((shown[:, :2] - came_from).mean(0)).max() < 0.2


def test_all_eight_symmetries_occur() -> None:
    augment = Augment(SIDE, scale=1, colour=0)
    corners = Points(np.array([0.0, 0.0]), np.array([0.0, SIDE - 1.0]), np.array([0, 1]))
    seen = set()
    for seed in range(100):
        _, moved = augment(coordinates(SIDE), corners, np.random.default_rng(seed))
        seen.add((*moved.rows.tolist(), *moved.cols.tolist()))
    assert len(seen) == 8


def test_switched_off_it_is_the_identity() -> None:
    augment = Augment(SIDE, scale=1, symmetries=False, colour=0)
    window = Window(3, 4, SIDE, SIDE)
    assert augment.window(window, (200, 200), np.random.default_rng(0)) == window
    image, points = augment(coordinates(SIDE), every_pixel(SIDE), np.random.default_rng(0))
    assert (image == coordinates(SIDE)).all()
    assert (points.rows == every_pixel(SIDE).rows).all()


def test_colour_changes_the_image_and_no_point() -> None:
    augment = Augment(SIDE, scale=1, symmetries=False, colour=0.3)
    grey = np.full((SIDE, SIDE, 3), 120, np.uint8)
    shades = set()
    for seed in range(10):
        image, points = augment(grey, every_pixel(SIDE), np.random.default_rng(seed))
        shades.add(int(image[0, 0, 0]))
        assert (points.cols == every_pixel(SIDE).cols).all()
    assert len(shades) > 3


@given(st.integers(1, 200), st.integers(1, 200), st.integers(8, 64), st.integers(0, 2**32))
def test_a_scaled_window_still_shows_the_scene(height: int, width: int, crop: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    augment = Augment(crop, scale=2)
    for window in partition((height, width), crop, rng):
        row, col, h, w = augment.window(window, (height, width), rng)
        assert h == w
        assert crop / 2 - 1 <= h <= crop * 2 + 1
        assert row < height
        assert col < width
        assert row + h > 0
        assert col + w > 0


def test_the_generator_decides() -> None:
    augment = Augment(SIDE)
    image = np.random.default_rng(1).integers(0, 255, (60, 60, 3), np.uint8)
    results = [augment(image, every_pixel(60), np.random.default_rng(seed)) for seed in (5, 6, 5)]
    assert (results[0][0] == results[2][0]).all()
    assert (results[0][1].rows == results[2][1].rows).all()
    assert (results[0][0] != results[1][0]).any()
