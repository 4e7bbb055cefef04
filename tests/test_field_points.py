"""Points that a person labelled, from files to the scenes of a dataset."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine

from pointseg.annotation import places
from pointseg.annotation.readers.labels import on_map
from pointseg.datasets.field import HELD_OUT, PointScene, field
from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.types import IGNORE, RGB, Dataset, Points, Window
from tests.site import CRS, NAMES, ORIGIN, frame, pixels, write_image
from tests.support.field_points import placed, reader

SPLIT = {"bands": None, "classes": None, "not_land_cover": [], "val": 0.25, "test": 0.0, "block": 8, "split_seed": 0}


@pytest.fixture
def raster(tmp_path: Path) -> Raster:
    write_image(tmp_path / "a.tif")
    return open_rasters({"a": tmp_path / "a.tif"})[0]


@pytest.fixture
def clicks(tmp_path: Path, raster: Raster) -> list[tuple[int, int, str]]:
    return pixels(write_image(tmp_path / "a.tif"))


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp"])
@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:3857"])
def test_every_format_and_crs_gives_the_same_pixels(
    suffix: str, crs: str, tmp_path: Path, raster: Raster, clicks: list[tuple[int, int, str]]
) -> None:
    frame(clicks).to_crs(crs).to_file(tmp_path / f"field.{suffix}")
    assert placed(tmp_path / f"field.{suffix}", [raster]) == {(0, *click) for click in clicks}


def test_a_csv_has_map_coordinates_or_rows_and_columns(
    tmp_path: Path, raster: Raster, clicks: list[tuple[int, int, str]]
) -> None:
    field = frame(clicks)
    degrees = field.to_crs("EPSG:4326")
    columns = {
        "xy": field.assign(x=field.geometry.x, y=field.geometry.y),
        "degrees": degrees.assign(lon=degrees.geometry.x, lat=degrees.geometry.y),
        "pixels": field.assign(row=[row for row, _, _ in clicks], col=[col for _, col, _ in clicks]),
    }
    for name, table in columns.items():
        table.drop(columns="geometry").to_csv(tmp_path / f"{name}.csv", index=False)
        crs = CRS if name == "xy" else None
        assert placed(tmp_path / f"{name}.csv", [raster], crs=crs) == {(0, *click) for click in clicks}
    with pytest.raises(InputError, match=r"xy\.csv.*annotation\.crs"):
        placed(tmp_path / "xy.csv", [raster])
    with pytest.raises(InputError, match=r"annotation\.crs="):
        placed(tmp_path / "xy.csv", [raster], crs="EPSG:99999999")


def test_rows_and_columns_of_several_scenes_need_their_scene(tmp_path: Path) -> None:
    for name in "ab":
        write_image(tmp_path / f"{name}.png", crs=None)
    rasters = open_rasters({name: tmp_path / f"{name}.png" for name in "ab"})
    (tmp_path / "p.csv").write_text("Scene;ROW;col;class\na;1;2;x\nb.png;3;4;y\nc;5;6;y\n")
    assert placed(tmp_path / "p.csv", rasters) == {(0, 1, 2, "x"), (1, 3, 4, "y")}
    with pytest.raises(InputError, match=r"1 .*'y' at row 5, col 6 .* 96 rows"):
        placed(tmp_path / "p.csv", rasters, outside="refuse")
    (tmp_path / "q.csv").write_text("row,col,class\n1,2,x\n")
    with pytest.raises(InputError, match=" scene"):
        placed(tmp_path / "q.csv", rasters)
    frame([(1, 1, "x")]).to_file(tmp_path / "p.gpkg")
    with pytest.raises(InputError, match=r"a\.png: "):
        placed(tmp_path / "p.gpkg", rasters)


@given(st.integers(0, 95), st.integers(0, 127), st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(-3, 3))
def test_any_place_in_a_pixel_is_that_pixel_on_a_turned_map_too(
    row: int, col: int, down: float, right: float, turn: float
) -> None:
    turned = ORIGIN * Affine.rotation(turn * 60)
    scene = Raster("a", Path("a"), (96, 128), RGB, CRS, turned)
    x, y = turned * (col + right, row + down)
    table = geopandas.GeoDataFrame({"class": ["x"]}, geometry=geopandas.points_from_xy([x], [y]), crs=CRS)
    (found,) = places.find(on_map(Path("p"), table, "class", None), [scene])
    placed = places.pixels([found], np.array(["x"], object), [scene], 1)
    assert (placed["row"].item(), placed["col"].item()) == (row, col)


def test_a_feature_without_a_place_is_refused_by_its_number(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    points = frame([(20, 20, "sand"), (30, 30, "water"), (40, 40, "water")])
    points.loc[1, "geometry"] = None
    points.to_file(tmp_path / "p.gpkg")
    with pytest.raises(InputError, match=r"p\.gpkg: 1 .* 1"):
        placed(tmp_path / "p.gpkg", open_rasters({"a": tmp_path / "a.tif"}))


def test_what_cannot_be_used_is_counted_and_left_out_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_image(tmp_path / "a.tif", nodata=0, hole=(slice(0, 10), slice(0, 10)))
    rasters = open_rasters({"a": tmp_path / "a.tif"})
    used = [(20, 20, "sand"), (30, 30, "water")]
    odd = [(500, 3, "sand"), (-1, 3, "sand"), (5, 5, "sand"), (20, 20, "sand"), (40, 40, "")]
    frame([*used, *odd]).to_file(tmp_path / "p.gpkg")
    assert placed(tmp_path / "p.gpkg", rasters) == {(0, *click) for click in used}
    assert ": 2 labels " in caplog.text
    assert ": 1 label " in caplog.text
    for rule, count in (("outside", 2), ("nodata", 1)):
        with pytest.raises(InputError, match=rf"{count} .*annotation\.{rule}=skip"):
            placed(tmp_path / "p.gpkg", rasters, **{rule: "refuse"})
    frame([*used, (20, 20, "water")]).to_file(tmp_path / "q.gpkg")
    with pytest.raises(InputError, match=r" 2 .*annotation\.contradicting=skip"):
        placed(tmp_path / "q.gpkg", rasters)
    assert placed(tmp_path / "q.gpkg", rasters, contradicting="skip") == {(0, *used[1])}
    frame(odd[:2]).to_file(tmp_path / "r.gpkg")
    with pytest.raises(InputError, match=" 2 "):
        placed(tmp_path / "r.gpkg", rasters)


def test_a_file_that_is_none_of_points_is_refused(tmp_path: Path, raster: Raster) -> None:
    frame([(1, 1, "x")]).to_file(tmp_path / "p.gpkg")
    with pytest.raises(InputError, match=r"'kind'.*annotation\.column.*class"):
        placed(tmp_path / "p.gpkg", [raster], column="kind")
    with pytest.raises(InputError, match=r"nowhere\.gpkg: "):
        placed(tmp_path / "nowhere.gpkg", [raster])
    frame([(2, 2, "x")]).to_file(tmp_path / "p.gpkg", layer="more")
    with pytest.raises(InputError, match=r"p, more.*annotation\.layer"):
        placed(tmp_path / "p.gpkg", [raster])
    assert placed(tmp_path / "p.gpkg", [raster], layer="more") == {(0, 2, 2, "x")}
    (tmp_path / "bad.gpkg").write_bytes(b"not a database")
    with pytest.raises(InputError, match=r"bad\.gpkg: "):
        placed(tmp_path / "bad.gpkg", [raster])
    (tmp_path / "p.csv").write_text("row,col,class\n1,2,x\none,2,x\n")
    with pytest.raises(InputError, match=r"p\.csv, line 3: row .*'one'"):
        placed(tmp_path / "p.csv", [raster])
    (tmp_path / "q.csv").write_text("a,b,class\n1,2,x\n")
    with pytest.raises(InputError, match=r"row.* col.* x.* y"):
        placed(tmp_path / "q.csv", [raster])


def dataset(tmp_path: Path, clicks: list[tuple[int, int, str]], **options: Any) -> Dataset:
    frame(clicks).to_file(tmp_path / "field.gpkg")
    arguments: dict[str, Any] = {"images": str(tmp_path / "*.tif"), "points": str(tmp_path / "field.gpkg")}
    return field(annotation=reader(), **{**SPLIT, **arguments, **options})


def of(split: Any) -> set[tuple[float, float, int]]:
    return {
        triple
        for scene in split
        for triple in zip(scene.points.rows, scene.points.cols, scene.points.labels, strict=True)
    }


def test_points_are_divided_without_loss_by_whole_blocks(tmp_path: Path, clicks: list[tuple[int, int, str]]) -> None:
    built = dataset(tmp_path, clicks, val=0.25, test=0.25)
    assert built.classes == tuple(sorted(NAMES))
    parts = [of(built.splits[name]) for name in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(clicks)
    expected = {(float(row), float(col), built.classes.index(name)) for row, col, name in clicks}
    assert set.union(*parts) == expected
    blocks = [{(row // 8, col // 8) for row, col, _ in part} for part in parts]
    assert sum(map(len, blocks)) == len(set.union(*blocks))
    assert all(0.1 * len(clicks) <= len(part) <= 0.4 * len(clicks) for part in parts[1:])
    assert {label for _, _, label in parts[0]} == {0, 1, 2}
    again = dataset(tmp_path, clicks, val=0.25, test=0.25)
    other = dataset(tmp_path, clicks, val=0.25, test=0.25, split_seed=1)
    assert of(again.splits["val"]) == parts[1] != of(other.splits["val"])


def test_the_last_point_of_a_class_stays_in_training(tmp_path: Path, raster: Raster) -> None:
    clicks = [(5, 5, "rare"), *[(20, 8 * i + 4, "common") for i in range(15)]]
    for seed in range(20):
        built = dataset(tmp_path, clicks, val=0.5, split_seed=seed)
        assert built.classes.index("rare") in {label for _, _, label in of(built.splits["train"])}
    with pytest.raises(InputError, match=r"dataset\.block"):
        dataset(tmp_path, [(5, 5, "x"), (50, 50, "y")])


def test_a_point_in_two_scenes_is_held_out_of_both(tmp_path: Path) -> None:
    labels = write_image(tmp_path / "a.tif")
    write_image(tmp_path / "b.tif", offset=64)  # its left half is the right half of a
    clicks = [click for click in pixels(labels, 20) if click[1] >= 64]
    built = dataset(tmp_path, clicks, block=1, val=0.3)
    on_map = [
        {(row, col + 64 * scene.group.startswith("b")) for scene in split for row, col, _ in of([scene])}
        for split in (built.splits["train"], built.splits["val"])
    ]
    assert not on_map[0] & on_map[1]
    assert sum(len(of([scene])) for split in built.splits.values() for scene in split) == 2 * len(clicks)


def test_a_scene_s_truth_is_known_at_its_points_alone(raster: Raster) -> None:
    scene = PointScene("a", raster, Points(np.array([3.0, 50.0]), np.array([4.0, 60.0]), np.array([1, 2])))
    mask = scene.mask(Window(0, 0, 96, 128))
    assert mask[3, 4] == 1
    assert mask[50, 60] == 2
    assert (mask != IGNORE).sum() == 2
    assert scene.has_truth(Window(0, 0, 10, 10))
    assert not scene.has_truth(Window(10, 10, 10, 10))


def test_classes_and_colours_can_be_given(tmp_path: Path, clicks: list[tuple[int, int, str]]) -> None:
    colours = {"water": "#0000FF", "sand": "#FFFF00", "grass": "#00FF00", "road": "#111111"}
    built = dataset(tmp_path, clicks, classes=colours)
    assert built.classes == ("water", "sand", "grass", "road")
    assert built.palette.tolist()[:2] == [[0, 0, 255], [255, 255, 0]]
    with pytest.raises(InputError, match=r"sand \(12\), water \(12\)"):
        dataset(tmp_path, clicks, classes=["grass", "road"])


def test_a_run_s_points_give_the_same_dataset(tmp_path: Path, clicks: list[tuple[int, int, str]]) -> None:
    from pointseg.annotation.kept import save

    built = dataset(tmp_path, clicks)
    for split in built.splits.values():
        for scene in split:
            assert isinstance(scene, PointScene)
            save(scene.points, tmp_path / "points", scene, built.classes, drawn=False)
    again = dataset(tmp_path, clicks[:5], points=str(tmp_path / "points"))
    assert again.classes == built.classes
    for name in ("train", "val"):
        assert of(again.splits[name]) == of(built.splits[name])
    assert set(HELD_OUT) == {"train", "val", "test"}


def test_several_files_are_one_set_of_points(tmp_path: Path, raster: Raster) -> None:
    frame([(1, 1, "x"), (2, 2, "y")]).to_file(tmp_path / "old.gpkg")
    frame([(3, 3, "x"), (1, 1, "x")]).to_crs("EPSG:4326").to_file(tmp_path / "new.geojson")
    table = reader().read([tmp_path / "old.gpkg", tmp_path / "new.geojson"], [raster])
    assert set(table[["row", "col", "name"]].itertuples(index=False, name=None)) == {
        (1, 1, "x"),
        (2, 2, "y"),
        (3, 3, "x"),
    }
    assert table["point"].is_unique
    frame([(2, 2, "x")]).to_file(tmp_path / "contrary.gpkg")
    with pytest.raises(InputError, match=": 2 labels"):
        reader().read([tmp_path / "old.gpkg", tmp_path / "contrary.gpkg"], [raster])


def test_points_added_later_move_none_of_the_others(tmp_path: Path) -> None:
    labels = write_image(tmp_path / "a.tif")
    every = pixels(labels, 60)
    before, after = dataset(tmp_path, every[::2]), dataset(tmp_path, every)
    for name in ("train", "val"):
        assert of(before.splits[name]) <= of(after.splits[name])


def test_what_is_held_out_is_said_and_rare_names_are_asked_about(
    tmp_path: Path, clicks: list[tuple[int, int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    dataset(tmp_path, [*clicks, (90, 90, "sadn")])
    assert "sadn (1)" in caplog.text


SPELLINGS = {
    "case": "SAND",
    "no-break space": "\u00a0sand ",
    "zero-width space": "sa\u200bnd",
    "soft hyphen": "sa\u00adnd",
    "byte-order mark": "\ufeffsand",
    "full width": "\uff53\uff41\uff4e\uff44",
    "tab": "sand\t",
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings_of_one_name_are_one_class(
    spelling: str, tmp_path: Path, clicks: list[tuple[int, int, str]], caplog: pytest.LogCaptureFixture
) -> None:
    first = next(i for i, click in enumerate(clicks) if click[2] == "sand")
    row, col, _ = clicks[first]
    built = dataset(tmp_path, [*clicks[:first], (row, col, spelling), *clicks[first + 1 :]])
    assert built.classes == tuple(sorted(NAMES))
    expected = {(float(row), float(col), sorted(NAMES).index(name)) for row, col, name in clicks}
    assert of(built.splits["train"]) | of(built.splits["val"]) == expected
    assert ascii(spelling) in caplog.text
