"""Rounds of annotation in which the masks answer."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pointseg.annotation import kept
from pointseg.errors import InputError
from pointseg.suggestions import annotator
from pointseg.suggestions.annotator import Suggested
from pointseg.types import IGNORE, Dataset, Points, whole
from tests.conftest import ArrayScene, Outcome
from tests.site import NAMES
from tests.support.suggestions import edge, model
from tests.support.sweeps import TINY
from tests.sweep import row, sections

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


def read(run: Path, split: str) -> set[tuple[Any, ...]]:
    """(scene, row, col, class) of the points on a split's tile."""
    files = list((run / "points" / split).glob("*.csv"))
    assert len(files) == 9
    rows = [(file.stem, *row) for file in files for row in pd.read_csv(file).itertuples(index=False, name=None)]
    assert len(set(rows)) == len(rows)
    return set(rows)


def test_rounds_go_on_and_are_reported(command: Callable[..., Outcome], tmp_path: Path) -> None:
    job = ["pointseg.active", *TINY[:-1], "~dataset.scale", "crops.number=8", "query.distance=2"]
    job += ["start=3", "random=[5]", "hydra.run.dir=sweep/seed0"]
    first = command(*job, "rounds=[5]")
    assert first.code == 0, first.output
    runs = [tmp_path / f"sweep/seed0/{name}" for name in ("random_budget3", "suggested_budget5", "suggested_budget8")]
    before = {file: file.stat().st_mtime_ns for file in runs[1].rglob("*.*")}
    more = command(*job, "rounds=[5,8]")
    assert more.code == 0, more.output
    assert more.output.count("this run is finished") == 3
    assert {file: file.stat().st_mtime_ns for file in before} == before
    points = [read(run, "Tile 1") for run in runs]
    assert [len(found) for found in points] == [27, 45, 72]
    assert points[0] < points[1] < points[2]
    assert len({read(run, "Tile 2") == read(runs[0], "Tile 2") for run in runs}) == 1
    (tmp_path / "sweep").rename(tmp_path / "moved")
    again = command(*job[:-1], "hydra.run.dir=moved/seed0", "rounds=[5,8]")
    assert again.output.count("this run is finished") == 4, again.output

    reported = command("pointseg.report", "sweep=moved", "name=active", "examples=0")
    assert reported.code == 0, reported.output
    tables = sections(tmp_path / "experiments/active")
    assert row(tables["Scores"], arm="suggested, budget 8")["seeds"] == "1"
    assert row(tables["Random points needed for the same mIoU"], points="72")["arm"] == "suggested"

    refused = command(*job[:-1], "hydra.run.dir=moved/seed0", "rounds=[5,8]", "+random_=[5]")
    assert "random_" in refused.output
    assert "Traceback" not in refused.output
