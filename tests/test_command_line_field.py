"""From imagery and labelled points to a map, as a user runs it."""

import re
from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from PIL import Image

from tests.conftest import Outcome
from tests.site import CRS, NAMES, frame, pixels, write_image
from tests.support.command_line_field import TRAIN, write_site

Command = Callable[..., Outcome]


def test_from_points_to_a_map_and_its_polygons(command: Command, tmp_path: Path) -> None:
    write_site(tmp_path)
    trained = command("pointseg.train", *TRAIN)
    assert trained.code == 0, trained.output
    assert re.search(r" 75 .* 1 of 2 ", trained.output)  # labelled pixels, scenes
    (tmp_path / "field.gpkg").unlink()  # the run has all that predicting needs
    job = ("pointseg.predict", "run=run", "input=site", "output=maps", "polygons=true", "flips=true", "sieve=20")
    mapped = command(*job)
    assert mapped.code == 0, mapped.output
    labels = write_image(tmp_path / "truth.tif", (160, 192))
    names = sorted(NAMES)
    for name in "ab":
        with rasterio.open(tmp_path / f"maps/{name}.tif") as dataset:
            assert dataset.crs == CRS
            predicted = dataset.read(1)
        agreement = (np.array(names)[predicted] == np.array(NAMES)[labels]).mean()
        assert agreement > 0.75, agreement  # by chance: a third
        assert set(geopandas.read_file(tmp_path / f"maps/{name}.gpkg")["class"]) == set(NAMES)
        with Image.open(tmp_path / f"maps/{name}_preview.jpg") as preview:
            assert preview.width > 3 * 192
    again = command(
        "pointseg.predict", "run=run", "input=site", "output=maps", "polygons=true", "flips=true", "sieve=20"
    )
    assert again.code == 0
    suggested = command("pointseg.suggest", "run=run", "input=site", "output=next.gpkg", "count=20", "distance=10")
    assert suggested.code == 0, suggested.output
    assert len(geopandas.read_file(tmp_path / "next.gpkg")) == 20
    (table := geopandas.read_file(tmp_path / "next.gpkg"))["class"] = "sand"
    table.to_file(tmp_path / "next.gpkg")
    frame(pixels(labels, 25)).to_file(tmp_path / "field.gpkg")
    more = command(
        "pointseg.train", *TRAIN[:-1], "points=[field.gpkg,next.gpkg]", "trainer.max_epochs=1", "hydra.run.dir=more"
    )
    assert more.code == 0, more.output
    assert re.search(r"field\.gpkg, next\.gpkg.* 95 ", more.output)
    scored = command("pointseg.evaluate", "run=run", "split=val")
    assert scored.code == 0, scored.output
    assert "accuracy" in scored.output


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Callable[..., str]:
    write_site(tmp_path)

    def run(module: str, *arguments: str) -> str:
        result = command(module, *arguments)
        assert result.code not in (0, None)
        assert "Traceback" not in result.output, result.output
        return result.output

    return run


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("points=null", "points: "),
        ("points=nowhere.gpkg", "nowhere.gpkg: "),
        ("dataset.images=nowhere/*.tif", "dataset.images=nowhere/*.tif: "),
        ("annotation.column=kind", "annotation.column"),
        ("annotation=drawn", "annotation=given"),
        ("dataset.val=0", "dataset.val=0"),
        ("dataset.block=100000", "dataset.block"),
        ("dataset.bands=[1,9]", "dataset.bands"),
        ("dataset.classes=[sand,grass]", "water (25)"),
        ("crops.number=0", "crops.number=0: "),
        ("annotation.outside=drop", "annotation.outside=drop: "),
    ],
)
def test_a_wrong_option_of_training(refused: Callable[..., str], override: str, message: str) -> None:
    assert message in refused("pointseg.train", *TRAIN, override)


def test_given_points_need_imagery_without_masks(refused: Callable[..., str]) -> None:
    output = refused(
        "pointseg.train",
        "annotation=given",
        "dataset=synthetic",
        "model.weights=null",
        "hydra.run.dir=run",
        "dataset.tiles=24",
    )
    assert "dataset=field" in output


def test_what_cannot_be_predicted(refused: Callable[..., str], command: Command, tmp_path: Path) -> None:
    assert command("pointseg.train", *TRAIN, "trainer.max_epochs=1").code == 0
    job = ("pointseg.predict", "run=run", "input=site/a.tif", "output=map.tif")
    write_image(tmp_path / "rgb.tif")
    (tmp_path / "map.tif").write_text("mine")
    assert "map.tif: " in refused(*job)
    for override, message in {
        "run=nowhere": "run=nowhere: not the folder of a run",
        "checkpoint=first": "has no first.ckpt",
        "input=rgb.tif": "rgb.tif",
        "input=field.gpkg": "field.gpkg: ",
        "input=site": "output=map.tif: ",
        "output=map.jpg": "output=map.jpg: ",
        "overlap=64": "overlap=64",
        "accelerator=cuda": "accelerator=cuda: ",
        "inptu=site": "inptu",
        "+polygon=true": "'polygons'",
    }.items():
        assert message in refused(*job, override), override
    assert "input: " in refused("pointseg.predict", "run=run", "output=m.tif")
    assert "train, val" in refused("pointseg.evaluate", "run=run")
    suggestion = ("pointseg.suggest", "run=run", "input=site", "output=next.gpkg")
    assert "output=map.tif: " in refused(*suggestion, "output=map.tif")
    assert "output=field.gpkg: " in refused(*suggestion, "output=field.gpkg")
    assert "count=0" in refused(*suggestion, "count=0")
    assert (tmp_path / "map.tif").read_text() == "mine"
