"""More inputs that people meet (see `imagery`): types of pixels, containers, headers, projections, sizes and names."""

from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.transform import Affine, from_origin

from tests.cases.imagery import EDGE, HOLE, case, each, holed
from tests.ground import SHAPE, Site, clicks, on_map, truth, values, write
from tests.site import CRS, ORIGIN

SIXTY: tuple[float, float] = (60, 130)


def simple(site: Site, dtype: str, levels: tuple[float, float] = SIXTY, bands: int = 3, **profile: Any) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, bands, levels), dtype, **profile)
    site.click(labels)


# Types of pixels


@each(
    "types of pixels",
    "stored as",
    **{
        "int8": ("int8", (-60, 60), {}),
        "half floats": ("float32", (0.1, 0.3), {"nbits": 16}),
        "24-bit floats": ("float32", (0.1, 0.3), {"nbits": 24}),
        "12 bits": ("uint16", (300, 500), {"nbits": 12}),
        "int64": ("int64", (300, 500), {}),
        "int64 beyond 2^53": ("int64", (2.0**60, 2.0**60 + 2.0**40), {}),
        "uint64": ("uint64", (300, 500), {}),
        "int32 around 1e9": ("int32", (1e9, 1e9 + 200), {}),
        "negative int16": ("int16", (-2500, -500), {}),
        "complex64": ("complex64", (300, 500), {}),
    },
)
def stored_as(site: Site, how: tuple[str, tuple[float, float], dict[str, Any]]) -> None:
    simple(site, how[0], how[1], **how[2])


@each("types of pixels", "bits", one=1, two=2, four=4)
def bits(site: Site, count: int) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, 1, (0, 2**count - 1), 0), "uint8", nbits=count)
    site.click(labels)


@case("types of pixels")
def bands_of_two_types(site: Site) -> None:
    simple(site, "uint8")
    write(site.folder / "b.tif", values(truth(), 1), "uint16")
    sources = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">{file}'
        f"</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for i, (kind, file) in enumerate((("Byte", "a.tif"), ("UInt16", "b.tif")), 1)
    )
    virtual(site, sources)


def virtual(site: Site, inside: str) -> None:
    """The image of the site becomes a virtual one."""
    labels = site.truths.pop("a.tif")
    numbers = ", ".join(map(str, ORIGIN.to_gdal()))
    with rasterio.open(site.folder / "a.tif") as dataset:
        crs = dataset.crs.to_wkt().replace("<", "&lt;")
    (site.folder / "a.vrt").write_text(
        f'<VRTDataset rasterXSize="{SHAPE[1]}" rasterYSize="{SHAPE[0]}"><SRS>{crs}</SRS>'
        f"<GeoTransform>{numbers}</GeoTransform>{inside}</VRTDataset>"
    )
    site.truths["a.vrt"] = labels


def band(number: int, source: str = "a.tif", more: str = "", dtype: str = "UInt16") -> str:
    return (
        f'<VRTRasterBand dataType="{dtype}" band="{number}">{more}<ComplexSource><SourceFilename relativeToVRT="1">'
        f"{source}</SourceFilename><SourceBand>{number}</SourceBand></ComplexSource></VRTRasterBand>"
    )


# Containers


