from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from pointseg.errors import InputError
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.types import RGB, Window
from tests.site import write_image

ALL = Window(0, 0, 96, 128)


def test_8_bit_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    (raster,) = open_rasters({"a": tmp_path / "a.tif"})
    with rasterio.open(tmp_path / "a.tif") as dataset:
        values = np.moveaxis(dataset.read(), 0, -1)
    assert raster.bands == RGB
    assert (raster.image(ALL) == values).all()
    assert (raster.image(Window(5, 7, 20, 30)) == values[5:25, 7:37]).all()
    assert raster.valid(ALL).all()


@pytest.mark.parametrize(("dtype", "bands"), [("uint16", 4), ("float32", 1), ("uint8", 5), ("uint16", 3)])
def test_other_bands_are_stretched_by_statistics_of_their_own(dtype: str, bands: int, tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", bands=bands, dtype=dtype)
    (raster,) = open_rasters({"a": tmp_path / "a.tif"})
    image = raster.image(ALL).astype(float)
    assert image.shape == (96, 128, bands)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        values = np.moveaxis(dataset.read(), 0, -1).astype(float)
    for band in range(bands):
        assert np.corrcoef(image[..., band].ravel(), values[..., band].ravel())[0, 1] > 0.99
        if dtype != "uint8":  # the whole range is used
            assert image[..., band].max() == 255
            assert image[..., band].min() == 0
    normalised = (image - raster.bands.mean) / raster.bands.std
    assert np.abs(normalised.mean((0, 1))).max() < 0.1
    assert np.abs(normalised.std((0, 1)) - 1).max() < 0.1


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("uint16", 0), ("float32", -9999.0), ("float32", np.nan)])
def test_pixels_without_data_are_neutral_and_known(dtype: str, nodata: float, tmp_path: Path) -> None:
    hole = (slice(10, 30), slice(50, 90))
    write_image(tmp_path / "a.tif", dtype=dtype, nodata=nodata, hole=hole)
    (raster,) = open_rasters({"a": tmp_path / "a.tif"})
    expected = np.ones((96, 128), bool)
    expected[hole] = False
    assert (raster.valid(ALL) == expected).all()
    assert (raster.image(ALL)[hole] == np.round(raster.bands.mean)).all()
    assert raster.image(ALL)[expected].std() > 20
    normalised = (raster.image(ALL)[expected] - raster.bands.mean) / raster.bands.std
    if dtype != "uint8":  # its statistics are ImageNet's
        assert np.abs(normalised.mean(0)).max() < 0.1  # nodata is not in the statistics


