"""Images that are not what a run was trained on, and files that change: said or refused, never mapped in silence."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from pointseg.annotation.readers.labels import Columns
from pointseg.annotation.readers.table import read
from pointseg.errors import InputError
from pointseg.files import alone
from pointseg.imagery.decoded import Source, check_place
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.imagery.stored import describe
from pointseg.types import Window
from tests.ground import SHAPE, truth, values, write
from tests.site import ORIGIN

ALL = Window(0, 0, *SHAPE)


def levels(count: int = 4) -> np.ndarray:
    return values(truth(), count, (60, 180))


def trained(folder: Path, count: int = 4, **profile: Any) -> Raster:
    write(folder / "a.tif", levels(count), "uint8", photometric="MINISBLACK", alpha="NO", **profile)
    return open_rasters({"a": folder / "a.tif"})[0]


def named(*names: str) -> Any:
    return lambda dataset: setattr(dataset, "descriptions", names)


def test_bands_of_the_same_names_in_another_order_are_refused(tmp_path: Path) -> None:
    bands = trained(tmp_path, 3, after=named("red", "green", "nir")).bands
    write(tmp_path / "b.tif", levels(3), "uint8", after=named("Green", "Red", "NIR"))
    with pytest.raises(InputError, match=r"b\.tif.*Green, Red, NIR.*red, green, nir"):
        open_rasters({"b": tmp_path / "b.tif"}, bands=bands)
    with pytest.raises(InputError, match=r"b\.tif.*a\.tif"):
        open_rasters({name: tmp_path / f"{name}.tif" for name in "ab"})
    write(tmp_path / "c.tif", levels(3), "uint8", after=named("RED", "GREEN", "NIR"))
    open_rasters({"c": tmp_path / "c.tif"}, bands=bands)


def test_eight_bits_that_training_has_not_seen_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bands = trained(tmp_path).bands
    open_rasters({"a": tmp_path / "a.tif"}, bands=bands)
    assert not caplog.records
    write(tmp_path / "c.tif", levels() * 0.2 + 90, "uint8", photometric="MINISBLACK", alpha="NO")
    open_rasters({"c": tmp_path / "c.tif"}, bands=bands)
    assert "band 1" in caplog.text
    assert "c.tif" in caplog.text


@pytest.mark.parametrize("count", [3, 4])
@pytest.mark.parametrize("fill", [0, 255])
def test_a_void_of_eight_bits_is_found_and_dark_pixels_are_not(fill: int, count: int, tmp_path: Path) -> None:
    bands = trained(tmp_path, count).bands
    pixels = levels(count)
    pixels[:, :, :40] = fill
    pixels[0, ::5, 60:] = fill  # of one band
    write(tmp_path / "b.tif", pixels, "uint8", photometric="MINISBLACK", alpha="NO")
    for chosen in (bands, None):  # in mapping and in training
        (raster,) = open_rasters({"b": tmp_path / "b.tif"}, bands=chosen)
        assert (raster.valid(ALL) == (np.arange(SHAPE[1]) >= 40)).all()
    water = levels(count)
    water[:, :, :40] = np.random.default_rng(0).integers(0, 4, (count, SHAPE[0], 40))  # dark, and now and then black
    write(tmp_path / "w.tif", water, "uint8", photometric="MINISBLACK", alpha="NO")
    (raster,) = open_rasters({"w": tmp_path / "w.tif"}, bands=bands)
    assert raster.valid(ALL).all()


def test_another_size_of_pixels_than_in_training_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bands = trained(tmp_path).bands
    assert bands.pixel == pytest.approx(0.5)
    for name, factor in (("near", 1.3), ("far", 4)):
        path = tmp_path / f"{name}.tif"
        write(path, levels(), "uint8", photometric="MINISBLACK", alpha="NO", transform=ORIGIN * Affine.scale(factor))
        open_rasters({name: path}, bands=bands)
    assert "near.tif" not in caplog.text
    assert "far.tif" in caplog.text
    assert "2 m" in caplog.text
    assert "0.5 m" in caplog.text


def test_a_degree_is_as_many_metres_as_on_the_ground(tmp_path: Path) -> None:
    write(tmp_path / "d.tif", levels(), "uint8", crs="EPSG:4326", transform=Affine(1e-5, 0, 55, 0, -1e-5, 60))
    assert describe(tmp_path / "d.tif").pixel == pytest.approx(1.11 * 0.5**0.5, rel=0.01)


def test_a_mask_beside_four_bands_holds_and_one_added_later_is_seen(tmp_path: Path) -> None:
    pixels = levels()
    profile = {"photometric": "RGB", "alpha": "YES"}
    write(tmp_path / "b.tif", pixels, "uint8", **profile)
    before = describe(tmp_path / "b.tif")
    inside = np.ones(SHAPE, bool)
    inside[:20] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "b.tif", "r+") as dataset:
        dataset.write_mask(inside)
    assert (tmp_path / "b.tif.msk").exists()
    (raster,) = open_rasters({"b": tmp_path / "b.tif"})
    assert len(raster.bands) == 4
    assert (raster.valid(ALL) == inside).all()
    assert raster.file_of.stamps[1:] != before.stamps[1:]


def test_a_replaced_source_of_a_virtual_image_is_seen(tmp_path: Path) -> None:
    def source(level: int) -> None:
        write(tmp_path / "new.tif", np.full((1, *SHAPE), level), "uint8", compress="DEFLATE")
        os.utime(tmp_path / "new.tif", ns=(0, level))
        os.replace(tmp_path / "new.tif", tmp_path / "a.tif")

    source(60)
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    for file, of in ((inner, "a.tif"), (outer, "inner.vrt")):
        band = f'<SourceFilename relativeToVRT="1">{of}</SourceFilename><SourceBand>1</SourceBand>'
        file.write_text(
            f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}"><VRTRasterBand dataType="Byte" band="1">'
            f"<SimpleSource>{band}</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    for file in (outer, tmp_path / "a.tif"):
        source(60)
        before = describe(file)
        assert (before.read([1], ALL) == 60).all()
        source(90)
        after = describe(file)
        assert after.stamps != before.stamps
        assert (after.read([1], ALL) == 90).all()


def test_masks_that_lie_elsewhere_on_the_map_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "image.tif", levels(3), "uint8")
    for name, across in (("same", 0.2), ("apart", 30)):
        write(tmp_path / f"{name}.tif", truth()[None], "uint8", transform=ORIGIN * Affine.translation(across, 0))
    check_place(Source("a", "a", tmp_path / "image.tif", tmp_path / "same.tif"))
    with pytest.raises(InputError, match=r"apart\.tif.*image\.tif.*30 pixels"):
        check_place(Source("a", "a", tmp_path / "image.tif", tmp_path / "apart.tif"))


def test_map_coordinates_are_used_before_rows_and_columns_where_their_crs_is_known(tmp_path: Path) -> None:
    content = b"x,y,row,col,class\n300001,2799999,4,9,sand\n"
    assert not read(tmp_path / "p.csv", content, Columns("class", crs="EPSG:32640")).pixels
    assert read(tmp_path / "p.csv", content, Columns("class")).pixels


def test_a_second_training_in_a_folder_is_refused_and_leaves_what_is_there(tmp_path: Path) -> None:
    from pointseg.training.train import train
    from tests.ground import Site, composed

    site = Site(tmp_path)
    site.image("a.tif", truth(), levels(3), "uint8")
    site.click(truth())
    cfg = composed("train", "experiment=field", f"dataset.images={tmp_path / 'a.tif'}", f"points={tmp_path}/points.csv")
    (tmp_path / "run/points").mkdir(parents=True)
    with alone(tmp_path / "run", ".train"), pytest.raises(InputError, match="another process"):
        train(cfg, tmp_path / "run", {})
    assert (tmp_path / "run/points").exists()
    assert not (tmp_path / "run/config.yaml").exists()