@each(
    "containers",
    "written as",
    **{
        "JPEG 2000": ("JP2OpenJPEG", "a.jp2", "uint16", {"QUALITY": "100", "REVERSIBLE": "YES"}),
        "COG": ("COG", "a.tif", "uint16", {}),
        "COG of JPEG": ("COG", "a.tif", "uint8", {"compress": "JPEG", "quality": 95}),
        "WebP": ("WEBP", "a.webp", "uint8", {"LOSSLESS": "TRUE"}),
        "16-bit PNG": ("PNG", "a.png", "uint16", {}),
        "BMP": ("BMP", "a.bmp", "uint8", {}),
        "ENVI without a suffix": ("ENVI", "a", "float32", {}),
        "ENVI by pixels": ("ENVI", "a.dat", "uint16", {"INTERLEAVE": "BIP"}),
        "Erdas Imagine": ("HFA", "a.img", "uint16", {"COMPRESSED": "YES"}),
        "NITF": ("NITF", "a.ntf", "uint16", {}),
        "PCI": ("PCIDSK", "a.pix", "uint16", {}),
        "a raster in a GeoPackage": ("GPKG", "a.gpkg", "uint8", {}),
        "MRF": ("MRF", "a.mrf", "uint16", {}),
        "LERC": ("GTiff", "a.tif", "float32", {"compress": "LERC_ZSTD", "MAX_Z_ERROR": "0.001"}),
        "rows of LZW with a predictor": ("GTiff", "a.tif", "uint16", {"compress": "LZW", "predictor": 2}),
        "band by band": ("GTiff", "a.tif", "uint16", {"interleave": "band"}),
        "big-endian BigTIFF": ("GTiff", "a.tif", "uint16", {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}),
        "white as zero": ("GTiff", "a.tif", "uint8", {"photometric": "MINISWHITE"}),
        "YCbCr JPEG": ("GTiff", "a.tif", "uint8", {"compress": "JPEG", "photometric": "YCBCR", "JPEG_QUALITY": 95}),
        "12-bit JPEG": ("GTiff", "a.tif", "uint16", {"compress": "JPEG", "nbits": 12, "JPEG_QUALITY": 95}),
        "CMYK": ("GTiff", "a.tif", "uint8", {"photometric": "CMYK"}),
        "CIELAB": ("GTiff", "a.tif", "uint8", {"photometric": "CIELAB"}),
        "GIF": ("GIF", "a.gif", "uint8", {}),
        "ASCII grid": ("AAIGrid", "a.asc", "float32", {"FORCE_CELLSIZE": "YES"}),
        "XYZ": ("XYZ", "a.xyz", "float32", {}),
        "SAGA": ("SAGA", "a.sdat", "float32", {}),
        "Surfer": ("GSBG", "a.grd", "float32", {}),
        "PCRaster": ("PCRaster", "a.map", "float32", {"PCRASTER_VALUESCALE": "VS_SCALAR"}),
    },
)
def written_as(site: Site, how: tuple[str, str, str, dict[str, Any]]) -> None:
    driver, name, dtype, options = how
    labels, count = truth(), 4 if options.get("photometric") == "CMYK" else 3
    if driver in ("AAIGrid", "XYZ", "SAGA", "GSBG", "PCRaster", "GIF") or options.get("photometric") == "MINISWHITE":
        count = 1
    write(site.folder / "source.tif", values(labels, count, SIXTY), dtype)
    rasterio.shutil.copy(site.folder / "source.tif", site.folder / name, driver=driver, **options)
    site.truths[name] = labels
    site.click(labels)


@case("containers")
def a_virtual_raster_whose_source_is_gone(site: Site) -> None:
    simple(site, "uint16")
    virtual(site, "".join(band(i, "gone.tif") for i in (1, 2, 3)))


@case("containers")
def a_virtual_raster_that_rescales(site: Site) -> None:
    simple(site, "uint16")
    virtual(
        site,
        "".join(band(i).replace("</ComplexSource>", "<ScaleRatio>3</ScaleRatio></ComplexSource>") for i in (1, 2, 3)),
    )


@case("containers")
def blocks_that_were_never_written(site: Site) -> None:
    """Of a sparse file without a nodata value; GDAL reads 0."""
    labels = truth((96, 128))
    labels = holed(labels, (slice(64, 96), slice(64, 128)))
    bands = values(labels % 255)
    bands[:, 64:, 64:] = 0
    site.image("a.tif", labels, bands, tiled=True, blockxsize=64, blockysize=64, sparse_ok=True)
    site.click(labels)


