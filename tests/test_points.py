from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.annotation.drawn import count, draw
from pointseg.annotation.kept import file_of, load, save
from pointseg.errors import InputError
from pointseg.samplers.random import Random
from pointseg.types import IGNORE, Points
from tests.conftest import ArrayScene

CLASSES = ("land", "water, deep", "road")


def scene(name: str = "a", seed: int = 0) -> ArrayScene:
    mask = np.random.default_rng(seed).choice(np.array([0, 1, 2, IGNORE], np.uint8), (20, 30))
    return ArrayScene(name, np.zeros((20, 30, 3), np.uint8), mask)


def places(points: Points) -> set[tuple[float, float]]:
    return set(zip(points.rows.tolist(), points.cols.tolist(), strict=True))


def test_a_scene_s_points_follow_from_its_id_and_the_seed_alone() -> None:
    alone = draw(scene("a"), Random(), 50, seed=0)
    draw(scene("b"), Random(), 50, seed=0)
    assert places(draw(scene("a"), Random(), 50, seed=0)) == places(alone)
    assert places(draw(scene("b"), Random(), 50, seed=0)) != places(alone)
    assert places(draw(scene("a"), Random(), 50, seed=1)) != places(alone)


@pytest.mark.parametrize(
    ("budget", "labelled", "expected"),
    [(0.01, 1000, 10), (0.5, 3, 2), (1.0, 77, 77), (0.01, 10, 1), (1, 50, 1), (50, 50, 50), (0.01, 0, 0)],
)
def test_what_a_budget_buys(budget: float, labelled: int, expected: int) -> None:
    assert count(budget, labelled, "a") == expected


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "budget=0: "),
        (-5, "budget=-5: "),
        (0.0, "budget=0.0: "),
        (-0.1, "budget=-0.1: "),
        (1.5, "budget=100"),
        (float("nan"), "budget=nan: "),
        (101, "budget=101: .* 100 "),
    ],
)
def test_impossible_budgets(budget: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        count(budget, 100, "a")


@given(st.integers(1, 400), st.booleans(), st.integers(0, 2**32))
def test_points_come_back_from_their_file(tmp_path_factory: Any, n: int, drawn: bool, seed: int) -> None:
    """Many as a mask, in another order; few, and those that a person gave, as lines."""
    folder, here = tmp_path_factory.mktemp("points"), scene("Tile 1/a")
    points = draw(here, Random(), n, seed)
    save(points, folder, here, CLASSES, drawn)
    file = file_of(folder, here)
    dense = drawn and n > 60
    assert [entry.name for entry in file.parent.iterdir()] == ["a.npz" if dense else "a.csv"]
    assert dense or file.read_text().startswith("row,col,class\n")
    again = load(file, here, CLASSES)
    assert places(again) == places(points)
    assert len(again) == len(points)
    rows, cols = (positions.astype(int) for positions in (again.rows, again.cols))
    assert (again.labels == here.labels[rows, cols]).all()


def test_every_pixel_of_a_scene_is_kept_in_little_space(tmp_path: Path) -> None:
    mask = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) % 3, np.ones((128, 128), np.uint8))
    large = ArrayScene("a", np.zeros((512, 512, 3), np.uint8), mask)
    save(draw(large, Random(), 1.0, 0), tmp_path, large, CLASSES, drawn=True)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 10_000
    assert len(load(file_of(tmp_path, large), large, CLASSES)) == 512 * 512


def test_a_mask_of_points_that_does_not_fit(tmp_path: Path) -> None:
    save(draw(scene(), Random(), 1.0, 0), tmp_path, scene(), CLASSES, drawn=True)
    file = file_of(tmp_path, scene())
    with pytest.raises(InputError, match=r"land, water, deep, road.*20×30"):
        load(file, scene(), CLASSES[::-1])
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"a\.npz: "):
        load(file, scene(), CLASSES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,y,class\n", "row,col,class"),
        ("", "row,col,class"),
        ("row,col,class\n1,1,land\n2,2,sea\n", "line 3: .*'sea'"),
        ("row,col,class\n1,1,land\n20,2,land\n", "line 3: row 20, col 2 .*20×30"),
        ("row,col,class\n1,-1,land\n", "line 2: row 1, col -1 "),
        ("row,col,class\n1.5,1,land\n", "line 2: "),
        ("row,col,class\n1,1\n", "line 2: "),
    ],
)
def test_files_of_points_that_do_not_fit(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        load(file, scene(), CLASSES)


def test_a_missing_file_of_points(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv: "):
        load(tmp_path / "a.csv", scene(), CLASSES)
