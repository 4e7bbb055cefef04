"""Labels from elsewhere: files of any origin, lines and polygons, and which image of a run is which."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pointseg.annotation import identity, kept, names, shapes
from pointseg.datasets.field import field, kept_points, labelled_ground
from pointseg.errors import InputError
from pointseg.imagery.paths import TAG, find
from pointseg.imagery.rasters import open_rasters
from pointseg.suggestions.margin import Rules, choose
from pointseg.training.data import PointData
from pointseg.types import Dataset
from tests.cases import more_points  # noqa: F401 (adds its own to CASES)
from tests.cases.points import CASES, SPLIT, Told, outcome
from tests.site import CRS, ORIGIN, frame, write_image
from tests.support.field_points import reader

SAND, WATER = shapely.box(10, 10, 40, 30), shapely.box(60, 40, 64, 44)  # 600 and 16 pixels


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_label_has_its_place_and_class_or_is_refused_in_a_sentence(
    case: Callable[[Path], Told], tmp_path: Path
) -> None:
    word, wanted, reason = outcome(case, tmp_path)
    assert word == wanted, reason


def test_labels_outside_that_would_lie_inside_with_x_and_y_exchanged_are_counted(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    rasters = open_rasters({"a": tmp_path / "a.tif"})
    table = frame([(3, 4, "sand"), (50, 60, "water"), (90, 100, "sand"), (500, 4, "sand")]).to_crs("EPSG:4326")
    x, y, turned = table.geometry.x, table.geometry.y, np.array([False, True, True, False])
    wrong = pd.DataFrame({"x": np.where(turned, y, x), "y": np.where(turned, x, y), "class": table["class"]})
    wrong[:2].to_csv(tmp_path / "p.csv", index=False)
    wrong[2:].to_csv(tmp_path / "q.csv", index=False)
    files = [tmp_path / "p.csv", tmp_path / "q.csv"]
    with pytest.raises(InputError, match=r"3 labels lie in no scene.* 2 of these 3 "):
        reader(crs="EPSG:4326", outside="refuse").read(files, rasters)
    assert reader(crs="EPSG:4326").read(files, rasters)[["row", "col"]].to_numpy().tolist() == [[3, 4]]


def write_shapes(file: Path, pixels: dict[str, list[shapely.Geometry]]) -> None:
    """Shapes in pixels, by class, on the map of the site."""
    a, b, c, d, e, f = ORIGIN[:6]
    classes = [name for name, of_class in pixels.items() for _ in of_class]
    located = [
        shapely.transform(shape, lambda xy: xy @ [[a, d], [b, e]] + [c, f])
        for of_class in pixels.values()
        for shape in of_class
    ]
    geopandas.GeoDataFrame({"class": classes}, geometry=located, crs=CRS).to_file(file)


def read(tmp_path: Path, shapes: dict[str, list[shapely.Geometry]], **options: object) -> pd.DataFrame:
    write_image(tmp_path / "a.tif")
    write_shapes(tmp_path / "p.gpkg", shapes)
    return reader(**options).read([tmp_path / "p.gpkg"], open_rasters({"a": tmp_path / "a.tif"}))


def test_polygons_and_lines_give_as_many_pixels_each_however_large_they_are(tmp_path: Path) -> None:
    line = shapely.LineString([(70, 80), (120, 60)])
    table = read(tmp_path, {"sand": [SAND, line], "water": [WATER]}, per_shape=10)
    assert table.groupby("point").size().tolist() == [10, 10, 10]
    for point, shape in enumerate((SAND, line, WATER)):
        centres = shapely.points(*(table[table["point"] == point][axis] + 0.5 for axis in ("col", "row")))
        assert (shapely.distance(shape, centres) < 0.75).all()
        assert not table[table["point"] == point].duplicated(["row", "col"]).any()
    every = read(tmp_path, {"sand": [SAND], "water": [WATER]}, per_shape=1000)
    assert every.groupby("name").size().to_dict() == {"sand": 600, "water": 16}
    again = read(tmp_path, {"water": [WATER], "sand": [line, SAND]}, per_shape=10)
    assert set(map(tuple, again[["row", "col"]].to_numpy())) == set(map(tuple, table[["row", "col"]].to_numpy()))


def test_a_shape_smaller_than_a_pixel_is_that_pixel_and_one_that_crosses_itself_its_inside(tmp_path: Path) -> None:
    tiny = shapely.box(20.1, 30.1, 20.2, 30.2)
    bow = shapely.Polygon([(50, 50), (70, 70), (70, 50), (50, 70)])
    table = read(tmp_path, {"sand": [tiny], "water": [bow]}, per_shape=1000)
    assert table[table["name"] == "sand"][["row", "col"]].to_numpy().tolist() == [[30, 20]]
    water = table[table["name"] == "water"]
    assert 180 <= len(water) <= 220  # two triangles of 100
    assert not ((water["row"] == 51) & (water["col"] == 60)).any()  # above their crossing


def test_pixels_of_two_classes_are_of_neither_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    over = shapely.box(30, 0, 60, 40)
    table = read(tmp_path, {"sand": [SAND], "water": [over]}, per_shape=1000)
    assert table.groupby("name").size().to_dict() == {"sand": 400, "water": 1000}
    assert (table[table["name"] == "sand"]["col"] < 30).all()
    caplog.clear()
    nested = {"sand": [shapely.box(32, 5, 34, 8), SAND], "water": [over, WATER]}
    assert read(tmp_path, nested, per_shape=1000).groupby("name").size().to_dict() == {"sand": 400, "water": 1010}
    assert re.search(r" 412 .* 1 .*sand 1", caplog.text)  # left out; the shape that has no other pixels
    with pytest.raises(InputError, match="none of its 2 labels"):
        read(tmp_path, {"sand": [SAND], "water": [SAND]})


def test_two_points_that_contradict_each_other_are_refused_and_a_point_in_a_shape_is_itself(tmp_path: Path) -> None:
    point = shapely.Point(20.5, 15.5)
    table = read(tmp_path, {"sand": [SAND], "water": [point]}, per_shape=1000)
    assert table.groupby("name").size().to_dict() == {"sand": 599, "water": 1}
    with pytest.raises(InputError, match=r"annotation\.contradicting=skip"):
        read(tmp_path, {"sand": [point], "water": [point]})


def test_a_shape_is_clipped_to_its_scene_and_spends_its_budget_once(tmp_path: Path) -> None:
    for name, offset in (("a", 0), ("b", 128)):
        write_image(tmp_path / f"{name}.tif", offset=offset)
    write_shapes(tmp_path / "p.gpkg", {"sand": [shapely.box(100, 50, 300, 60)], "water": [shapely.box(600, 0, 610, 9)]})
    rasters = open_rasters({name: tmp_path / f"{name}.tif" for name in "ab"})
    table = reader(per_shape=40).read([tmp_path / "p.gpkg"], rasters)
    assert set(table["name"]) == {"sand"}
    assert len(table) == 40
    assert (table["scene"] == 0).sum() == pytest.approx(40 * 28 / 156, abs=8)
    assert table["point"].nunique() == 1
    with pytest.raises(InputError, match=r" 1 .*'water' at x"):
        reader(outside="refuse").read([tmp_path / "p.gpkg"], rasters)


def test_pixels_without_data_are_not_drawn(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", nodata=0, hole=(slice(0, 28), slice(0, 128)))
    write_shapes(tmp_path / "p.gpkg", {"sand": [SAND], "water": [WATER], "grass": [shapely.box(1, 1, 9, 9)]})
    rasters = open_rasters({"a": tmp_path / "a.tif"})
    table = reader(per_shape=1000).read([tmp_path / "p.gpkg"], rasters)
    assert table.groupby("name").size().to_dict() == {"sand": 60, "water": 16}
    with pytest.raises(InputError, match=r" 1 .*'grass'.*annotation\.nodata=skip"):
        reader(nodata="refuse").read([tmp_path / "p.gpkg"], rasters)


def test_a_shape_is_held_out_as_a_whole(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    each = [shapely.box(12 * i, 12 * j, 12 * i + 9, 12 * j + 9) for i in range(10) for j in range(7)]
    write_shapes(tmp_path / "p.gpkg", {"sand": each[::2], "water": each[1::2]})
    options = {**SPLIT, "images": str(tmp_path / "a.tif"), "points": str(tmp_path / "p.gpkg")}
    built = field(annotation=reader(per_shape=20), **options)
    tree = shapely.STRtree(each)
    held = []
    for split in ("train", "val"):
        (scene,) = built.splits[split]
        points = scene.points  # type: ignore[attr-defined]
        held.append(set(tree.query(shapely.points(points.cols + 0.5, points.rows + 0.5), predicate="within")[1]))
    assert not held[0] & held[1]
    assert len(held[0] | held[1]) == len(each)
    assert len(held[1]) >= 5


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.integers(0, 99))
def test_the_sample_of_a_shape_is_the_same_in_strips(width: int, height: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = shapely.convex_hull(shapely.MultiPoint(rng.random((8, 2)) * (width, height)))
    whole = shapes.candidates([shape], (60, 60), 10_000)
    few = shapes.candidates([shape], (60, 60), count)
    assert len(few["row"]) == min(len(whole["row"]), shapes.SPARE * count)
    kept_ = pytest.MonkeyPatch()
    with kept_.context() as patch:
        patch.setattr(shapes, "STRIP", 64)
        parts = shapes.candidates([shape], (60, 60), 10_000)
    assert sorted(zip(parts["row"], parts["col"], strict=True)) == sorted(zip(whole["row"], whole["col"], strict=True))


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1", "01"), ("-0", "0"), ("Água", "ÁGUA"), ("straße", "STRASSE"), ("a  b", "a\u00a0b")],
)
def test_names_that_are_one(one: str, other: str) -> None:
    assert names.key(one) == names.key(other)


@pytest.mark.parametrize(("one", "other"), [("1", "10"), ("1", "1.5"), ("a", "á"), ("nan", "0"), ("1e3", "1000")])
def test_names_that_are_two(one: str, other: str) -> None:
    assert names.key(one) != names.key(other)


# A run and its images


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of points of a run on x/a.tif and y/a.tif, which show other ground."""
    for name, offset in (("x", 0), ("y", 5000)):
        write_image(tmp_path / f"{name}/a.tif", offset=offset)
    clicks = [
        (row, col, ("sand", "water")[(row + col) // 8 % 2]) for row in range(4, 96, 8) for col in range(4, 128, 8)
    ]
    frame(clicks).to_file(tmp_path / "p.gpkg")
    frame([(2, 2, "sand"), (9, 9, "water"), (50, 60, "sand")], ORIGIN * ORIGIN.translation(5000, 0)).to_file(
        tmp_path / "q.gpkg"
    )
    built = dataset(tmp_path, str(tmp_path / "*/a.tif"), [str(tmp_path / f"{name}.gpkg") for name in "pq"])
    scenes = [scene for split in built.splits.values() for scene in split]
    for scene in scenes:
        kept.save(built.points[scene.id], tmp_path / "points", scene, built.classes, drawn=False)  # type: ignore[index]
    identity.save(tmp_path / "points", scenes)
    return tmp_path / "points"


def dataset(folder: Path, images: str, points: list[str]) -> Dataset:
    return field(annotation=reader(), **{**SPLIT, "images": images, "points": points})


def test_an_image_of_a_run_is_known_by_its_file_whatever_is_opened_beside_it(run: Path, tmp_path: Path) -> None:
    (alone,) = open_rasters(find(str(tmp_path / "x/a.tif"), "input"))
    assert alone.id == "a"
    assert len(kept_points(run, alone)) == 192
    write_image(tmp_path / "z/a.tif", offset=9000)
    (another,) = open_rasters(find(str(tmp_path / "z/a.tif"), "input"))
    assert kept_points(run, another).empty
    assert labelled_ground(run, another)["row"].between(0, 95).sum() + 1  # those of other ground, beside it
    (tmp_path / "link.tif").symlink_to(tmp_path / "y/a.tif")
    (linked,) = open_rasters(find(str(tmp_path / "link.tif"), "input"))
    assert len(kept_points(run, linked)) == 3


def test_a_run_whose_images_have_moved_knows_them_by_their_ids(run: Path, tmp_path: Path) -> None:
    shutil.move(tmp_path / "x", tmp_path / "elsewhere")
    (moved,) = open_rasters({"x/a": tmp_path / "elsewhere/a.tif"})
    assert len(kept_points(run, moved)) == 192
    (run / identity.FILE).unlink()  # kept before there was that file
    assert len(kept_points(run, moved)) == 192


def pixels_of(built: Dataset) -> set[tuple[int, int]]:
    scenes = [scene for split in built.splits.values() for scene in split]
    return {pixel for scene in scenes for pixel in zip(scene.points.rows, scene.points.cols, strict=True)}  # type: ignore[attr-defined]


def test_points_of_a_run_keep_their_ground_on_an_image_delivered_again(run: Path, tmp_path: Path) -> None:
    """Under its name, but from 10 rows further north and 6 columns further east."""
    write_image(tmp_path / "x/a.tif", (96, 140), transform=ORIGIN * ORIGIN.translation(6, -10))
    (raster,) = open_rasters(find(str(tmp_path / "x/a.tif"), "input"))
    clicks = {(row + 10, col - 6) for row in range(4, 86, 8) for col in range(12, 128, 8)}
    found = kept_points(run, raster)
    assert set(zip(found["row"], found["col"], strict=True)) == clicks
    again = dataset(tmp_path, str(tmp_path / "x/a.tif"), [str(run)])
    assert pixels_of(again) == clicks
    own = SimpleNamespace(dataset=again, folder=run)  # as on resuming
    scenes = [scene for split in again.splits.values() for scene in split]
    assert sum(len(PointData._points(own, scene)) for scene in scenes) == len(clicks)  # type: ignore[arg-type]


def test_points_of_a_run_are_not_put_on_another_site_of_the_same_name(run: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "x/a.tif", offset=900)
    with pytest.raises(InputError, match=r"no points on these images.*x/a\.tif"):
        dataset(tmp_path, str(tmp_path / "x/a.tif"), [str(run)])
    write_image(tmp_path / "x/a.tif", (100, 100), crs=None)  # a plain picture, which no map joins to it
    with pytest.raises(InputError, match=r"x/a\.tif.*100×100"):
        dataset(tmp_path, str(tmp_path / "x/a.tif"), [str(run)])
    (raster,) = open_rasters(find(str(tmp_path / "x/a.tif"), "input"))
    assert kept_points(run, raster).empty


def test_a_run_is_read_again_when_more_images_lie_beside_its_own(run: Path, tmp_path: Path) -> None:
    os.makedirs(tmp_path / "x/deeper")
    write_image(tmp_path / "x/deeper/b.tif", offset=9000)
    images = [str(tmp_path / "x"), str(tmp_path / "x/deeper")]
    built = field(annotation=reader(), **{**SPLIT, "images": images, "points": str(run)})
    assert {scene.id for split in built.splits.values() for scene in split} == {"x/a", "x/a (val)"}


def test_another_image_of_labelled_ground_has_its_labels_as_taken(run: Path, tmp_path: Path) -> None:
    """At half the resolution, and from one pixel to the right."""
    coarse = ORIGIN * ORIGIN.translation(2, 0) * ORIGIN.scale(2)
    write_image(tmp_path / "later.tif", (48, 60), transform=coarse)
    (raster,) = open_rasters(find(str(tmp_path / "later.tif"), "input"))
    assert kept_points(run, raster).empty
    ground = labelled_ground(run, raster)
    (own,) = open_rasters(find(str(tmp_path / "x/a.tif"), "input"))
    expected = kept_points(run, own)
    assert len(expected) == 192
    there = np.sort(((expected[["row", "col"]] + 0.5 - [0, 2]) / 2 - 0.5).to_numpy(float), 0)
    near = ground[ground["col"] < 1000]
    assert np.sort(near.to_numpy(float), 0) == pytest.approx(there, abs=1e-6)


def test_no_place_is_suggested_in_two_images_of_it(tmp_path: Path) -> None:
    write_image(tmp_path / "may.tif")
    write_image(tmp_path / "june.tif")
    write_image(tmp_path / "far.tif", offset=5000)
    rasters = open_rasters({name: tmp_path / f"{name}.tif" for name in ("may", "june", "far")})
    rng = np.random.default_rng(0)
    pixels = pd.DataFrame({"scene": rng.integers(0, 3, 3000), "row": rng.integers(0, 96, 3000)})
    pixels = pixels.assign(col=rng.integers(0, 128, 3000), predicted=0, margin=rng.random(3000))
    none = pd.DataFrame({"scene": [], "row": [], "col": []})
    chosen = choose(pixels, none, Rules(60, 1.0, 12, 0), identity.elsewhere(rasters))
    ground = chosen[chosen["scene"] < 2]
    places = ground[["row", "col"]].to_numpy(float)
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) + 1e9 * np.eye(len(places))
    assert set(ground["scene"]) == {0, 1}
    assert apart.min() >= 12
    assert (chosen["scene"] == 2).any()


# Images


def test_maps_beside_the_images_are_no_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_image(tmp_path / "b_confidence.tif")
    write_image(tmp_path / "b.tif")  # the user's own
    for name in ("a", "a_confidence"):
        write_image(tmp_path / f"maps/{name}.tif")
    import rasterio

    with rasterio.open(tmp_path / "maps/a_confidence.tif", "r+") as written:
        written.update_tags(**{TAG: "key"})
    (tmp_path / "maps/a_preview.jpg").write_bytes(b"picture")
    assert set(find(str(tmp_path), "input")) == {"a", "b", "b_confidence"}
    assert set(find(str(tmp_path / "maps/a.tif"), "input")) == {"a"}  # asked for by name


def test_ids_keep_what_is_no_suffix(tmp_path: Path) -> None:
    for name in ("S2.2023.06", "S2.2023.07"):
        write_image(tmp_path / f"{name}.tif")
        os.rename(tmp_path / f"{name}.tif", tmp_path / name)
    assert set(find(str(tmp_path / "S2*"), "input")) == {"S2.2023.06", "S2.2023.07"}