@case("containers")
def pixels_cut_off_at_the_end_of_the_file(site: Site) -> None:
    simple(site, "uint16")
    content = (site.folder / "a.tif").read_bytes()
    (site.folder / "a.tif").write_bytes(content[: len(content) // 2])


@case("containers")
def a_web_page_under_the_name_of_an_image(site: Site) -> None:
    simple(site, "uint8")
    (site.folder / "a.tif").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>")


# Masks and statistics in headers


@each("headers", "a mask", sidecar="sidecar", in_a_COG="COG", in_a_JPEG_COG="JPEG", virtual="VRT")
def mask(site: Site, how: str) -> None:
    labels = truth()
    inside = np.ones(SHAPE, bool)
    inside[HOLE] = False
    name = "source.tif" if how in ("COG", "JPEG") else "a.tif"
    write(
        site.folder / name,
        values(labels, 3, SIXTY),
        "uint8",
        after=lambda dataset: dataset.write_mask(inside),
    )
    if how in ("COG", "JPEG"):
        options = {"compress": "JPEG", "quality": 95} if how == "JPEG" else {}
        rasterio.shutil.copy(site.folder / name, site.folder / "a.tif", driver="COG", **options)
    site.truths["a.tif"] = holed(labels, HOLE)
    site.click(holed(labels, HOLE))
    if how == "VRT":
        of_mask = '<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>mask,1</SourceBand>'
        inner = f'<VRTRasterBand dataType="Byte"><SimpleSource>{of_mask}</SimpleSource></VRTRasterBand>'
        virtual(site, "".join(band(i, dtype="Byte") for i in (1, 2, 3)) + f"<MaskBand>{inner}</MaskBand>")


@case("headers")
def statistics_beside_the_file_that_lie(site: Site) -> None:
    simple(site, "uint16", (300, 500))
    items = {"STATISTICS_MINIMUM": 0, "STATISTICS_MAXIMUM": 1, "STATISTICS_MEAN": 0.5, "STATISTICS_STDDEV": 0.1}
    listed = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in items.items())
    bands = "".join(f'<PAMRasterBand band="{i}"><Metadata>{listed}</Metadata></PAMRasterBand>' for i in (1, 2, 3))
    (site.folder / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")


@each(
    "headers",
    "nodata",
    **{
        "-9999 of uint8": ("uint8", -9999),
        "256 of uint8": ("uint8", 256),
        "NaN of int16": ("int16", np.nan),
        "1e40 of float32": ("float32", 1e40),
        "-1.797e308 of float32": ("float32", -1.7976931348623157e308),
        "-9999.5 of int16": ("int16", -9999.5),
        "inf of float32": ("float32", np.inf),
    },
)
def nodata_beside_the_type(site: Site, how: tuple[str, float]) -> None:
    """No pixel has it."""
    simple(site, how[0])
    numbers = "".join(
        f'<PAMRasterBand band="{i}"><NoDataValue>{how[1]}</NoDataValue></PAMRasterBand>' for i in (1, 2, 3)
    )
    (site.folder / "a.tif.aux.xml").write_text(f"<PAMDataset>{numbers}</PAMDataset>")


@case("headers")
def nodata_255_of_RGB_with_white_roofs_in_one_band(site: Site) -> None:  # noqa: N802
    labels, bands = truth(), values(truth(), 3, SIXTY)
    bands[(slice(None), *HOLE)] = 255
    bands[0, 50:54, 60:64] = 255
    site.image("a.tif", np.where(bands[0] == 255, 254, holed(labels, HOLE)), bands, "uint8", nodata=255)
    site.truths["a.tif"][HOLE] = 255
    site.click(holed(labels, HOLE))


@each("headers", "a band that is", **{"NaN alone": np.nan, "0 alone": 0, "-9999 alone": -9999, "all alike": 7})
def dull_band(site: Site, value: float) -> None:
    labels, bands = truth(), values(truth(), 4)
    bands[3] = value
    site.image("a.tif", labels, bands, "float32")
    site.click(labels)


@each("headers", "an image that is", **{"NaN alone": np.nan, "0 alone": 0})
def dull_image(site: Site, value: float) -> None:
    site.image("a.tif", truth(), np.full((3, *SHAPE), value), "float32")
    site.click(truth())


@case("headers")
def a_second_image_without_any_data(site: Site) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels), "float32")
    site.image("b.tif", np.full(SHAPE, 255, np.uint8), np.full((3, *SHAPE), np.nan), "float32")
    site.click(labels)


@case("headers")
def transparent_colour_of_a_grey_png(site: Site) -> None:
    labels = holed(truth(), HOLE)
    grey = np.clip(values(truth(), 1, SIXTY)[0], 1, 254).round().astype(np.uint8)
    grey[HOLE] = 0
    Image.fromarray(grey).save(site.folder / "a.png", transparency=0)
    site.truths["a.png"] = labels
    site.click(labels)


@each("headers", "a palette", png="a.png", tif="a.tif", gif="a.gif")
def palette(site: Site, name: str) -> None:
    labels = truth()
    rgb = Image.fromarray(np.moveaxis(values(labels, 3, SIXTY), 0, -1).astype(np.uint8))
    rgb.quantize(64).save(site.folder / name)
    site.truths[name] = labels
    site.click(labels)


