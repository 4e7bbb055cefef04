"""Files as QGIS opens them: names, colours, lists to choose from."""

import json
import os
import shutil
import sqlite3
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas
import numpy as np
import pytest

from pointseg import qgis
from pointseg.imagery.rasters import open_rasters
from pointseg.maps import formats
from pointseg.maps.predict import predict_map
from pointseg.suggestions.margin import Rules, choose
from pointseg.suggestions.suggest import write
from tests.conftest import ROOT
from tests.site import NAMES, write_image
from tests.support.field_points import reader
from tests.support.maps import PALETTE
from tests.test_maps import SMALL, model
from tests.test_suggestions import NONE, pixels

HEX = ["#00ff00", "#ffff00", "#0000ff"]


@cache
def python() -> str | None:
    """The interpreter that has QGIS: that of the system, as packages put it there."""
    for name in ("/usr/bin/python3", shutil.which("python3")):
        tried = name and subprocess.run([name, "-c", "import qgis.core"], capture_output=True, check=False, env=_bare())
        if tried and tried.returncode == 0:
            return name
    return None


def _bare() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))}
    return kept | {"QT_QPA_PLATFORM": "offscreen"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A map with its polygons, and points to be labelled."""
    write_image(tmp_path / "a.tif")
    scene = open_rasters({"a": tmp_path / "a.tif"})[0]
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    formats.write_polygons(tmp_path / "map.tif", scene, NAMES, PALETTE, simplify=0.0)
    chosen = choose(pixels(0, scenes=1), NONE, Rules(12, 0.1, 3, 0))
    write(chosen, [scene], NAMES, PALETTE, tmp_path / "next.gpkg")
    return tmp_path


@pytest.mark.skipif(python() is None, reason="QGIS is not installed")
def test_qgis_shows_what_was_meant_and_saves_what_is_chosen(files: Path) -> None:
    names = ("map.tif", "map_confidence.tif", "map.gpkg", "next.gpkg")
    job = [str(python()), str(ROOT / "tests/qgis_reads.py"), *(str(files / name) for name in names), "rock"]
    done = subprocess.run(job, capture_output=True, text=True, check=False, env=_bare(), timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["map"] == {"type": "paletted", "legend": [list(pair) for pair in zip(NAMES, HEX, strict=True)]}
    assert found["confidence"]["type"] == "singlebandpseudocolor"
    assert found["confidence"]["range"][1] <= 1  # as the legend has it, whatever the file's bytes are
    assert [value for value, _ in found["confidence"]["legend"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [tuple(pair) for pair in found["polygons"]] == list(zip(NAMES, HEX, strict=True))
    points = found["points"]
    assert points["widgets"]["class"] == "ValueMap"
    assert points["choices"] == [*NAMES, ""]  # the last says how to add a class, and is none itself
    assert points["categories"][:-1] == list(NAMES)
    assert points["sorted by"] == '"margin"'
    assert points["saved"], points["problems"]
    table = reader().read([files / "next.gpkg"], open_rasters({"a": files / "a.tif"}))
    assert table["name"].tolist() == ["rock"]  # a class that the list does not have


def test_gdal_reads_the_names_of_the_classes(files: Path) -> None:
    names = ElementTree.parse(files / "map.tif.aux.xml").findall("PAMRasterBand[@band='1']/CategoryNames/Category")
    assert [name.text for name in names] == list(NAMES)
    palette = ElementTree.parse(files / "map.qml").findall("pipe/rasterrenderer/colorPalette/paletteEntry")
    assert [(entry.get("value"), entry.get("label"), entry.get("color")) for entry in palette] == [
        (str(i), name, colour) for i, (name, colour) in enumerate(zip(NAMES, HEX, strict=True))
    ]


def test_a_geopackage_keeps_its_style_and_is_still_one_layer_of_points(files: Path) -> None:
    with sqlite3.connect(files / "next.gpkg") as database:
        columns = "f_table_name, f_geometry_column, useAsDefault, styleQML"
        ((layer, geometry, default, style),) = database.execute(f"SELECT {columns} FROM layer_styles")
        kinds = dict(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
    assert (layer, geometry, default) == ("next", "geom", 1)
    assert kinds == {"next": "features", "layer_styles": "attributes"}
    assert ElementTree.fromstring(style).tag == "qgis"
    points = geopandas.read_file(files / "next.gpkg", layer="next")
    points["class"] = NAMES[1]
    points.to_file(files / "next.gpkg", layer="next")
    table = reader().read([files / "next.gpkg"], open_rasters({"a": files / "a.tif"}))
    assert len(table) == 12


@pytest.mark.parametrize("name", ['a "b" & <c>', "Straße", "it's"])
def test_names_of_classes_may_have_any_sign(name: str, tmp_path: Path) -> None:
    names, palette = (name, "b"), np.zeros((2, 3), np.uint8)
    qgis.write_class_style(tmp_path / "map.tif", names, palette)
    entry = ElementTree.parse(tmp_path / "map.qml").find("pipe/rasterrenderer/colorPalette/paletteEntry")
    assert entry is not None
    assert entry.get("label") == name
    choices = ElementTree.fromstring(qgis.points_to_label(names, palette, "class")).iter("Option")
    assert name in {choice.get("value") for choice in choices}
