"""From a map to a sample, and from the labelled sample to areas and accuracy."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
import rasterio
from omegaconf import DictConfig, OmegaConf
from pyproj import Geod, Transformer
from rasterio.transform import from_origin, rowcol

from pointseg.config import CONF
from pointseg.errors import InputError
from pointseg.evaluation.assess import assess_map, text
from pointseg.evaluation.class_map import open_map
from pointseg.evaluation.sample import sample
from pointseg.types import IGNORE
from tests.site import CRS, NAMES, ORIGIN, truth

SHAPE = (160, 208)


def write_map(file: Path, labels: np.ndarray, names: tuple[str, ...] = NAMES, **profile: Any) -> None:
    """As pointseg predict writes it."""
    options = {"driver": "GTiff", "crs": CRS, "transform": ORIGIN, "nodata": IGNORE, **profile}
    size = {"height": labels.shape[0], "width": labels.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(file, "w", **options, **size) as dataset:
        dataset.update_tags(**{f"CLASS_{i}": name for i, name in enumerate(names)})
        dataset.write(labels.astype(np.uint8), 1)


def config(command: str, **options: Any) -> DictConfig:
    merged = OmegaConf.merge(OmegaConf.load(CONF / f"{command}.yaml"), options)
    assert isinstance(merged, DictConfig)
    return merged


@pytest.fixture
def ground() -> np.ndarray:
    return truth(*SHAPE)


@pytest.fixture
def mapped(tmp_path: Path, ground: np.ndarray) -> np.ndarray:
    """A map that takes a fifth of the grass for sand, with a corner without data."""
    labels = ground.copy()
    wrong = np.random.default_rng(0).random(SHAPE) < 0.2
    labels[wrong & (ground == 0)] = 1
    labels[:20, :30] = IGNORE
    write_map(tmp_path / "map.tif", labels)
    return labels


def label(file: Path, ground: np.ndarray) -> None:
    """What the person does: the class of the ground at each point."""
    points = geopandas.read_file(file, layer=file.stem)
    rows, cols = rowcol(ORIGIN, points.geometry.x, points.geometry.y)
    points["class"] = [NAMES[i] for i in ground[rows, cols]]
    points.to_file(file, layer=file.stem)


@pytest.fixture
def labelled(tmp_path: Path, mapped: np.ndarray, ground: np.ndarray) -> Path:
    file = tmp_path / "sample.gpkg"
    sample(config("sample", map=str(tmp_path / "map.tif"), output=str(file), count=300))
    label(file, ground)
    return file


def test_a_sample_is_at_random_in_its_strata_and_tells_nothing(tmp_path: Path, mapped: np.ndarray) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        output = str(tmp_path / f"{name}.gpkg")
        sample(config("sample", map=str(tmp_path / "map.tif"), output=output, count=120, allocation="equal", seed=seed))
    first, same, other = (geopandas.read_file(tmp_path / f"{name}.gpkg", layer=name) for name in "abc")
    assert first.equals(same)
    assert not first.geometry.equals(other.geometry)
    rows, cols = rowcol(ORIGIN, first.geometry.x, first.geometry.y)
    classes = mapped[rows, cols]
    assert np.bincount(classes).tolist() == [40, 40, 40]
    assert len(set(zip(rows, cols, strict=True))) == 120
    assert set(first["class"]) == {""}
    assert not [name for name in first if set(first[name].astype(str)) & set(NAMES)]
    for number, part in first.groupby("stratum"):
        (own,) = set(classes[part.index])
        assert set(part["stratum_pixels"]) == {(mapped == own).sum()}, number
        assert part["stratum_area"].to_numpy() == pytest.approx((mapped == own).sum() * 0.25 / 10_000)
        assert set(part["inclusion"]) == {40 / (mapped == own).sum()}
    assert len(set(classes[:30])) == 3  # in random order


def test_every_pixel_of_a_class_can_be_drawn(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 0, 1], [1, 0, IGNORE, 1], [0, 0, 1, 0]])
    write_map(tmp_path / "map.tif", labels, NAMES[:2])
    output = tmp_path / "all.gpkg"
    sample(config("sample", map=str(tmp_path / "map.tif"), output=str(output), count=11, least=2))
    points = geopandas.read_file(output, layer="all")
    rows, cols = rowcol(ORIGIN, points.geometry.x, points.geometry.y)
    assert set(zip(rows, cols, strict=True)) == set(zip(*np.nonzero(labels != IGNORE), strict=True))


def test_areas_and_accuracy_of_a_map_that_is_wrong(tmp_path: Path, labelled: Path, ground: np.ndarray) -> None:
    assess_map(config("assess", map=str(tmp_path / "map.tif"), points=str(labelled)))
    folder = tmp_path / "sample_assessment"
    rows = pd.read_csv(folder / "classes.csv").set_index("class")
    valid = np.ones(SHAPE, bool)
    valid[:20, :30] = False
    areas = np.bincount(ground[valid], minlength=3) * 0.25 / 10_000
    for name, area in zip(NAMES, areas, strict=True):
        assert rows.loc[name, "area_low"] < area < rows.loc[name, "area_high"]
    # The map takes a fifth of the grass for sand; the estimate does not.
    assert rows.loc["grass", "mapped_area"] < rows.loc["grass", "area_low"]
    assert rows.loc["grass", "users_accuracy"] == 1
    mapped_so = rows.loc["grass", "points_mapped"]
    assert rows.loc["grass", "users_accuracy_low"] == pytest.approx(0.025 ** (1 / mapped_so), abs=0.01)
    assert rows.loc["grass", "users_accuracy_high"] == 1
    assert set(rows["unit"]) == {"hectares"}
    assert rows.loc["grass", "producers_accuracy"] == pytest.approx(0.8, abs=0.08)
    assert rows["area"].sum() == pytest.approx(areas.sum())
    content = json.loads((folder / "assessment.json").read_text())
    assert content["unit"] == "hectares"
    points = np.array(content["matrix"]["points"])
    assert points.sum() == 300
    assert rows[["points_mapped", "points_true"]].to_numpy().tolist() == [
        [*pair] for pair in zip(points.sum(1), points.sum(0), strict=True)
    ]
    assert content["overall_accuracy"]["low"] < content["overall_accuracy"]["value"] < 1
    matrix = pd.read_csv(folder / "matrix.csv", index_col="mapped")
    assert matrix.loc["sand", "grass"] > 0.03 > matrix.loc["grass", "sand"]  # rows: the map
    assert (folder / "assessment.png").stat().st_size > 10_000


def test_another_map_is_assessed_by_the_same_sample(tmp_path: Path, labelled: Path, ground: np.ndarray) -> None:
    write_map(tmp_path / "right.tif", ground)
    assess_map(config("assess", map=str(tmp_path / "right.tif"), points=str(labelled), output=str(tmp_path / "out")))
    rows = pd.read_csv(tmp_path / "out/classes.csv")
    assert rows[["users_accuracy", "producers_accuracy", "f1"]].to_numpy() == pytest.approx(1)
    assert (rows["area_error"] > 0).all()  # how much there is of each is as unsure as before


def test_a_plain_picture_is_counted_in_pixels(tmp_path: Path, ground: np.ndarray) -> None:
    write_map(tmp_path / "map.tif", ground, crs=None, transform=rasterio.Affine.identity())
    options = {"map": str(tmp_path / "map.tif")}
    with pytest.raises(InputError, match=r"\.csv"):
        sample(config("sample", **options, output=str(tmp_path / "s.gpkg"), count=90))
    sample(config("sample", **options, output=str(tmp_path / "s.csv"), count=90))
    points = pd.read_csv(tmp_path / "s.csv")
    points["class"] = [NAMES[i] for i in ground[points["row"], points["col"]]]
    points.to_csv(tmp_path / "s.csv", index=False)
    assess_map(config("assess", **options, points=str(tmp_path / "s.csv")))
    rows = pd.read_csv(tmp_path / "s_assessment/classes.csv")
    assert rows["area"].tolist() == pytest.approx(np.bincount(ground.ravel()).tolist())


def test_a_pixel_in_degrees_has_the_area_that_it_has_on_the_ellipsoid(tmp_path: Path) -> None:
    """The closed form of the area between two parallels (Snyder 1987, equation 3-12)."""
    step, north, rows = 0.25, 60.0, 80
    write_map(tmp_path / "map.tif", np.zeros((rows, 4)), crs="EPSG:4326", transform=from_origin(10, north, step, step))
    found = open_map(tmp_path / "map.tif", None).pixel_areas
    major, flattening = 6_378_137.0, 1 / 298.257223563
    e = np.sqrt(flattening * (2 - flattening))
    sine = np.sin(np.radians(north - step * np.arange(rows + 1)))
    q = (1 - e**2) * (sine / (1 - (e * sine) ** 2) + np.arctanh(e * sine) / e)
    assert found * 10_000 == pytest.approx(major**2 / 2 * np.radians(step) * -np.diff(q), rel=1e-4)
    assert found[0] / found[-1] == pytest.approx(0.65, abs=0.02)  # and not all alike


def test_areas_of_a_projection_that_stretches_are_those_on_the_ground(tmp_path: Path, ground: np.ndarray) -> None:
    at_sixty_degrees = from_origin(1_000_000, 8_400_000, 10, 10)
    write_map(tmp_path / "map.tif", ground, crs="EPSG:3857", transform=at_sixty_degrees)
    found = open_map(tmp_path / "map.tif", None).pixel_areas
    corners = [(1_000_000, 8_400_000), (1_000_010, 8_400_000), (1_000_010, 8_399_990), (1_000_000, 8_399_990)]
    degrees = Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform(*zip(*corners, strict=True))
    square_metres = abs(Geod(ellps="WGS84").polygon_area_perimeter(*degrees)[0])
    assert found[0] * 10_000 == pytest.approx(square_metres, rel=0.01)  # a quarter of what the map says
    write_map(tmp_path / "map.tif", ground)
    assert np.ptp(open_map(tmp_path / "map.tif", None).pixel_areas) == 0


def test_points_that_were_drawn_otherwise(tmp_path: Path, mapped: np.ndarray, ground: np.ndarray) -> None:
    flat = np.random.default_rng(0).choice(np.flatnonzero(mapped != IGNORE), 200, replace=False)
    rows, cols = np.unravel_index(flat, SHAPE)
    points = pd.DataFrame({"class": [NAMES[i] for i in ground[rows, cols]], "row": rows, "col": cols})
    points.to_csv(tmp_path / "p.csv", index=False)
    options = {"map": str(tmp_path / "map.tif"), "points": str(tmp_path / "p.csv")}
    with pytest.raises(InputError, match="design=simple"):
        assess_map(config("assess", **options))
    found = {}
    for design in ("simple", "classes"):
        assess_map(config("assess", **options, design=design, output=str(tmp_path / design)))
        found[design] = pd.read_csv(tmp_path / design / "classes.csv").set_index("class")
    share = (points["class"] == "water").mean()
    total = (mapped != IGNORE).sum() * 0.25 / 10_000
    assert found["simple"].loc["water", "area"] == pytest.approx(share * total)
    assert found["classes"].loc["water", "area_error"] < found["simple"].loc["water", "area_error"]  # the map helps


def test_what_cannot_be_sampled(tmp_path: Path, mapped: np.ndarray) -> None:
    good = {"map": str(tmp_path / "map.tif"), "output": str(tmp_path / "s.gpkg"), "count": 100}
    (tmp_path / "there.gpkg").write_text("labels")
    write_map(tmp_path / "foreign.tif", mapped, ())
    for wrong, message in (
        ({"map": "nowhere.tif"}, "nowhere.tif"),
        ({"map": str(tmp_path / "foreign.tif")}, "classes="),
        ({"map": str(tmp_path / "foreign.tif"), "classes": {"a": 0, "b": 1}}, "value 2"),
        ({"output": str(tmp_path / "there.gpkg")}, "exists"),
        ({"output": "s.shp"}, r"\.gpkg"),
        ({"count": 10}, "least=20"),
        ({"count": None}, "error"),
        ({"error": 0.01}, "count"),
        ({"error": 0.0001, "count": None}, r"1\d,\d{3},000 points"),
        ({"allocation": "optimal"}, "neyman"),
        ({"accuracy": {"sand": 0.9}}, "accuracy"),
    ):
        with pytest.raises(InputError, match=message):
            sample(config("sample", **{**good, **wrong}))
    assert (tmp_path / "there.gpkg").read_text() == "labels"


Change = Callable[[geopandas.GeoDataFrame], geopandas.GeoDataFrame]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda points: points.assign(**{"class": ""}), "300 of the 300"),
        (lambda points: points.iloc[:-7], "7 of the 300"),
        (lambda points: pd.concat([points, points.iloc[:1]]), "more than were drawn"),
        (lambda points: points.assign(**{"class": "gras"}), "gras"),
        (lambda points: points.drop(columns="stratum_area"), "stratum_area"),
        (lambda points: points.assign(stratum_area=range(len(points))), "restore"),
        (lambda points: points.drop(columns=["lon", "lat"]).set_geometry(points.translate(5000)), "no class"),
        (lambda points: points.translate(3), r"300 of 300 .* 3 m"),
        (
            lambda points: points.set_geometry(pd.concat([points.translate(5)[:1], points.geometry[1:]])),
            r"1 of 300 .* 5 m",
        ),
        (lambda points: points.geometry[::-1].reset_index(drop=True), "of 300 points"),
    ],
)
def test_what_cannot_be_assessed(tmp_path: Path, labelled: Path, change: Change, message: str) -> None:
    points = geopandas.read_file(labelled, layer="sample")
    changed = change(points)
    if isinstance(changed, geopandas.GeoSeries):
        changed = points.set_geometry(changed)
    changed.to_file(tmp_path / "bad.gpkg")
    options = {"map": str(tmp_path / "map.tif"), "points": str(tmp_path / "bad.gpkg")}
    with pytest.raises(InputError, match=message):
        assess_map(config("assess", **options))


def test_points_in_another_crs_and_nudged_within_their_pixels_have_not_moved(tmp_path: Path, labelled: Path) -> None:
    points = geopandas.read_file(labelled, layer="sample")
    options = {"map": str(tmp_path / "map.tif"), "points": str(labelled)}
    assess_map(config("assess", **options, output=str(tmp_path / "a")))
    points.set_geometry(points.translate(0.1, -0.1)).to_crs("EPSG:3857").to_file(labelled, layer="sample")
    assess_map(config("assess", **options, output=str(tmp_path / "b")))
    assert (tmp_path / "a/classes.csv").read_text() == (tmp_path / "b/classes.csv").read_text()


def test_spellings_of_one_class_are_that_class(tmp_path: Path, labelled: Path) -> None:
    points = geopandas.read_file(labelled, layer="sample")
    options = {"map": str(tmp_path / "map.tif"), "points": str(labelled)}
    assess_map(config("assess", **options, output=str(tmp_path / "a")))
    points["class"] = [(str.upper, str.title, " {} ".format)[i % 3](name) for i, name in enumerate(points["class"])]
    points.to_file(labelled, layer="sample")
    assess_map(config("assess", **options, output=str(tmp_path / "b")))
    assert (tmp_path / "a/classes.csv").read_text() == (tmp_path / "b/classes.csv").read_text()


def test_the_table_keeps_its_columns_apart_and_counts_pixels_whole() -> None:
    values = {"area": 3.4e9, "users_accuracy": 0.9, "producers_accuracy": float("nan"), "f1": 0.8}
    parts = {f"{name}{part}": [value] for name, value in values.items() for part in ("", "_error", "_low", "_high")}
    counts = {
        "class": ["a class with a very long name"],
        "points_mapped": [7],
        "points_true": [6],
        "mapped_area": [3e9],
    }
    whole = dict.fromkeys(("value", "error", "low", "high"), 0.5)
    lines = text(pd.DataFrame(counts | parts), whole, "pixels").splitlines()
    area = "3,400,000,000"
    row = [*counts["class"], "7", "6", "3,000,000,000", area, area, f"{area} to {area}"]
    assert row in [re.split(r"\s{2,}", line) for line in lines]
    assert sum("nan" in line for line in lines) == 0


def test_points_left_unlabelled_can_be_left_out(tmp_path: Path, labelled: Path) -> None:
    points = geopandas.read_file(labelled, layer="sample")
    points.loc[:9, "class"] = None
    points.to_file(tmp_path / "part.gpkg")
    options = {"map": str(tmp_path / "map.tif"), "points": str(tmp_path / "part.gpkg")}
    assess_map(config("assess", **options, unlabelled="skip"))
    content = json.loads((tmp_path / "part_assessment/assessment.json").read_text())
    assert content["points"] == 290


def test_a_class_that_the_map_misses(tmp_path: Path, labelled: Path) -> None:
    points = geopandas.read_file(labelled, layer="sample")
    points.loc[points["class"] == "water", "class"] = "ice"
    points.to_file(tmp_path / "ice.gpkg")
    options = {"map": str(tmp_path / "map.tif"), "points": str(tmp_path / "ice.gpkg")}
    assess_map(config("assess", **options, others="keep"))
    rows = pd.read_csv(tmp_path / "ice_assessment/classes.csv").set_index("class")
    assert rows.loc["ice", "mapped_area"] == 0
    assert rows.loc["ice", "producers_accuracy"] == 0
    assert np.isnan(rows.loc["ice", "users_accuracy"])
    assert rows.loc["ice", "area"] > 0.1