@case("headers")
def colours_in_a_grey_scale_with_an_alpha(site: Site) -> None:
    labels = holed(truth(), HOLE)
    grey = values(truth(), 1, SIXTY)[0].round().astype(np.uint8)
    Image.fromarray(np.stack([grey, np.where(labels == 255, 0, 255).astype(np.uint8)], -1), "LA").save(
        site.folder / "a.png"
    )
    site.truths["a.png"] = labels
    site.click(labels)


@case("headers")
def an_alpha_that_fades(site: Site) -> None:
    """As of feathered mosaics: what shows a little counts as data."""
    labels = truth()
    alpha = np.broadcast_to(np.clip(np.arange(SHAPE[1]) * 8, 0, 255), SHAPE)
    bands = np.concatenate([values(labels, 3, SIXTY), alpha[None]])
    labels = np.where(alpha == 0, 255, labels).astype(np.uint8)
    site.image("a.tif", labels, bands, "uint8", photometric="RGB", alpha="YES")
    site.click(labels)


@each("headers", "orientation of a picture in", webp="a.webp", png="a.png", tif="a.tif")
def turned_in(site: Site, name: str) -> None:
    labels = truth()
    stored = Image.fromarray(np.moveaxis(values(labels, 3, SIXTY), 0, -1).astype(np.uint8)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(site.folder / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    site.truths[name] = labels
    site.click(labels)


# Values


@each("values", "half of the ground is 0 in", one_band=1, two_bands=2, three_bands=3)
def zeros_that_are_data(site: Site, count: int) -> None:
    """Height of a canopy, and what is derived from it: one class is 0."""
    labels = truth()
    heights = np.where(labels, np.random.default_rng(1).normal(20, 2, (count, *SHAPE)), 0)
    site.image("a.tif", labels, heights, "float32")
    site.click(labels)


@case("values")
def zeros_that_are_said_to_be_data(site: Site) -> None:
    zeros_that_are_data(site, 2)
    site.options.append("dataset.nodata=[]")


@each("values", "decibels, 0 outside in", one_band=1, two_bands=2)
def decibels(site: Site, count: int) -> None:
    labels = truth()
    bands = values(labels, count, (-22, -8))
    bands[(slice(None), *EDGE)] = 0
    site.image("a.tif", holed(labels, EDGE), bands, "float32", nodata=0)
    site.click(holed(labels, EDGE))


@case("values")
def two_values_alone(site: Site) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, 1, (1, 2), 0))
    site.click(labels)


@case("values")
def infinite_pixels_here_and_there(site: Site) -> None:
    labels, bands = truth(), values(truth())
    where = np.random.default_rng(0).random(SHAPE) < 0.02
    bands[0, where] = np.inf
    site.image("a.tif", np.where(where, 254, labels), bands, "float32")
    site.click(np.where(where, 255, labels))


@case("values")
def every_second_pixel_without_data(site: Site) -> None:
    labels, bands = truth(), values(truth())
    holes = (np.indices(SHAPE).sum(0) % 2).astype(bool)
    bands[:, holes] = np.nan
    labels = np.where(holes, 255, labels).astype(np.uint8)
    site.image("a.tif", labels, bands, "float32")
    site.click(labels)


@case("values")
def a_stripe_of_a_broken_detector(site: Site) -> None:
    labels, bands = truth(), values(truth())
    bands[:, :, 60] = 4095
    site.image("a.tif", np.where(np.arange(SHAPE[1]) == 60, 254, labels), bands)
    site.click(np.where(np.arange(SHAPE[1]) == 60, 255, labels))


@case("values")
def ninety_percent_without_data(site: Site) -> None:
    labels = np.full(SHAPE, 255, np.uint8)
    labels[30:60, 40:70] = truth()[30:60, 40:70]
    bands = values(labels % 255)
    bands[:, labels == 255] = -9999
    site.image("a.tif", labels, bands, "float32")
    site.click(labels)


# Projections


def projected(site: Site, crs: str, transform: Affine, points_in: str | None = None) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels), crs=crs, transform=transform)
    located = on_map(clicks(labels), transform)
    x = (located["x"] + 180) % 360 - 180 if crs == "EPSG:4326" else located["x"]
    frame = geopandas.GeoDataFrame(located[["class"]], geometry=geopandas.points_from_xy(x, located["y"]), crs=crs)
    if points_in is not None:
        frame = frame.to_crs(points_in)
    frame.to_file(site.folder / "points.gpkg")
    site.points = "points.gpkg"


