from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointseg.errors import InputError
from pointseg.points import count, draw, load, save
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
        (0, "at least 1 point"),
        (-5, "at least 1 point"),
        (0.0, "a fraction of the labelled pixels"),
        (-0.1, "a fraction of the labelled pixels"),
        (1.5, "budget=100"),
        (float("nan"), "a fraction of the labelled pixels"),
        (101, "only 100 labelled pixels"),
    ],
)
def test_impossible_budgets(budget: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        count(budget, 100, "a")


@given(st.integers(0, 200), st.integers(0, 2**32))
def test_points_come_back_from_their_file(tmp_path_factory: Any, n: int, seed: int) -> None:
    file = tmp_path_factory.mktemp("points") / "Tile 1" / "a.csv"
    points = draw(scene(), Random(), max(n, 1), seed)
    save(points, file, CLASSES)
    again = load(file, scene(), CLASSES)
    assert (again.rows == points.rows).all()
    assert (again.cols == points.cols).all()
    assert (again.labels == points.labels).all()
    assert file.read_text().startswith("row,col,class\n")
    assert [entry.name for entry in file.parent.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,y,class\n", "first line must be row,col,class"),
        ("", "first line must be row,col,class"),
        ("row,col,class\n1,1,land\n2,2,sea\n", "line 3: unknown class 'sea'"),
        ("row,col,class\n1,1,land\n20,2,land\n", "line 3: row 20, col 2 lies outside the scene of 20×30"),
        ("row,col,class\n1,-1,land\n", "line 2: row 1, col -1 lies outside"),
        ("row,col,class\n1.5,1,land\n", "line 2: not a row, a column and a class"),
        ("row,col,class\n1,1\n", "line 2: not a row, a column and a class"),
    ],
)
def test_files_of_points_that_do_not_fit(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        load(file, scene(), CLASSES)


def test_a_missing_file_of_points(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.csv: no such file"):
        load(tmp_path / "a.csv", scene(), CLASSES)
