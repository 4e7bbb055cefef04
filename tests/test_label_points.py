"""The session behind the labelling page: what it writes, what it keeps, what it refuses."""

import multiprocessing
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import Affine, from_origin

from pointseg.annotation.given import Given
from pointseg.errors import InputError
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.labelling.layer import FUNCTIONS
from pointseg.labelling.records import Pixel
from pointseg.labelling.session import Session, open_points
from tests.site import CRS, ORIGIN, frame, write_image

ROTATED = Affine(0.4, 0.3, 300_000, 0.3, -0.4, 2_800_000)
SOUTH_UP = Affine(0.5, 0, 300_000, 0, 0.5, 2_799_000)
DEGREES = from_origin(55.0, 25.0, 5e-6, 5e-6)
GRIDS = {
    "north up": (CRS, ORIGIN),
    "rotated": (CRS, ROTATED),
    "south up": (CRS, SOUTH_UP),
    "degrees": ("EPSG:4326", DEGREES),
    "feet": ("EPSG:2263", from_origin(980_000, 200_000, 1.5, 1.5)),
}


def begun(folder: Path, points: str = "field.gpkg", images: str = "site") -> Session:
    scenes = open_rasters(find(str(folder / images), "images"))
    return Session(scenes, open_points(folder / points, scenes, "class", None))


def trained_on(file: Path, scenes: list[Raster]) -> set[tuple[int, int, int, str]]:
    """The labelled pixels that `train` makes of the file."""
    table = Given("class", None, None, "refuse", "refuse", "refuse").read([file], scenes)
    return set(table[["scene", "row", "col", "name"]].itertuples(index=False, name=None))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write_image(tmp_path / "site/a.tif")
    return tmp_path


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS)
def test_a_click_is_the_centre_of_its_pixel_on_every_grid(crs: str, transform: Affine, tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif", crs=crs, transform=transform)
    session = begun(tmp_path)
    clicked = [(0, 0), (95, 127), (17, 80), (40, 3)]
    for row, col in clicked:
        session.place(Pixel(0, row, col), f"{row}")
    written = geopandas.read_file(tmp_path / "field.gpkg").to_crs(crs)
    truth = [transform * (col + 0.5, row + 0.5) for row, col in clicked]
    pixel = abs(transform.determinant) ** 0.5
    found = np.column_stack([written.geometry.x, written.geometry.y])
    assert np.abs(found - truth).max() < 0.01 * pixel
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(0, row, col, f"{row}") for row, col in clicked}


def test_scenes_of_other_systems_share_a_file(tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif")
    write_image(tmp_path / "site/b.tif", crs="EPSG:32639", transform=from_origin(500_000, 2_800_000, 0.5, 0.5))
    session = begun(tmp_path)
    session.place(Pixel(0, 5, 6), "sand")
    session.place(Pixel(1, 7, 90), "water")
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(0, 5, 6, "sand"), (1, 7, 90, "water")}


def test_a_point_on_two_scenes_labels_both(tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif")
    write_image(tmp_path / "site/b.tif", offset=100)
    session = begun(tmp_path)
    session.place(Pixel(1, 20, 3), "sand")
    assert session.labelled() == {Pixel(0, 20, 103): "sand", Pixel(1, 20, 3): "sand"}
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(0, 20, 103, "sand"), (1, 20, 3, "sand")}


