"""pointseg in a notebook: the same runs, maps and scores as the commands'."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio

import pointseg
from pointseg.errors import InputError
from pointseg.interactive import Model
from tests.site import NAMES, frame, pixels, write_image

SMALL = ("model.encoder=null", "crop_size=32", "overlap=8", "dataset.block=8", "trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a site, with spaces")
    labels = write_image(folder / "a.tif")
    frame(pixels(labels)).rename(columns={"class": "kind"}).to_file(folder / "field.gpkg")
    return folder


@pytest.fixture(scope="module")
def model(site: Path) -> Model:
    return pointseg.fit(site / "a.tif", site / "field.gpkg", column="kind", overrides=SMALL)


def test_scores_are_those_that_the_run_keeps(model: Model) -> None:
    table = model.score()
    kept = json.loads((model.folder / "scores.json").read_text())["val"]
    assert table.loc["accuracy", "value"] == kept["accuracy"]
    assert {f"iou/{name}" for name in NAMES} < set(table.index)
    assert not [name for name in table.index if "low" in name or "high" in name]
    there = table[table["value"].notna()]
    assert (there["low"] <= there["value"]).all()
    assert (there["value"] <= there["high"]).all()
    assert (there["low"] < there["high"]).all()
    assert len(there) > 8
    assert "<table" in table._repr_html_()


def test_a_map_a_picture_and_points(model: Model, site: Path, tmp_path: Path) -> None:
    (file,) = model.predict(site / "a.tif", tmp_path / "map.tif", polygons=True)
    assert file == tmp_path / "map.tif"
    assert file.with_suffix(".gpkg").exists()
    with rasterio.open(file) as dataset:
        assert len(np.unique(dataset.read(1))) == 3
    before = sorted(site.iterdir())
    picture = model.show(site / "a.tif")
    assert picture.width > 3 * 128
    assert model.show(site / "a.tif", smooth=2).size == picture.size  # again, and otherwise
    suggested = model.suggest([site / "a.tif"], 6, distance=5)
    assert isinstance(suggested, geopandas.GeoDataFrame)
    assert (len(suggested), suggested["margin"].is_monotonic_increasing) == (6, True)
    assert sorted(site.iterdir()) == before
    model.suggest(site / "a.tif", 4, tmp_path / "next.gpkg", distance=5)
    assert len(geopandas.read_file(tmp_path / "next.gpkg", layer="next")) == 4


def test_what_is_saved_is_loaded_and_gives_the_same_map(model: Model, site: Path, tmp_path: Path) -> None:
    maps = []
    temporary = model.folder
    model.save(tmp_path / "kept")
    assert model.folder == tmp_path / "kept"
    for folder, name in ((tmp_path / "kept", "a"), (temporary, "b")):
        (file,) = pointseg.load(folder).predict(site / "a.tif", tmp_path / f"{name}.tif")
        with rasterio.open(file) as dataset:
            maps.append(dataset.read(1))
    assert (maps[0] == maps[1]).all()
    with pytest.raises(InputError, match="exists"):
        model.save(tmp_path / "kept")
    with pytest.raises(InputError, match="not the folder of a run"):
        pointseg.load(tmp_path)


def test_a_key_that_the_command_has_not_is_refused(model: Model, site: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="polygons"):
        model.predict(site / "a.tif", tmp_path / "map.tif", polygon=True)


def test_pointseg_alone_imports_no_torch() -> None:
    code = "import pointseg, sys; print(pointseg.__version__, 'torch' in sys.modules, hasattr(pointseg, 'nothing'))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [pointseg.__version__, "False", "False"]