ROTATED_POLE = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371229 +no_defs"


@each(
    "projections",
    "points in degrees on",
    **{
        "polar stereographic across the pole": ("EPSG:3031", from_origin(-32_000, 24_000, 500, 500)),
        "US survey feet": ("EPSG:2263", from_origin(980_000, 200_000, 1, 1)),
        "a zone across the antimeridian": ("EPSG:32601", from_origin(199_000, 2_000_000, 10, 10)),
        "degrees across the antimeridian": ("EPSG:4326", from_origin(179.9, 10, 0.002, 0.002)),
        "degrees from 0 to 360": ("EPSG:4326", from_origin(359.9, 10, 0.002, 0.002)),
        "web Mercator": ("EPSG:3857", from_origin(6_000_000, 2_800_000, 0.5, 0.5)),
        "a map with heights": ("EPSG:32640+5773", ORIGIN),
        "Mollweide": ("ESRI:54009", from_origin(1_000_000, 2_000_000, 10, 10)),
        "a pole that is turned": (ROTATED_POLE, from_origin(-5, 5, 0.01, 0.01)),
        "a sinusoidal grid of MODIS": ("+proj=sinu +R=6371007.181 +units=m", from_origin(5e5, 5e6, 500, 500)),
        "geostationary view": ("+proj=geos +h=35785831 +lon_0=0 +sweep=y", from_origin(-5e5, 2e6, 3000, 3000)),
        "pixels that are not square": (CRS, from_origin(300_000, 2_800_000, 0.5, 2)),
        "pixels that are mirrored": (CRS, ORIGIN * Affine.scale(-1, 1)),
        "a turned grid": (CRS, ORIGIN * Affine.rotation(30)),
        "the grid of Swiss maps": ("EPSG:2056", from_origin(2_600_000, 1_200_000, 0.5, 0.5)),
        "British maps": ("EPSG:27700", from_origin(400_000, 300_000, 5, 5)),
        "maps with northing first": ("EPSG:31468", from_origin(4_500_000, 5_300_000, 5, 5)),
    },
)
def in_degrees(site: Site, where: tuple[str, Affine]) -> None:
    projected(site, *where, points_in="EPSG:4326")


@case("projections")
def points_in_web_mercator_on_degrees(site: Site) -> None:
    projected(site, "EPSG:4326", from_origin(55, 25, 1e-5, 1e-5), "EPSG:3857")


# Sizes and names


@each(
    "sizes",
    "pixels",
    **{"1 by 1": (1, 1), "1 by 128": (1, 128), "96 by 1": (96, 1), "3 by 5": (3, 5), "17 by 16": (17, 16)},
)
def tiny_second_image(site: Site, shape: tuple[int, int]) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels))
    small = truth(shape)
    site.image("b.tif", small, values(small))
    site.click(labels)


@each(
    "names",
    "called",
    **{
        "with spaces": "my site, June.tif",
        "with other scripts": "площадка 敷地.tif",
        "with a quote": "owner's.tif",
        "with two dots": "a..tif",
        "with percent signs": "50%20off.tif",
        "with a hash": "a#1.tif",
        "with a minus first": "-a.tif",
        "with an equals sign": "a=b.tif",
        "with a dollar": "${a}.tif",
        "in 240 letters": "a" * 240 + ".tif",
        "in 225 letters": "a" * 225 + ".tif",
        "in capitals": "A.TIF",
        "with brackets": "a[1].tif",
        "with braces": "a{1}.tif",
        "like a layer of a map": "a_confidence.tif",
        "with a colon": "GTIFF:a.tif",
        "with a backslash": "a\\b.tif",
    },
)
def called(site: Site, name: str) -> None:
    labels = truth()
    site.image("x.tif", labels, values(labels))
    (site.folder / "x.tif").rename(site.folder / name)
    site.truths = {name: labels}
    (site.folder / "images.txt").write_text(f"{site.folder / name}\n")
    site.options.append(f"dataset.images='@{site.folder}/images.txt'")
    site.click(labels)


@case("names")
def far_in_the_future_and_before_1970(site: Site) -> None:
    import os

    labels = truth()
    for name, time in (("a.tif", 4e9), ("b.tif", -1e9)):
        site.image(name, labels, values(labels))
        os.utime(site.folder / name, (time, time))
    site.click(labels)