def test_nan_that_no_header_declares_holds_no_data(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", dtype="float32")
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        dataset.write(np.full((3, 4, 5), np.nan, np.float32), window=rasterio.windows.Window(0, 0, 5, 4))
    (raster,) = open_rasters({"a": tmp_path / "a.tif"})
    assert not raster.valid(Window(0, 0, 4, 5)).any()
    assert raster.valid(Window(4, 5, 4, 5)).all()
    assert np.isfinite(raster.bands.mean).all()


def test_an_alpha_band_says_what_is_valid_and_is_no_input(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", bands=4)
    with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
        alpha = np.full((96, 128), 255, np.uint8)
        alpha[:10] = 0
        dataset.write(alpha, 4)
        dataset.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    (raster,) = open_rasters({"a": tmp_path / "a.tif"})
    assert raster.bands == RGB
    assert not raster.valid(ALL)[:10].any()
    assert raster.valid(ALL)[10:].all()
    (raster,) = open_rasters({"a": tmp_path / "a.tif"}, numbers=[1, 2, 3, 4])  # it is the infrared, mislabelled
    assert len(raster.bands) == 4
    assert raster.valid(ALL).all()


def test_bands_are_chosen_by_number(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", bands=5)
    (raster,) = open_rasters({"a": tmp_path / "a.tif"}, numbers=[4, 1])
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert (raster.image(ALL) == np.moveaxis(dataset.read([4, 1]), 0, -1)).all()
    with pytest.raises(InputError, match=r"dataset\.bands .* 6.* 5"):
        open_rasters({"a": tmp_path / "a.tif"}, numbers=[6])


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif")
    write_image(tmp_path / "b.tif", bands=5)
    with pytest.raises(InputError, match=r"b\.tif .*5 bands.*a\.tif .*3 bands"):
        open_rasters(find(str(tmp_path), "dataset.images"))


def test_files_unlike_those_of_training_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", dtype="uint16")
    with pytest.raises(InputError, match=r"3 bands of uint16.* 3 bands of uint8"):
        open_rasters({"a": tmp_path / "a.tif"}, bands=RGB)


@pytest.mark.parametrize("numbers", [(3, 2, 1, 4), (3, 2, 1), (2, 3, 4)])
def test_a_run_reads_the_bands_that_it_was_trained_on(numbers: tuple[int, ...], tmp_path: Path) -> None:
    """In their order, and no others: a map by other bands would be wrong, silently."""
    write_image(tmp_path / "a.tif", bands=4, dtype="uint16")
    (trained,) = open_rasters({"a": tmp_path / "a.tif"}, numbers)
    (opened,) = open_rasters({"a": tmp_path / "a.tif"}, bands=trained.bands)
    assert opened.bands == trained.bands
    window = Window(0, 0, *trained.shape)
    assert (opened.image(window) == trained.image(window)).all()


def test_a_grey_picture_is_read_as_rgb_by_a_run_of_rgb(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", bands=1, crs=None)
    (raster,) = open_rasters({"a": tmp_path / "a.png"}, bands=RGB)
    image = raster.image(ALL)
    assert image.shape == (96, 128, 3)
    assert (image[..., 0] == image[..., 2]).all()
    assert raster.crs is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0 no image")
    with pytest.raises(InputError, match=r"a\.tif: "):
        open_rasters({"a": tmp_path / "a.tif"})
    write_image(tmp_path / "b.tif")
    content = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"b\.tif: "):
        open_rasters({"b": tmp_path / "b.tif"})[0].image(ALL)
    picture = Image.fromarray(np.zeros((8, 8), np.uint8))
    picture.putpalette([9, 9, 9] * 4)
    picture.save(tmp_path / "c.png")
    with pytest.raises(InputError, match=r"c\.png: "):
        open_rasters({"c": tmp_path / "c.png"})


def test_images_are_found_by_file_folder_and_pattern(tmp_path: Path) -> None:
    for name in ("x/a.tif", "x/b.png", "y/a.tif"):
        write_image(tmp_path / name, crs=None if name.endswith("png") else "EPSG:32640")
    (tmp_path / "x/notes.txt").write_text("")
    assert set(find(str(tmp_path), "input")) == {"x/a", "x/b", "y/a"}
    assert set(find(f"{tmp_path}/*/a.tif", "input")) == {"x/a", "y/a"}
    assert set(find([f"{tmp_path}/x/a.tif", f"{tmp_path}/x"], "input")) == {"a", "b"}
    with pytest.raises(InputError, match=r"input=.*nowhere: "):
        find(str(tmp_path / "nowhere"), "input")
    write_image(tmp_path / "x/a.png", crs=None)
    with pytest.raises(InputError, match=r"input: .* and .*"):
        find(str(tmp_path / "x"), "input")


def test_a_file_whose_every_pixel_costs_a_gigabyte_is_refused(tmp_path: Path) -> None:
    profile = {"height": 2, "width": 1 << 29, "count": 1, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", **profile):
        pass
    with pytest.raises(InputError, match=r"a\.tif: .*1×536,870,912"):
        open_rasters({"a": tmp_path / "a.tif"})


def test_pages_that_are_not_read_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    pages = [Image.fromarray(np.arange(27 * 9, dtype=np.uint8).reshape(9, 9, 3) // value) for value in (1, 2, 3)]
    for name in "ab":
        pages[0].save(tmp_path / f"{name}.tif", save_all=True, append_images=pages[1:])
    open_rasters({name: tmp_path / f"{name}.tif" for name in "ab"})
    (message,) = caplog.messages
    assert "GTIFF_DIR:2:" in message
    (second,) = open_rasters(
        {"a": Path(message[message.index("GTIFF_DIR") :].split()[0].replace("<file>", f"{tmp_path}/a.tif"))}
    )
    assert (second.image(Window(0, 0, 9, 9)) == np.asarray(pages[1])).all()
    assert len(caplog.messages) == 1
