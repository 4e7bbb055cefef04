"""Commands that write for a person, killed in the middle: nothing half-written has the name of something whole."""

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pointseg.errors import InputError
from pointseg.evaluation.assess import assess_map
from pointseg.evaluation.sample import sample
from pointseg.imagery.rasters import open_rasters
from pointseg.maps import formats
from pointseg.maps.predict import predict_map
from tests.conftest import SPAWN
from tests.site import NAMES, truth
from tests.support.maps import PALETTE
from tests.test_assess import SHAPE, config, label, write_map
from tests.test_maps import SMALL, band, model, raster

KILLS = [signal.SIGTERM, signal.SIGKILL]


def _die(at: str, number: signal.Signals, job: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    owner, _, name = at.rpartition(".")
    setattr(resolve_name(owner), name, lambda *_, **__: os.kill(os.getpid(), number))
    job(*arguments)


def killed(at: str, number: signal.Signals, job: Callable[..., object], *arguments: Any) -> None:
    """Run the job in a process that gets the signal when `at` is called."""
    process = SPAWN.Process(target=_die, args=(at, number, job, arguments))
    process.start()
    process.join(100)
    if process.is_alive():
        process.kill()
        pytest.fail("it hangs")
    assert process.exitcode == -number


def whole(folder: Path) -> set[str]:
    """Names that somebody would take for those of results: neither hidden nor of folders of strips."""
    return {file.name for file in folder.iterdir() if not file.name.startswith(".") and file.suffix != ".partial"}


def make_map(folder: Path) -> None:
    scene = open_rasters({"a": folder / "a.tif"})[0]
    assert predict_map(model(), scene, folder / "map.tif", SMALL)


def make_polygons(folder: Path) -> None:
    scene = open_rasters({"a": folder / "a.tif"})[0]
    formats.write_polygons(folder / "map.tif", scene, NAMES, PALETTE, simplify=0.0)


@pytest.fixture
def ground(tmp_path: Path) -> np.ndarray:
    labels = truth(*SHAPE)
    write_map(tmp_path / "map.tif", labels)
    return labels


@pytest.mark.parametrize("number", KILLS)
def test_a_sample(tmp_path: Path, ground: np.ndarray, number: signal.Signals) -> None:
    cfg = config("sample", map=str(tmp_path / "map.tif"), output=str(tmp_path / "s.gpkg"), count=90)
    killed("pointseg.qgis.save_style", number, sample, cfg)  # when all points are in the file
    assert whole(tmp_path) == {"map.tif"}
    sample(cfg)
    assert {file.name for file in tmp_path.iterdir()} == {"map.tif", "s.gpkg"}
    with sqlite3.connect(tmp_path / "s.gpkg") as database:
        assert database.execute("SELECT count(*) FROM layer_styles").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM s").fetchone() == (90,)


def test_an_assessment_is_that_of_one_sample(tmp_path: Path, ground: np.ndarray) -> None:
    options = {"map": str(tmp_path / "map.tif"), "output": str(tmp_path / "out")}
    for name, count in (("a", 90), ("b", 120)):
        sample(config("sample", map=options["map"], output=str(tmp_path / f"{name}.gpkg"), count=count))
        label(tmp_path / f"{name}.gpkg", ground)
    first, second = (config("assess", points=str(tmp_path / f"{name}.gpkg"), **options) for name in "ab")
    assess_map(first)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    for number in KILLS:
        killed("pointseg.plots.assessment", number, assess_map, second)
        assert {name: (tmp_path / "out" / name).read_bytes() for name in whole(tmp_path / "out")} == before
    assess_map(second)
    assert pd.read_csv(tmp_path / "out/classes.csv")["points_true"].sum() == 120
    assert {file.name for file in (tmp_path / "out").iterdir()} == set(before)


@pytest.mark.parametrize("number", KILLS)
@pytest.mark.parametrize(
    ("at", "there"),
    [("pointseg.maps.formats._write_raw", set()), ("pointseg.qgis.write_confidence_style", {"map.tif"})],
)
def test_a_map(tmp_path: Path, at: str, there: set[str], number: signal.Signals) -> None:
    _, labels = raster(tmp_path)
    killed(at, number, make_map, tmp_path)
    images = {name for name in whole(tmp_path) if name.endswith(".tif")} - {"a.tif"}
    assert images == there
    begun = {name: band(tmp_path / name) for name in images}
    make_map(tmp_path)
    for found in (*begun.values(), band(tmp_path / "map.tif")):
        assert (found == labels).all()
    assert not [file.name for file in tmp_path.iterdir() if "partial" in file.name]
    assert band(tmp_path / "map_confidence.tif").shape == labels.shape


def test_polygons(tmp_path: Path) -> None:
    raster(tmp_path)
    make_map(tmp_path)
    killed("pointseg.qgis.save_style", signal.SIGKILL, make_polygons, tmp_path)
    assert not (tmp_path / "map.gpkg").exists()
    make_polygons(tmp_path)
    with sqlite3.connect(tmp_path / "map.gpkg") as database:
        assert database.execute("SELECT count(*) FROM layer_styles").fetchone() == (1,)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, ground: np.ndarray) -> None:
    shut = Path("/proc/pointseg")  # refuses even the superuser, whom permissions do not stop
    options = {"map": str(tmp_path / "map.tif")}
    with pytest.raises(InputError, match=r"/proc/pointseg/s\.gpkg"):
        sample(config("sample", **options, output=str(shut / "s.gpkg"), count=90))
    sample(config("sample", **options, output=str(tmp_path / "s.gpkg"), count=90))
    label(tmp_path / "s.gpkg", ground)
    with pytest.raises(InputError, match="/proc/pointseg/"):
        assess_map(config("assess", **options, points=str(tmp_path / "s.gpkg"), output=str(shut)))
    scene, _ = raster(tmp_path)
    with pytest.raises(InputError, match="/proc/pointseg/"):
        predict_map(model(), scene, shut / "map.tif", SMALL)
