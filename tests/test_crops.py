from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.errors import InputError
from pointseg.imagery.crops import AroundPoints, Grid, partition, read
from pointseg.prediction.windows import cover
from pointseg.types import Points, Window
from tests.conftest import ArrayScene

sides = st.integers(1, 90)


def times_held(windows: list[Window], shape: tuple[int, int], crop: int) -> np.ndarray:
    """How often each pixel of a scene lies in a window that overhangs it by less than a crop."""
    seen = np.zeros((shape[0] + 2 * crop, shape[1] + 2 * crop), int)
    for row, col, h, w in windows:
        seen[row + crop : row + crop + h, col + crop : col + crop + w] += 1
    return seen[crop:-crop, crop:-crop]


@given(sides, sides, st.integers(1, 40), st.integers(0, 2**32))
def test_a_partition_holds_every_pixel_exactly_once(height: int, width: int, crop: int, seed: int) -> None:
    windows = partition((height, width), crop, np.random.default_rng(seed))
    assert (times_held(windows, (height, width), crop) == 1).all()
    assert len(windows) == -(-height // crop) * -(-width // crop)


@given(st.lists(st.tuples(sides, sides), max_size=4), st.integers(1, 40), st.integers(0, 2**32))
def test_an_epoch_by_the_grid_holds_every_pixel_of_every_scene_once(
    shapes: list[tuple[int, int]], crop: int, seed: int
) -> None:
    crops = list(Grid()(shapes, [], crop, np.random.default_rng(seed)))
    assert len(crops) == Grid().count(shapes, crop)
    assert all(part.anchor is None for part in crops)
    for index, shape in enumerate(shapes):
        assert (times_held([part.window for part in crops if part.scene == index], shape, crop) == 1).all()


@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=4), st.integers(1, 40), st.integers(1, 60), st.data())
def test_tiles_about_points_hold_them_and_use_each_equally_often(
    shapes: list[tuple[int, int]], crop: int, count: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    points = []
    for i, (height, width) in enumerate(shapes):
        number = data.draw(st.integers(0 if i else 1, min(20, height * width)))
        flat = rng.choice(height * width, number, replace=False)
        points.append(Points(*(axis.astype(float) for axis in np.divmod(flat, width)), np.zeros(number, int)))
    cropping = AroundPoints(count)
    crops = list(cropping(shapes, points, crop, rng))
    assert len(crops) == count == cropping.count(shapes, crop)
    times = Counter(
        {(i, row, col): 0 for i, of in enumerate(points) for row, col in zip(of.rows, of.cols, strict=True)}
    )
    for scene, window, anchor in crops:
        assert anchor is not None
        times[scene, *anchor] += 1
        assert window[2:] == (crop, crop)
        for start, size, position in zip(window[:2], shapes[scene], anchor, strict=True):
            assert start <= position < start + crop
            if size > crop:
                assert 0 <= start <= size - crop  # inside
            else:
                assert abs((start + crop - size) - (0 - start)) <= 1  # as far over the one border as over the other
    assert len(times) == sum(map(len, points))
    assert max(times.values()) - min(times.values()) <= 1


def test_where_a_point_lies_in_its_tile_is_uniform_and_new_each_time() -> None:
    points = Points(np.array([50.0]), np.array([60.0]), np.array([0]))
    crops = AroundPoints(4000)([(100, 120)], [points], 8, np.random.default_rng(0))
    inside = np.array([(50 - crop.window.row, 60 - crop.window.col) for crop in crops])
    for axis in inside.T:
        assert (abs(np.bincount(axis, minlength=8) - 500) < 100).all()
    assert abs(np.corrcoef(inside.T)[0, 1]) < 0.1


def test_an_epoch_of_no_tiles_is_refused() -> None:
    with pytest.raises(InputError, match=r"crops\.number=0: "):
        AroundPoints(0)


def test_the_offset_of_a_partition_is_random() -> None:
    rng = np.random.default_rng(0)
    assert len({partition((100, 100), 64, rng)[0] for _ in range(50)}) > 20


@given(sides, sides, st.integers(2, 40), st.integers(0, 2**32), st.integers(0, 60))
def test_an_epoch_loses_and_doubles_no_point(height: int, width: int, crop: int, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points = Points(rng.integers(0, height, n).astype(float), rng.integers(0, width, n).astype(float), np.arange(n))
    found = []
    for window in partition((height, width), crop, rng):
        inside = points.crop(window)
        assert (inside.rows + window.row == points.rows[inside.labels]).all()
        assert (inside.cols + window.col == points.cols[inside.labels]).all()
        found += inside.labels.tolist()
    assert sorted(found) == list(range(n))


@given(st.integers(1, 400), st.integers(1, 90), st.data())
def test_a_cover_reaches_every_pixel_with_the_overlap_and_stays_inside(
    size: int, crop: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, crop - 1))
    starts = cover(size, crop, overlap)
    crop = min(crop, size)
    assert starts[0] == 0
    assert starts[-1] == size - crop
    assert all(0 < b - a <= max(crop - overlap, 0) for a, b in pairwise(starts))


def test_a_cover_is_no_longer_than_needed() -> None:
    assert len(cover(1000, 500, 0)) == 2
    assert len(cover(1001, 500, 0)) == 3
    assert len(cover(500, 500, 100)) == 1


ONE_SIDE = [Window(-3, 2, 8, 8), Window(5, 2, 8, 8), Window(1, -2, 8, 8), Window(1, 6, 8, 8)]


@pytest.mark.parametrize(
    "window", [Window(2, 3, 4, 4), Window(-3, -2, 8, 8), Window(5, 6, 9, 7), Window(-9, -9, 30, 30), *ONE_SIDE]
)
def test_what_overhangs_is_mirrored(window: Window) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (10, 12, 3), np.uint8)
    scene = ArrayScene("a", pixels, np.zeros((10, 12), np.uint8))
    mirrored = np.pad(pixels, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    row, col, h, w = window
    assert (read(scene, window) == mirrored[row + 40 : row + 40 + h, col + 40 : col + 40 + w]).all()