def test_what_the_page_does_not_know_of_stays(site: Path) -> None:
    file = site / "field.gpkg"
    points = frame([(3, 4, "grass"), (50, 60, "sand")]).assign(seen="by whom", height=[1.5, 2.5])
    points.to_crs("EPSG:4326").to_file(file, layer="points")
    other = geopandas.GeoDataFrame({"a": [1]}, geometry=geopandas.points_from_xy([1], [2]), crs="EPSG:3857")
    other.to_file(file, layer="other")
    scenes = open_rasters(find(str(site / "site"), "images"))
    session = Session(scenes, open_points(file, scenes, "class", "points"))
    assert session.labelled() == {Pixel(0, 3, 4): "grass", Pixel(0, 50, 60): "sand"}
    number = session.at[Pixel(0, 3, 4)][0]
    session.classify(number, "water")
    session.move(number, Pixel(0, 9, 10))
    session.place(Pixel(0, 30, 31), "sand")
    session.remove(session.at[Pixel(0, 50, 60)][0])
    session.undo()
    written = geopandas.read_file(file, layer="points")
    assert sorted(zip(written["class"], written["height"].fillna(0), strict=True)) == [
        *(("sand", 0.0), ("sand", 2.5), ("water", 1.5)),
    ]
    assert list(written["seen"].dropna()) == ["by whom"] * 2
    assert geopandas.read_file(file, layer="other").geometry[0].x == 1
    with rasterio.open(session.scenes[0].file) as dataset:
        near = geopandas.read_file(file, layer="points", bbox=tuple(frame([(9, 10, "")]).to_crs(4326).total_bounds))
        assert dataset.count == 3
    assert list(near["class"]) == ["water"], "the spatial index has not followed the point"


SQUARE = [(20.0, 30.0), (20.0, 60.0), (50.0, 60.0), (50.0, 30.0)]  # corners, as row and col


@pytest.mark.parametrize(("crs", "transform"), GRIDS.values(), ids=GRIDS)
def test_lines_and_polygons_lie_where_they_are_drawn_on_every_grid(crs: str, transform: Affine, tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif", crs=crs, transform=transform)
    session = begun(tmp_path)
    session.outline(0, SQUARE, True, "sand")
    session.outline(0, [(80.5, 3.5), (80.5, 120.5)], False, "grass")
    session.place(Pixel(0, 0, 0), "water")
    written = geopandas.read_file(tmp_path / "field.gpkg", layer="field_polygons").to_crs(crs)
    corners = np.array(written.geometry[0].exterior.coords)[:4]
    truth = np.array([transform * (col, row) for row, col in SQUARE])
    assert np.abs(corners - truth).max() < 0.01 * abs(transform.determinant) ** 0.5
    labelled = session.labelled()
    of_sand = [pixel for pixel, name in labelled.items() if name == "sand"]
    assert len(of_sand) == 50
    assert all(20 <= row < 50 and 30 <= col < 60 for _, row, col in of_sand)
    of_grass = [pixel for pixel, name in labelled.items() if name == "grass"]
    assert len(of_grass) == 50
    assert {row for _, row, _ in of_grass} == {80}
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(*pixel, name) for pixel, name in labelled.items()}


def test_the_page_labels_the_pixels_that_training_labels(tmp_path: Path) -> None:
    """Where shapes overlap, points contradict them, data is missing, and several scenes show the ground."""
    write_image(tmp_path / "site/a.tif", nodata=0, hole=(slice(20, 30), slice(30, 50)))
    write_image(tmp_path / "site/b.tif", offset=50)
    session = begun(tmp_path)
    session.outline(0, SQUARE, True, "sand")
    session.outline(1, [(40, 0), (40, 40), (70, 40)], True, "grass")
    session.outline(1, [(5, 5), (90, 40)], False, "water")
    session.outline(0, [(1, 1), (1, 3), (3, 3), (3, 1)], True, "water")  # of fewer pixels than are wanted
    for pixel in [pixel for pixel, name in session.labelled().items() if name == "sand"][::3]:
        session.place(pixel, "water")
    labelled = session.labelled()
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(*pixel, name) for pixel, name in labelled.items()}
    assert begun(tmp_path).labelled() == labelled
    assert {name for name, count in session.labelled_counts().items() if count > 30} == {"sand", "grass", "water"}


def test_a_shape_wholly_under_others_is_said(site: Path) -> None:
    session = begun(site)
    session.outline(0, SQUARE, True, "sand")
    session.outline(0, [(22, 32), (22, 40), (30, 40)], True, "grass")
    assert set(session.labelled().values()) == {"sand"}
    assert [note.bad for note in session.notes] == [True]
    session.undo()
    session.redo()
    assert len(session.notes) == 2
    assert {name for *_, name in trained_on(site / "field.gpkg", session.scenes)} == {"sand"}


