"""Maps of scenes as files."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from rasterio.transform import Affine
from torch import Tensor

from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.maps import formats
from pointseg.maps.predict import Settings, predict_map
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import strips
from pointseg.types import IGNORE, RGB
from tests.site import CRS, NAMES, ORIGIN, write_image
from tests.support.maps import PALETTE

SMALL = Settings(window_size=32, overlap=8, batch_size=2, probabilities=True)


def by_colour(images: Tensor) -> Tensor:
    """Knows the classes of tests.site: the first band is 60, 130 or 200."""
    distance = (images[:, :1].float() - torch.tensor([60.0, 130, 200]).view(1, 3, 1, 1)).abs()
    return (-distance / 5).softmax(1)


def model(predict: Any = by_colour, key: str = "k") -> Trained:
    return Trained(predict, NAMES, PALETTE, RGB, 32, 8, 2, torch.device("cpu"), key, False)


def raster(folder: Path, **options: Any) -> tuple[Raster, np.ndarray]:
    name = options.pop("name", "a.tif")
    labels = write_image(folder / name, **options)
    return open_rasters({"a": folder / name})[0], labels


def band(file: Path) -> np.ndarray:
    with rasterio.open(file) as dataset:
        return np.asarray(dataset.read(1))


def test_a_map_is_georeferenced_coloured_and_right(tmp_path: Path) -> None:
    hole = (slice(40, 60), slice(10, 40))
    scene, labels = raster(tmp_path, nodata=0, hole=hole, shape=(600, 130))
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.crs.to_epsg() == 32640
        assert dataset.transform == ORIGIN
        assert dataset.nodata == IGNORE
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1)
        colours = dataset.colormap(1)
        assert [colours[i] for i in range(3)] == [(*map(int, colour), 255) for colour in PALETTE]
        assert [dataset.tags()[f"CLASS_{i}"] for i in range(3)] == list(NAMES)
        classes = dataset.read(1)
    expected = labels.copy()
    expected[hole] = IGNORE
    assert (classes == expected).all()
    confidence = band(tmp_path / "map_confidence.tif")
    with rasterio.open(tmp_path / "map_probabilities.tif") as dataset:
        assert dataset.descriptions == NAMES
        assert dataset.scales == (1 / 255,) * 3
        probabilities = dataset.read()
    valid = expected != IGNORE
    assert (probabilities.max(0) == confidence).all()
    assert (probabilities[:, valid].argmax(0) == expected[valid]).mean() > 0.999  # but for ties of rounding
    assert np.abs(probabilities[:, valid].sum(0) - 255.0).max() <= 2
    assert (confidence[hole] == 0).all()
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.tif",
        "map.qml",
        "map.tif",
        "map.tif.aux.xml",
        "map_confidence.qml",
        "map_confidence.tif",
        "map_probabilities.tif",
    ]


def test_a_plain_picture_gets_a_plain_map(tmp_path: Path) -> None:
    scene, labels = raster(tmp_path, name="a.png", crs=None)
    predict_map(model(), scene, tmp_path / "map.png", SMALL)
    assert (band(tmp_path / "map.png") == labels).all()
    with rasterio.open(tmp_path / "map.png") as dataset:
        assert dataset.crs is None
        assert dataset.colormap(1)[2][:3] == (0, 0, 255)
    assert band(tmp_path / "map_confidence.png").min() > 80
    assert [file.name for file in tmp_path.glob("*.aux.xml")] == ["map.png.aux.xml"]  # the names of its classes


def test_a_turned_map_stays_turned(tmp_path: Path) -> None:
    turned = ORIGIN @ Affine.rotation(30) if hasattr(Affine, "__matmul__") else ORIGIN * Affine.rotation(30)
    scene, labels = raster(tmp_path, transform=turned)
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.transform.almost_equals(turned)
        assert (dataset.read(1) == labels).all()


class _KilledError(Exception):
    pass


def dying(after: int) -> Iterator[Any]:
    calls = 0

    def predict(images: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > after:
            raise _KilledError
        return by_colour(images)

    return predict  # type: ignore[return-value]


def test_what_was_killed_goes_on_and_ends_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    scene, _ = raster(tmp_path)
    predict_map(model(), scene, tmp_path / "whole.tif", SMALL)
    with pytest.raises(_KilledError):
        predict_map(model(dying(7)), scene, tmp_path / "map.tif", SMALL)
    assert not (tmp_path / "map.tif").exists()  # never half a map under its name
    counted = []

    def counting(images: Tensor) -> Tensor:
        counted.append(len(images))
        return by_colour(images)

    predict_map(model(counting), scene, tmp_path / "map.tif", SMALL)
    assert sum(counted) < 20  # of 4 × 5 windows
    for name in ("", "_confidence", "_probabilities"):
        assert (band(tmp_path / f"map{name}.tif") == band(tmp_path / f"whole{name}.tif")).all()
    assert not list(tmp_path.glob("*.partial"))


def test_a_map_that_another_process_makes_is_left_to_it(tmp_path: Path) -> None:
    scene, _ = raster(tmp_path)
    predict_map(model(), scene, tmp_path / "whole.tif", SMALL)
    refused = []

    def meanwhile(images: Tensor) -> Tensor:
        with pytest.raises(InputError, match=r"map\.tif.*partial") as error:
            predict_map(model(), scene, tmp_path / "map.tif", SMALL)
        refused.append(error)
        return by_colour(images)

    assert predict_map(model(meanwhile), scene, tmp_path / "map.tif", SMALL)
    assert refused
    assert (band(tmp_path / "map.tif") == band(tmp_path / "whole.tif")).all()


def test_a_finished_map_is_left_and_a_foreign_file_never_overwritten(tmp_path: Path) -> None:
    scene, _ = raster(tmp_path)
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    before = (tmp_path / "map.tif").stat().st_mtime_ns
    predict_map(model(dying(0)), scene, tmp_path / "map.tif", SMALL)  # the same job: nothing is predicted
    assert (tmp_path / "map.tif").stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"map\.tif: "):
        predict_map(model(key="another run"), scene, tmp_path / "map.tif", SMALL)
    with pytest.raises(InputError, match=r"map\.tif: "):
        predict_map(model(), scene, tmp_path / "map.tif", Settings(32, 4, 2, True))
    (tmp_path / "notes.tif").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.tif: "):
        predict_map(model(), scene, tmp_path / "notes.tif", SMALL)
    assert (tmp_path / "notes.tif").read_text() == "mine"


def test_processes_share_the_strips_and_end_with_the_same_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, _ = raster(tmp_path, shape=(200, 100))
    predict_map(model(), scene, tmp_path / "alone.tif", SMALL)
    monkeypatch.setenv("WORLD_SIZE", "3")
    done: list[set[int]] = []
    for rank in (2, 1, 0):  # the first one waits for the others' strips
        monkeypatch.setenv("RANK", str(rank))
        rows = []

        def noting(images: Tensor, rows: list[int] = rows) -> Tensor:
            rows.append(len(images))
            return by_colour(images)

        predict_map(model(noting), scene, tmp_path / "map.tif", SMALL)
        done.append(set(rows))
        assert (tmp_path / "map.tif").exists() == (rank == 0)
        assert rows
    assert (band(tmp_path / "map.tif") == band(tmp_path / "alone.tif")).all()
    assert (band(tmp_path / "map_confidence.tif") == band(tmp_path / "alone_confidence.tif")).all()


def test_a_disk_that_fills_up_is_told_and_the_job_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, labels = raster(tmp_path)
    saved = np.save

    def full(stream: Any, array: np.ndarray) -> None:
        if len(list(tmp_path.glob("*.partial/*.npy"))) >= 2:
            raise OSError(28, "No space left on device")
        saved(stream, array)

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(InputError, match=r"No space left on device"):
        predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    assert not list(tmp_path.rglob(".*"))
    monkeypatch.undo()
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    assert (band(tmp_path / "map.tif") == labels).all()


def test_only_windows_with_data_are_predicted(tmp_path: Path) -> None:
    scene, labels = raster(tmp_path, nodata=0, hole=(slice(0, 96), slice(32, 128)))
    sizes = []

    def counting(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return by_colour(images)

    predict_map(model(counting), scene, tmp_path / "map.tif", SMALL)
    assert sum(sizes) == 4 * 2  # of 4 × 5
    classes = band(tmp_path / "map.tif")
    assert (classes[:, :32] == labels[:, :32]).all()
    assert (classes[:, 32:] == IGNORE).all()


def test_polygons_have_the_areas_of_their_classes(tmp_path: Path) -> None:
    scene, labels = raster(tmp_path)
    predict_map(model(), scene, tmp_path / "map.tif", SMALL)
    formats.write_polygons(tmp_path / "map.tif", scene, NAMES, PALETTE, simplify=0.0)
    frame = geopandas.read_file(tmp_path / "map.gpkg", layer="areas")
    assert frame.crs == CRS
    for label, name in enumerate(NAMES):
        assert frame[frame["class"] == name].area.sum() == pytest.approx(0.25 * (labels == label).sum())
    (tmp_path / "map.gpkg").unlink()
    formats.write_polygons(tmp_path / "map.tif", scene, NAMES, PALETTE, simplify=20.0)
    simple = geopandas.read_file(tmp_path / "map.gpkg", layer="areas")
    assert simple.area.sum() == pytest.approx(frame.area.sum(), rel=0.03)  # outer corners are cut, too
    corners, fewer = (shapely.get_num_coordinates(areas.geometry.values).sum() for areas in (frame, simple))
    assert fewer < corners
    assert simple.union_all().area == pytest.approx(simple.area.sum(), rel=1e-6)  # neighbours do not overlap


def test_a_sieved_map_has_no_small_areas(tmp_path: Path) -> None:
    scene, labels = raster(tmp_path, nodata=0, hole=(slice(30, 44), slice(30, 44)))
    predict_map(model(), scene, tmp_path / "map.tif", replace(SMALL, sieve=300))
    sieved = band(tmp_path / "map.tif")
    assert (sieved[30:44, 30:44] == IGNORE).all()
    assert (sieved == IGNORE).sum() == 14 * 14
    sizes = {
        label: [np.count_nonzero(parts == i) for i in range(1, parts.max() + 1)]
        for label in range(3)
        for parts in [cv2.connectedComponents((sieved == label).astype(np.uint8), connectivity=4)[1]]
    }
    assert min(size for of_label in sizes.values() for size in of_label) >= 300
    assert (band(tmp_path / "map_confidence.tif") > 80)[labels != IGNORE].mean() > 0.95  # as it was
    with pytest.raises(InputError, match=r"map\.tif: "):  # a map of another sieve is not taken for this one
        predict_map(model(), scene, tmp_path / "map.tif", SMALL)


def test_the_strips_hold_every_row_once() -> None:
    for height in (1, 31, 32, 33, 200):
        rows = strips(height, 32, 8)
        assert rows[0][0] == 0
        assert rows[-1][1] == height
        assert all(a[1] == b[0] for a, b in pairwise(rows))
