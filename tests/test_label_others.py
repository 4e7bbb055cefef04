"""Labels of other people beside one's own on the labelling page: shown, compared, learnt from only when asked."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely

from pointseg.annotation.given import Given
from pointseg.annotation.readers.labels import Columns
from pointseg.errors import InputError
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.labelling.others import Others
from pointseg.labelling.records import Pixel
from pointseg.labelling.session import Session, open_points
from tests.site import CRS, ORIGIN, frame, write_image

SQUARE = [(20, 30), (20, 60), (50, 60), (50, 30)]  # corners, as row and col


def polygon(corners: list[tuple[int, int]], name: str) -> geopandas.GeoDataFrame:
    shape = shapely.Polygon([ORIGIN * (col, row) for row, col in corners])
    return geopandas.GeoDataFrame({"class": [name]}, geometry=[shape], crs=CRS)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Theirs: three points, and a polygon in a file of another format and CRS."""
    write_image(tmp_path / "site/a.tif")
    frame([(5, 5, "Sand"), (70, 70, "grass"), (90, 20, "water")]).to_file(tmp_path / "theirs.gpkg")
    polygon(SQUARE, "sand").to_crs(4326).to_file(tmp_path / "theirs.geojson")
    scenes = open_rasters(find(str(tmp_path / "site"), "images"))
    paths = [tmp_path / "theirs.gpkg", tmp_path / "theirs.geojson"]
    points = open_points(tmp_path / "field.gpkg", scenes, "class", None)
    return Session(scenes, points, ["sand"], others=Others(paths, scenes, Columns("class"), 50))


def found(session: Session) -> set[tuple[Pixel, str, str]]:
    assert session.others is not None
    differences = session.others.against(session.shown, session.outlined)
    return {(difference.place, difference.theirs, difference.ours) for difference in differences}


def test_they_count_only_when_asked_and_then_as_training_counts_them(session: Session) -> None:
    own = session.points.file
    assert session.labelled() == {}
    assert session.classes.names == ["sand", "grass", "water"]
    session.place(Pixel(0, 5, 5), "grass")
    session.outline(0, [(40, 50), (40, 80), (80, 80)], True, "water")
    alone = session.labelled()
    assert set(alone.values()) == {"grass", "water"}
    content = own.read_bytes()
    session.trust(True)
    together = session.labelled()
    assert Pixel(0, 5, 5) not in together, "said to be of two classes"
    assert together[Pixel(0, 90, 20)] == "water"
    paths = [Path(path) for path in session.training()["points"]]
    skipped = session.training()["annotation"]
    assert skipped == {"layer": None, "contradicting": "skip"}
    table = Given("class", None, None, "refuse", "refuse", "skip").read(paths, session.scenes)
    table["name"] = table["name"].str.lower()  # as the run's classes spell it
    trained = set(table[["scene", "row", "col", "name"]].itertuples(index=False, name=None))
    assert trained == {(*pixel, name) for pixel, name in together.items()}
    session.trust(False)
    assert session.labelled() == alone
    assert session.training()["points"] == [str(own)]
    assert own.read_bytes() == content


def test_where_they_differ_from_ones_own_is_found(session: Session) -> None:
    assert found(session) == set()
    session.place(Pixel(0, 6, 7), "sand")  # beside theirs, and the same
    session.place(Pixel(0, 71, 68), "water")  # beside theirs, and another
    session.place(Pixel(0, 74, 70), "water")  # too far away
    session.place(Pixel(0, 49, 31), "grass")  # in their polygon
    session.place(Pixel(0, 51, 31), "grass")  # outside of it
    assert found(session) == {(Pixel(0, 70, 70), "grass", "water"), (Pixel(0, 49, 31), "sand", "grass")}
    session.outline(0, [(80, 10), (80, 30), (95, 30), (95, 10)], True, "sand")  # around theirs
    assert (Pixel(0, 90, 20), "water", "sand") in found(session)
    session.rename_class("water", "lake")
    assert (Pixel(0, 90, 20), "lake", "sand") in found(session)


def test_a_file_of_theirs_that_changes_is_taken_in(session: Session, tmp_path: Path) -> None:
    assert session.others is not None
    session.poll()
    assert session.notes == []
    frame([(8, 8, "mud")]).to_file(tmp_path / "theirs.gpkg")
    session.poll()
    assert [name for _, name in session.others.placed()] == ["mud"]
    assert "mud" in session.classes.names
    (tmp_path / "theirs.gpkg").unlink()
    session.poll()
    session.poll()
    assert [note.bad for note in session.notes] == [False, True]
    session.place(Pixel(0, 1, 1), "mud")
    assert session.labelled() == {Pixel(0, 1, 1): "mud"}


def test_files_that_hold_no_label_of_the_scenes_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "site/a.tif")
    scenes = open_rasters(find(str(tmp_path / "site"), "images"))
    frame([(500, 5, "sand"), (3, 3, "")]).to_file(tmp_path / "far.gpkg")
    (tmp_path / "noise.gpkg").write_bytes(np.random.default_rng(0).bytes(100))
    for name in ("far.gpkg", "noise.gpkg", "none.gpkg"):
        with pytest.raises(InputError, match=name):
            Others([tmp_path / name], scenes, Columns("class"), 50)
