"""Files appear whole or not at all."""

import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from pyproj import CRS

from pointseg.errors import InputError
from pointseg.files import for_gis, writing


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Nothing beyond 100,000 bytes can be written to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def points(file: Path) -> None:
    positions = geopandas.points_from_xy(np.arange(5000.0), np.arange(5000.0))
    geopandas.GeoDataFrame({"class": "x"}, geometry=positions, index=range(5000), crs=32640).to_file(file)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.txt": lambda file: file.write_text("x" * 200_000),
    "a.npy": lambda file: np.save(file, np.zeros(200_000)),
    "a.ckpt": lambda file: torch.save({"a": torch.zeros(200_000)}, file),
    "a.gpkg": points,
    "a.geojson": points,
    "a.png": lambda file: Figure().figimage(np.random.default_rng(0).random((400, 400))).figure.savefig(file),
}


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_said_and_what_was_there_stays(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("before")
    with pytest.raises(InputError, match=rf"{name}: "), writing(file) as partial:
        WRITERS[name](partial)
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_made_and_one_that_is_a_file_is_said(tmp_path: Path) -> None:
    with writing(tmp_path / "a" / "b" / "c.txt") as partial:
        partial.write_text("whole")
        assert not (tmp_path / "a/b/c.txt").exists()
    assert (tmp_path / "a/b/c.txt").read_text() == "whole"
    with pytest.raises(InputError, match=r"d\.txt: "), writing(tmp_path / "a/b/c.txt/d.txt"):
        pytest.fail("there is no such folder")


def test_an_error_of_one_s_own_passes_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing(tmp_path / "a.txt") as partial:
        raise KeyError(partial.write_text("half"))
    assert not list(tmp_path.iterdir())


def test_processes_that_share_a_file_do_not_share_the_path(tmp_path: Path) -> None:
    with writing(tmp_path / "a.npy") as alone, writing(tmp_path / "a.npy", shared=True) as shared:
        assert alone != shared
        alone.touch()
        shared.touch()


def test_a_crs_without_words_in_wkt1_is_written_in_degrees(tmp_path: Path) -> None:
    """A rotated pole, as of regional climate models."""
    mapping = {"grid_mapping_name": "rotated_latitude_longitude", "grid_north_pole_latitude": 39.25}
    turned = CRS.from_cf({**mapping, "grid_north_pole_longitude": -162.0})
    frame = geopandas.GeoDataFrame({"class": ["x"]}, geometry=geopandas.points_from_xy([2.5], [1.5]), crs=turned)
    for_gis(frame).to_file(tmp_path / "p.gpkg")
    again = geopandas.read_file(tmp_path / "p.gpkg")
    assert again.crs == "EPSG:4326"
    assert again.to_crs(turned).geometry.item().distance(frame.geometry.item()) < 1e-9
    utm = frame.set_crs("EPSG:32632", allow_override=True)
    assert for_gis(utm) is utm
