"""Rounds of annotation in which the masks answer."""

import logging
from pathlib import Path

import numpy as np
import pytest

from pointseg.annotation import kept
from pointseg.errors import InputError
from pointseg.suggestions import annotator
from pointseg.suggestions.annotator import Suggested
from pointseg.types import IGNORE, Dataset, Points, whole
from tests.conftest import ArrayScene
from tests.site import NAMES
from tests.support.suggestions import edge, model

EACH = 10  # points of each scene in the earlier run


def scenes(number: int) -> list[ArrayScene]:
    """`edge` is unsure of the left third; the upper half of that has no label."""
    labels = np.random.default_rng(number).integers(0, 3, (40, 60)).astype(np.uint8)
    labels[:20, :20] = IGNORE
    pixels = np.full((40, 60, 3), 200, np.uint8)
    pixels[:, :20] = 130
    return [ArrayScene(f"{number}/{i}", pixels, labels, f"group {number}") for i in range(2)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Dataset]:
    """The folder of a run that has its points, and its dataset; the network is `edge`."""
    monkeypatch.setattr(annotator, "load_run", lambda *args, **kwargs: model(edge))
    splits = {"train": scenes(1), "val": scenes(2)}
    for scene in [*splits["train"], *splits["val"]]:
        left = (scene.labels != IGNORE) & (np.arange(60) < 20)
        flat = np.random.default_rng(0).choice(np.flatnonzero(left), EACH, replace=False)
        kept.save(Points.of_pixels(scene.labels, flat), tmp_path / "points", scene, NAMES, drawn=True)
    return tmp_path, Dataset(NAMES, np.zeros((3, 3), np.uint8), (True,) * 3, splits)


def annotated(dataset: Dataset, chosen: Suggested) -> dict[str, Points]:
    scenes = [*dataset.splits["train"], *dataset.splits["val"]]
    return dict(zip((scene.id for scene in scenes), chosen.annotate(dataset, scenes), strict=True))


@pytest.mark.parametrize("distance", [0, 3])
def test_a_round_adds_labelled_points_to_those_of_the_run(
    run: tuple[Path, Dataset], distance: int, caplog: pytest.LogCaptureFixture
) -> None:
    folder, dataset = run
    caplog.set_level(logging.INFO)
    found = annotated(dataset, Suggested(str(folder), 0.2, distance, 2 * EACH, 0, "cpu"))
    assert sum(len(found[scene.id]) for scene in dataset.splits["train"]) == 4 * EACH
    for scene in [*dataset.splits["train"], *dataset.splits["val"]]:
        labelled = kept.load(kept.file_of(folder / "points", scene), scene, NAMES)
        points = found[scene.id]
        rows, cols = points.rows.astype(int), points.cols.astype(int)
        assert (rows[:EACH] == labelled.rows).all()
        assert (cols[:EACH] == labelled.cols).all()
        assert (points.labels == scene.mask(whole(scene))[rows, cols]).all()
        assert (points.labels != IGNORE).all()
        assert (cols[EACH:] < 20).all()  # where the network is unsure
        apart = np.hypot(rows[:, None] - rows, cols[:, None] - cols) + 99 * np.eye(len(rows))
        assert apart[EACH:].min(initial=99) >= max(distance, 1)
    assert all(len(found[scene.id]) == EACH for scene in dataset.splits["val"])
    assert f" {2 * EACH} " in caplog.text


@pytest.mark.parametrize(
    ("budget", "distance", "message"),
    [
        (EACH, 3, "budget=10.* 20 "),
        (1000, 30, r"1,980 .* 30 .*annotation\.distance"),
    ],
)
def test_a_round_that_cannot_be(run: tuple[Path, Dataset], budget: int, distance: int, message: str) -> None:
    folder, dataset = run
    with pytest.raises(InputError, match=message):
        annotated(dataset, Suggested(str(folder), 0.2, distance, budget, 0, "cpu"))


def test_a_run_of_other_classes(run: tuple[Path, Dataset]) -> None:
    folder, dataset = run
    other = Dataset(("a", "b", "c"), dataset.palette, dataset.land_cover, dataset.splits)
    with pytest.raises(InputError, match="a, b, c"):
        annotated(other, Suggested(str(folder), 0.2, 3, 99, 0, "cpu"))