def test_shapes_of_another_program_are_taken_as_they_are(site: Path) -> None:
    """Of another CRS, of several parts, with a hole; in a file whose layers QGIS made."""
    frame([(3, 3, "grass")]).to_file(site / "field.gpkg", layer="field")
    hole = shapely.Polygon(SQUARE).difference(shapely.box(25, 35, 45, 55))
    parts = shapely.MultiPolygon([hole, shapely.box(60, 60, 70, 70)])
    on_map = shapely.transform(parts, lambda rc: np.array([ORIGIN * (col, row) for row, col in rc]))
    polygons = geopandas.GeoDataFrame({"class": ["sand"], "seen": ["today"]}, geometry=[on_map], crs=CRS)
    polygons.to_crs(4326).to_file(site / "field.gpkg", layer="field_polygons")
    session = begun(site)
    assert session.counts() == {"grass": 1, "sand": 1}
    assert trained_on(site / "field.gpkg", session.scenes) == {(*p, name) for p, name in session.labelled().items()}
    number = session.outlined[0][0].id
    session.classify(number, "water")
    session.outline(0, [(80, 80), (80, 90), (90, 90)], True, "grass")
    session.remove(number)
    session.undo()
    written = geopandas.read_file(site / "field.gpkg", layer="field_polygons")
    assert dict(zip(written["class"], written["seen"].fillna(""), strict=True)) == {"water": "today", "grass": ""}
    assert written.crs.to_epsg() == 4326
    assert written.geometry[written["class"] == "water"].iloc[0].equals(polygons.to_crs(4326).geometry[0])
    with pytest.raises(InputError):
        session.move(number, Pixel(0, 3, 4))


def test_shapes_that_label_nothing_are_refused_and_nothing_written(tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif", nodata=0, hole=(slice(0, 40), slice(0, 40)))
    session = begun(tmp_path)
    for vertices, closed in (
        ([(5, 5), (5, 20), (20, 20)], True),
        ([(500, 500), (500, 600), (600, 600)], True),
        ([(50, 50), (60, 60), (50, 60), (60, 50)], True),
        ([(50, 50), (60, 60)], True),
        ([(50, 50)], False),
    ):
        with pytest.raises(InputError):
            session.outline(0, vertices, closed, "sand")
    (tmp_path / "plain").mkdir()
    Image.fromarray(np.arange(3600, dtype=np.uint16).astype(np.uint8).reshape(30, 40, 3)).save(tmp_path / "plain/a.png")
    with pytest.raises(InputError, match="csv"):
        begun(tmp_path, "field.csv", "plain").outline(0, SQUARE, True, "sand")
    assert list(pyogrio.list_layers(tmp_path / "field.gpkg")[:, 0]) == ["field"]
    assert begun(tmp_path).counts() == {}


@settings(max_examples=10)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["place", "outline", "move", "remove", "classify", "undo", "redo"]), st.integers(0, 5)
        ),
        max_size=25,
    )
)
def test_undone_and_redone_the_points_are_as_they_were(tmp_path_factory: Any, steps: list[tuple[str, int]]) -> None:
    folder = tmp_path_factory.mktemp("undo")
    write_image(folder / "site/a.tif", (8, 8))
    session = begun(folder)
    for step, value in steps:
        act(session, step, value)
    reached = session.labelled()
    count = 0
    while session.undo():
        count += 1
    assert session.labelled() == {}
    for _ in range(count):
        assert session.redo()
    assert session.labelled() == reached
    again = begun(folder)
    assert again.labelled() == reached, "the file has something else"


def act(session: Session, step: str, value: int) -> None:
    numbers = list(session.records)
    pixel = Pixel(0, value, value)
    if step == "place":
        session.place(pixel, "ab"[value % 2])
    elif step in ("undo", "redo"):
        getattr(session, step)()
    elif step == "outline":
        session.outline(0, [(value, value), (value, value + 1.5), (value + 1.5, value + 1.5)], bool(value % 2), "c")
    elif numbers:
        number = numbers[value % len(numbers)]
        if step == "remove":
            session.remove(number)
        elif step == "classify":
            session.classify(number, "ba"[value % 2])
        elif pixel not in session.at and number in session.pixels:
            session.move(number, pixel)


