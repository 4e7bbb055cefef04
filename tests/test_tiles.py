from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.tiles import cover, partition, read
from pointseg.types import Points, Window
from tests.conftest import ArrayScene

sides = st.integers(1, 90)


@given(sides, sides, st.integers(1, 40), st.integers(0, 2**32))
def test_a_partition_holds_every_pixel_exactly_once(height: int, width: int, tile: int, seed: int) -> None:
    seen = np.zeros((height + 2 * tile, width + 2 * tile), int)
    windows = partition((height, width), tile, np.random.default_rng(seed))
    for row, col, h, w in windows:
        seen[row + tile : row + tile + h, col + tile : col + tile + w] += 1
    assert (seen[tile:-tile, tile:-tile] == 1).all()
    assert len(windows) == -(-height // tile) * -(-width // tile)


def test_the_offset_of_a_partition_is_random() -> None:
    rng = np.random.default_rng(0)
    assert len({partition((100, 100), 64, rng)[0] for _ in range(50)}) > 20


@given(sides, sides, st.integers(2, 40), st.integers(0, 2**32), st.integers(0, 60))
def test_an_epoch_loses_and_doubles_no_point(height: int, width: int, tile: int, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points = Points(rng.integers(0, height, n).astype(float), rng.integers(0, width, n).astype(float), np.arange(n))
    found = []
    for window in partition((height, width), tile, rng):
        inside = points.crop(window)
        assert (inside.rows + window.row == points.rows[inside.labels]).all()
        assert (inside.cols + window.col == points.cols[inside.labels]).all()
        found += inside.labels.tolist()
    assert sorted(found) == list(range(n))


@given(st.integers(1, 400), st.integers(1, 90), st.data())
def test_a_cover_reaches_every_pixel_with_the_overlap_and_stays_inside(
    size: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile - 1))
    starts = cover(size, tile, overlap)
    tile = min(tile, size)
    assert starts[0] == 0
    assert starts[-1] == size - tile
    assert all(0 < b - a <= max(tile - overlap, 0) for a, b in pairwise(starts))


def test_a_cover_is_no_longer_than_needed() -> None:
    assert len(cover(1000, 500, 0)) == 2
    assert len(cover(1001, 500, 0)) == 3
    assert len(cover(500, 500, 100)) == 1


@pytest.mark.parametrize(
    "window", [Window(2, 3, 4, 4), Window(-3, -2, 8, 8), Window(5, 6, 9, 7), Window(-9, -9, 30, 30)]
)
def test_what_overhangs_is_mirrored(window: Window) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (10, 12, 3), np.uint8)
    scene = ArrayScene("a", pixels, np.zeros((10, 12), np.uint8))
    mirrored = np.pad(pixels, ((40, 40), (40, 40), (0, 0)), mode="reflect")
    row, col, h, w = window
    assert (read(scene, window) == mirrored[row + 40 : row + 40 + h, col + 40 : col + 40 + w]).all()