def test_plain_pictures_are_labelled_in_rows_and_columns(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    for name in ("a", "b"):
        grey = np.arange(30 * 40 * 3, dtype=np.uint16).reshape(30, 40, 3) % 251
        Image.fromarray(grey.astype(np.uint8)).save(tmp_path / f"site/{name}.png")
    (tmp_path / "field.csv").write_text("note,scene,row,col,class\nold one,b,3,4,sand\n")
    session = begun(tmp_path, "field.csv")
    number = session.place(Pixel(0, 10, 11), "grass")
    session.place(Pixel(1, 29, 39), "sand")
    session.move(number, Pixel(0, 12, 13))
    written = pd.read_csv(tmp_path / "field.csv")
    assert written["note"].fillna("").tolist() == ["old one", "", ""]
    assert trained_on(tmp_path / "field.csv", session.scenes) == {
        *((0, 12, 13, "grass"), (1, 3, 4, "sand"), (1, 29, 39, "sand")),
    }
    with pytest.raises(InputError, match="csv"):
        begun(tmp_path, "field.gpkg")


def test_what_cannot_be_labelled_is_refused_and_nothing_written(tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif", nodata=0, hole=(slice(0, 10), slice(0, 10)))
    session = begun(tmp_path)
    taken = session.place(Pixel(0, 20, 20), "sand")
    other = session.place(Pixel(0, 21, 20), "grass")
    for refused in (
        lambda: session.place(Pixel(0, 5, 5), "sand"),
        lambda: session.place(Pixel(0, 96, 0), "sand"),
        lambda: session.place(Pixel(1, 0, 0), "sand"),
        lambda: session.move(other, Pixel(0, 20, 20)),
        lambda: session.classify(999, "sand"),
        lambda: session.remove_class("sand"),
        lambda: session.change_classes(session.classes.add, "SAND"),
    ):
        with pytest.raises(InputError):
            refused()
    assert session.place(Pixel(0, 20, 20), "water") == taken, "a click on a labelled pixel changes its class"
    assert trained_on(tmp_path / "field.gpkg", session.scenes) == {(0, 20, 20, "water"), (0, 21, 20, "grass")}


def test_classes_are_kept_with_their_colours_and_order(site: Path) -> None:
    session = begun(site)
    for name in ("sand", "<b>grass</b>", "Gewässer: tief"):
        session.change_classes(session.classes.add, name)
    session.place(Pixel(0, 1, 1), "sand")
    session.change_classes(session.classes.recolour, "sand", "#123456")
    session.change_classes(session.classes.move, "Gewässer: tief", -2)
    session.rename_class("sand", "dune")
    session.undo()
    session.redo()
    again = begun(site)
    assert again.classes.names == ["Gewässer: tief", "dune", "<b>grass</b>"]
    assert again.classes.colours["dune"] == "#123456"
    assert again.labelled() == {Pixel(0, 1, 1): "dune"}


def test_what_another_program_changes_is_taken_in(site: Path) -> None:
    session = begun(site)
    number = session.place(Pixel(0, 1, 1), "sand")
    with sqlite3.connect(site / "field.gpkg") as other:  # as QGIS edits in place
        for name, read in FUNCTIONS.items():
            other.create_function(name, 1, read)
        other.execute('UPDATE "field" SET class = ?', ("mud",))
    other.close()
    with pytest.raises(InputError):
        session.classify(number, "grass")
    assert session.labelled() == {Pixel(0, 1, 1): "mud"}
    frame([(7, 7, "rock")]).to_file(site / "field.gpkg", layer="field")  # and as a script replaces the layer
    session.poll()
    assert session.labelled() == {Pixel(0, 7, 7): "rock"}
    assert any("another program" in note.text for note in session.notes)
    frame([(8, 8, "rock")]).to_file(site / "new.gpkg", layer="field")
    (site / "new.gpkg").replace(site / "field.gpkg")
    with pytest.raises(InputError):
        session.place(Pixel(0, 3, 3), "rock")
    session.poll()
    assert session.labelled() == {Pixel(0, 8, 8): "rock"}
    (site / "field.gpkg").unlink()
    session.poll()
    assert session.notes[-1].bad
    with pytest.raises(InputError):
        session.place(Pixel(0, 4, 4), "rock")
    assert not (site / "field.gpkg").exists()


@pytest.mark.parametrize("points", ["field.gpkg", "field.csv"])
def test_two_sessions_on_one_file_lose_nothing(points: str, site: Path) -> None:
    first, second = begun(site, points), begun(site, points)
    done: set[Pixel] = set()
    for i in range(12):
        session, pixel = (first, second)[i % 3 > 0], Pixel(0, i, i)
        try:
            session.place(pixel, "sand")
        except InputError:  # a CSV: the other one has written meanwhile
            session.poll()
            session.place(pixel, "sand")
        done.add(pixel)
    for session in (first, second, begun(site, points)):
        session.poll()
        assert set(session.labelled()) == done


def click_for_ever(folder: str, points: str, told: Any) -> None:
    session = begun(Path(folder), points)
    for i in range(10_000):
        pixel = Pixel(0, i // 128, i % 128)
        session.place(pixel, "sand")
        told.send(tuple(pixel))


@pytest.mark.parametrize("points", ["field.gpkg", "field.csv"])
def test_killed_at_any_moment_nothing_confirmed_is_lost(points: str, site: Path) -> None:
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=click_for_ever, args=(str(site), points, there))
    process.start()
    time.sleep(0.2)
    confirmed = [here.recv() for _ in range(30)]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    there.close()
    with suppress(EOFError):
        while True:
            confirmed.append(here.recv())
    found = begun(site, points).labelled()
    assert {Pixel(*pixel) for pixel in confirmed} <= set(found)
    assert len(found) <= len(confirmed) + 1


@contextmanager
def full_disk() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def read_only(file: Path) -> Iterator[None]:
    file.chmod(0o444)
    for folder in file.parents:
        if not folder.stat().st_mode & 0o1:
            folder.chmod(folder.stat().st_mode | 0o55)
    if root := os.geteuid() == 0:  # who may write anything
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        file.chmod(0o644)


@pytest.mark.parametrize("points", ["field.gpkg", "field.csv"])
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_what_cannot_be_written_is_said_and_nothing_is_lost(points: str, trouble: str, site: Path) -> None:
    session = begun(site, points)
    session.place(Pixel(0, 1, 1), "sand")
    if trouble == "full":
        with full_disk(), pytest.raises(InputError, match=points):
            session.place(Pixel(0, 2, 2), "grass")
    else:
        with read_only(site / points):
            session = begun(site, points)
            with pytest.raises(InputError, match=points):
                session.place(Pixel(0, 2, 2), "grass")
    assert session.labelled() == begun(site, points).labelled() == {Pixel(0, 1, 1): "sand"}
    session = begun(site, points)
    session.place(Pixel(0, 2, 2), "grass")
    assert len(begun(site, points).labelled()) == 2


def test_pixels_of_two_classes_and_points_outside_are_said(site: Path) -> None:
    points = [(3, 3, "grass"), (3, 3, "sand"), (5, 5, "sand"), (500, 5, "sand"), (6, 6, "")]
    frame(points).to_file(site / "field.gpkg")
    session = begun(site)
    assert session.labelled() == {Pixel(0, 5, 5): "sand"}
    assert [note.bad for note in session.notes] == [False, True]
    session.classify(session.at[Pixel(0, 6, 6)][0], "grass")
    session.remove(session.at[Pixel(0, 3, 3)][1])
    assert session.labelled() == {Pixel(0, 3, 3): "grass", Pixel(0, 5, 5): "sand", Pixel(0, 6, 6): "grass"}


@pytest.mark.parametrize(
    "content",
    [b"", b"SQLite format 3\0" + b"\0" * 200, b"row,col\n1,2\n", b"\xff\xfe"],
    ids=["empty", "cut", "a table", "noise"],
)
@pytest.mark.parametrize("name", ["field.gpkg", "field.csv"])
def test_a_file_that_is_none_is_refused_and_stays(name: str, content: bytes, site: Path) -> None:
    (site / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        begun(site, name)
    assert (site / name).read_bytes() == content
