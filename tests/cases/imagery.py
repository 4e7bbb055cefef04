"""Inputs that people meet, each a scene whose truth is known: right, or refused by a clear word.

A case is a function that builds a site (see `ground`); its name, with spaces, is its row in docs/reliability.md.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from tests.ground import SHAPE, Build, Site, clicks, on_map, truth, values
from tests.site import ORIGIN

CASES: dict[str, dict[str, Build]] = {}
"""Kind → name → case."""

EDGE = (slice(None), slice(0, 3))  # 2 % of the pixels
HOLE = (slice(20, 40), slice(30, 60))


def case(kind: str) -> Callable[[Build], Build]:
    def kept(build: Build) -> Build:
        CASES.setdefault(kind, {})[build.__name__.replace("_", " ")] = build
        return build

    return kept


def each(kind: str, name: str, **variants: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A case for each variant, which is given to it as its second argument."""

    def kept(build: Callable[..., None]) -> Callable[..., None]:
        for variant, value in variants.items():
            CASES.setdefault(kind, {})[f"{name}, {variant.replace('_', ' ')}"] = lambda site, v=value: build(site, v)  # type: ignore[misc]
        return build

    return kept


def holed(labels: np.ndarray, where: Any) -> np.ndarray:
    labels = labels.copy()
    labels[where] = 255
    return labels


# Bands by their numbers


def coloured(dataset: Any) -> None:
    """What GDAL writes of four 8-bit bands where nothing is said of them."""
    dataset.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)


def two_of_four(labels: np.ndarray, dtype: str) -> np.ndarray:
    """The classes differ in bands 1 and 3 alone; band 2 is dull, band 4 noise."""
    bands = values(labels, 4, (60, 130) if dtype == "uint8" else (300, 500))
    bands[2] = bands[1]
    rng = np.random.default_rng(5)
    bands[1] = bands[1].mean() + rng.normal(0, 3, labels.shape)
    bands[3] = rng.uniform(bands.min(), bands.max(), labels.shape)
    return bands


@each(
    "bands by number",
    "bands",
    in_another_order=[3, 2, 1, 4],
    three_of_four=[3, 2, 1],
    the_last_three=[2, 3, 4],
    one=[3],
    two=[1, 3],
    first_three=[1, 2, 3],
)
def by_number(site: Site, numbers: list[int]) -> None:
    labels = truth()
    site.image("a.tif", labels, two_of_four(labels, "uint16"))
    site.image(
        "b.tif", labels[::-1], two_of_four(labels[::-1], "uint16"), transform=ORIGIN * Affine.translation(5000, 0)
    )
    site.click(labels)
    site.options.append(f"dataset.bands={numbers}")


@each(
    "bands by number",
    "8-bit bands of which GDAL marks the fourth as alpha",
    all_=None,
    in_another_order=[3, 2, 1, 4],
    with_the_fourth=[2, 3, 4],
    without_it=[1, 2, 3],
    the_fourth_alone=[4],
)
def marked_alpha(site: Site, numbers: list[int] | None) -> None:
    labels = truth()
    bands = two_of_four(labels, "uint8")
    bands[3] = values(labels, 4, (60, 130))[3]
    bands[3][:, ::7] = 0  # dark water
    site.image("a.tif", labels, bands, "uint8", after=coloured)
    site.click(labels)
    if numbers:
        site.options.append(f"dataset.bands={numbers}")


@case("bands by number")
def a_map_of_RGB_by_a_run_on_bands_1_2_4_of_four(site: Site) -> None:  # noqa: N802
    labels = truth()
    site.image("a.tif", labels, two_of_four(labels, "uint8"), "uint8", photometric="RGB", alpha="no")
    site.image("b.tif", labels, two_of_four(labels, "uint8")[:3], "uint8")
    site.click(labels)
    site.options.append("dataset.bands=[1,2,4]")


@case("bands by number")
def alpha_in_another_place(site: Site) -> None:
    labels = truth()
    bands = values(labels, 3, (60, 130))
    opaque = np.full((1, *SHAPE), 255)
    site.image("a.tif", labels, bands, "uint8")

    def first(dataset: Any) -> None:
        dataset.colorinterp = (ColorInterp.alpha, ColorInterp.red, ColorInterp.green, ColorInterp.blue)

    site.image("b.tif", labels, np.concatenate([opaque, bands]), "uint8", after=first)
    site.click(labels)


@each("number of bands", "bands of uint16", one=1, two=2, five=5, thirteen=13)
def so_many(site: Site, count: int) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, count))
    site.click(labels)


@each(
    "number of bands", "one band", uint8="uint8", int16="int16", float32="float32", float64="float64", uint32="uint32"
)
def one_band(site: Site, dtype: str) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, 1, (60, 130)), dtype)
    site.click(labels)


@case("number of bands")
def a_grey_picture(site: Site) -> None:
    labels = truth()
    site.image("a.png", labels, values(labels, 1, (60, 130)), "uint8", crs=None, transform=None)
    site.click(labels)


@case("number of bands")
def alpha_alone(site: Site) -> None:
    labels = truth()

    def marked(dataset: Any) -> None:
        dataset.colorinterp = (ColorInterp.alpha,)

    site.image("a.tif", labels, np.full((1, *SHAPE), 255), "uint8", after=marked)
    site.click(labels)


@case("number of bands")
def no_band_named(site: Site) -> None:
    so_many(site, 3)
    site.options.append("dataset.bands=[]")


# Values without data


@each(
    "no data",
    "undeclared at the edge",
    **{
        "-9999 in float32": (-9999, "float32"),
        "-3.4e38": (float(np.finfo("float32").min), "float32"),
        "1e20": (1e20, "float32"),
        "9.97e36": (9.969209968386869e36, "float32"),
        "-9999 in int16": (-9999, "int16"),
        "-32768 in int16": (-32768, "int16"),
        "NaN": (np.nan, "float32"),
        "infinite": (np.inf, "float32"),
        "65535 in uint16": (65535, "uint16"),
        "0 in uint16": (0, "uint16"),
        "-1e4 in float64": (-1e4, "float64"),
        "-2147483648 in int32": (-(2**31), "int32"),
        "4294967295 in uint32": (2**32 - 1, "uint32"),
        "-1.8e308 in float64": (float(np.finfo("float64").min), "float64"),
        "-999 in float32": (-999, "float32"),
    },
)
def undeclared(site: Site, fill: tuple[float, str]) -> None:
    value, dtype = fill
    labels = truth()
    bands = values(labels)
    bands[(slice(None), *EDGE)] = value
    site.image("a.tif", holed(labels, EDGE), bands, dtype)
    site.click(holed(labels, EDGE))


@each("no data", "reflectance from 0 to 1 with undeclared", **{"-9999": -9999, "-1": -1, "0": 0, "1e20": 1e20})
def reflectance(site: Site, value: float) -> None:
    labels = truth()
    bands = values(labels, 4, (0.1, 0.3))
    bands[(slice(None), *HOLE)] = value
    site.image("a.tif", holed(labels, HOLE), bands, "float32")
    site.click(holed(labels, HOLE))


@each(
    "no data",
    "bands that lack it in different places",
    **{
        "-9999 in float32": (-9999, "float32"),
        "NaN": (np.nan, "float32"),
        "0 in uint16": (0, "uint16"),
        "65535 in uint16": (65535, "uint16"),
        "-9999 in int16": (-9999, "int16"),
    },
)
def apart(site: Site, fill: tuple[float, str]) -> None:
    """6 % of the pixels."""
    value, dtype = fill
    labels, bands = truth(), values(truth())
    missing = np.random.default_rng(8).random(bands.shape) < 0.02
    bands[missing] = value
    site.image("a.tif", np.where(missing.any(0), 254, labels), bands, dtype, nodata=value)
    site.click(labels)


@each(
    "no data",
    "holes under a quality band that is always filled",
    **{
        "-9999 in float32": (-9999, "float32"),
        "0 in uint16": (0, "uint16"),
    },
)
def quality(site: Site, fill: tuple[float, str]) -> None:
    labels = truth()
    bands = values(labels, 4)
    bands[3] = 400
    bands[(slice(0, 3), *HOLE)] = fill[0]
    site.image("a.tif", holed(labels, HOLE), bands, fill[1], nodata=fill[0])
    site.click(holed(labels, HOLE))


@case("no data")
def dark_pixels_of_8_bits_are_no_holes(site: Site) -> None:
    labels = truth()
    bands = np.clip(values(labels, 3, (0, 60), 0.1), 0, 255)
    bands[2] += 1
    site.image("a.tif", labels, bands, "uint8", nodata=0)
    site.click(labels)


@case("no data")
def a_hole_in_the_second_image_alone(site: Site) -> None:
    labels, bands = truth(), values(truth())
    site.image("a.tif", labels, bands, "float32")
    bands = bands.copy()
    bands[(slice(None), *HOLE)] = -9999
    site.image("b.tif", holed(labels, HOLE), bands, "float32")
    site.click(labels)


@case("no data")
def an_internal_mask(site: Site) -> None:
    labels = truth()
    inside = np.ones(SHAPE, bool)
    inside[HOLE] = False
    site.image("a.tif", holed(labels, HOLE), values(labels), after=lambda dataset: dataset.write_mask(inside))
    site.click(holed(labels, HOLE))


# Values far out, and values crowded together


@each("outliers", "saturated at 65535 in uint16", **{"0.5 %": 0.005, "2 %": 0.02, "4 %": 0.04})
def saturated(site: Site, share: float) -> None:
    labels, bands = truth(), values(truth())
    where = np.random.default_rng(4).random(SHAPE) < share
    bands[:, where] = 65535
    site.image("a.tif", np.where(where, 254, labels), bands)
    site.click(labels)


@each("outliers", "a few ships on SAR amplitude", one_band=1, two_bands=2)
def ships(site: Site, count: int) -> None:
    labels = truth()
    bands = values(labels, count, (0.08, 0.2)) * np.random.default_rng(2).gamma(16, 1 / 16, (count, *SHAPE))
    where = np.zeros(SHAPE, bool)
    for row, col in ((10, 10), (50, 90), (80, 40), (30, 70)):
        where[row : row + 4, col : col + 6] = True
    bands[:, where] = np.random.default_rng(3).uniform(30, 90, where.sum())
    site.image("a.tif", np.where(where, 254, labels), bands, "float32")
    site.click(np.where(where, 255, labels))


@case("outliers")
def SAR_power_over_forty_decibels(site: Site) -> None:  # noqa: N802
    labels = truth()
    rng = np.random.default_rng(2)
    bands = 10 ** (values(labels, 2, (-2.6, -1.8), 0) + np.where(rng.random(SHAPE) < 0.05, 2.2, 0))
    site.image("a.tif", labels, bands * rng.gamma(9, 1 / 9, bands.shape), "float32")
    site.click(labels, each=40)


@case("outliers")
def a_class_a_hundred_times_as_bright_as_two_others(site: Site) -> None:
    """A third of the ground is 9,000; the classes are 90 and 140."""
    labels = truth()
    bright = truth(seed=11).astype(bool) & (np.arange(SHAPE[1]) > 40)
    bands = np.where(bright, 9000 + np.random.default_rng(6).normal(0, 300, SHAPE), values(labels, 3, (90, 140)))
    site.image("a.tif", np.where(bright, 254, labels), bands)
    site.click(np.where(bright, 255, labels), each=40)


@each("outliers", "float values", **{"around 1e6": (1e6, 1), "around 1e-6": (0, 1e-8), "around 300 K": (300, 0.5)})
def offset_values(site: Site, level: tuple[float, float]) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels, 3, (level[0], level[0] + level[1])), "float32")
    site.click(labels)


# Scale and offset


def tagged(scale: float, offset: float) -> Callable[[Any], None]:
    def after(dataset: Any) -> None:
        dataset.scales, dataset.offsets = (scale,) * dataset.count, (offset,) * dataset.count

    return after


@each(
    "scale and offset",
    "another",
    **{
        "offset": ((1e-4, 0.0), (1e-4, -0.1), 1, 1000),
        "offset without a scale": ((1.0, 0.0), (1.0, -1000.0), 1, 1000),
        "scale": ((1e-4, 0.0), (2e-4, 0.0), 0.5, 0),
        "scale than none": ((1.0, 0.0), (1e-4, -0.1), 1, 1000),
    },
)
def tags(site: Site, how: tuple[tuple[float, float], tuple[float, float], float, float]) -> None:
    first, second, factor, shift = how
    labels, bands = truth(), values(truth())
    site.image("a.tif", labels, bands, after=tagged(*first))
    site.image("b.tif", labels, bands * factor + shift, after=tagged(*second))
    site.click(labels)


@case("scale and offset")
def two_offsets_among_the_images_of_training(site: Site) -> None:
    labels, bands = truth(), values(truth())
    site.image("a.tif", labels, bands, after=tagged(1e-4, 0))
    site.image("b.tif", labels, bands + 1000, after=tagged(1e-4, -0.1), transform=ORIGIN * Affine.translation(5000, 0))
    both = [clicks(labels).assign(scene=name) for name in "ab"]
    pd.concat(both).to_csv(site.folder / site.points, index=False)
    site.options.append(f"dataset.images='{site.folder}/*.tif'")


# Pictures that are shown turned


@each("orientation", "EXIF", **{str(value): value for value in (2, 3, 4, 5, 6, 7, 8)})
def turned(site: Site, value: int) -> None:
    """Stored as the camera was held; the clicks are counted in what a viewer shows."""
    from PIL import ImageOps

    labels = truth()
    shown = Image.fromarray(np.moveaxis(values(labels, 3, (60, 180)), 0, -1).astype(np.uint8))
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(value, value)
    exif = Image.Exif()
    exif[0x0112] = back
    stored = shown.copy()
    stored.getexif()[0x0112] = back
    stored = ImageOps.exif_transpose(stored)
    exif[0x0112] = value
    stored.save(site.folder / "a.jpg", quality=95, exif=exif)
    site.truths["a.jpg"] = labels
    site.click(labels)


# More between a plain picture and a CRS


def mapped_points(site: Site, labels: np.ndarray) -> None:
    on_map(clicks(labels)).to_csv(site.folder / site.points, index=False)


@case("place")
def a_transform_without_a_CRS(site: Site) -> None:  # noqa: N802
    labels = truth()
    site.image("a.tif", labels, values(labels), crs=None)
    mapped_points(site, labels)


@case("place")
def a_world_file(site: Site) -> None:
    labels = truth()
    Image.fromarray(np.moveaxis(values(labels, 3, (60, 180)), 0, -1).astype(np.uint8)).save(site.folder / "a.png")
    numbers = (ORIGIN.a, ORIGIN.d, ORIGIN.b, ORIGIN.e, ORIGIN.c + ORIGIN.a / 2, ORIGIN.f + ORIGIN.e / 2)
    (site.folder / "a.pgw").write_text("\n".join(map(str, numbers)))
    site.truths["a.png"] = labels
    mapped_points(site, labels)


@case("place")
def an_engineering_CRS_of_image_and_points(site: Site) -> None:  # noqa: N802
    import geopandas

    labels = truth()
    local = 'LOCAL_CS["quarry",UNIT["metre",1]]'
    site.image("a.tif", labels, values(labels), crs=local)
    points = on_map(clicks(labels))
    geopandas.GeoDataFrame(
        points[["class"]], geometry=geopandas.points_from_xy(points["x"], points["y"]), crs=local
    ).to_file(site.folder / "points.gpkg")
    site.points = "points.gpkg"


@case("place")
def ground_control_points_alone(site: Site) -> None:
    labels = truth()
    corners = [(row, col) for row in (0, SHAPE[0]) for col in (0, SHAPE[1])]
    control = [GroundControlPoint(row, col, *(ORIGIN * (col, row))) for row, col in corners]
    site.image("a.tif", labels, values(labels), gcps=control, transform=None)
    site.click(labels)


@case("place")
def points_in_degrees_on_a_transform_without_a_CRS(site: Site) -> None:  # noqa: N802
    labels = truth()
    site.image("a.tif", labels, values(labels), crs=None)
    pd.DataFrame({"lon": [10.0, 11.0], "lat": [50.0, 51.0], "class": ["bare", "crop"]}).to_csv(
        site.folder / site.points, index=False
    )


# Containers


@each("containers", "subdatasets", netcdf=("netCDF", "a.nc"))
def parts(site: Site, kind: tuple[str, str]) -> None:
    labels = truth()
    with rasterio.open(
        site.folder / kind[1], "w", driver=kind[0], count=3, height=SHAPE[0], width=SHAPE[1], dtype="float32"
    ) as dataset:
        dataset.write(values(labels).astype("float32"))
    site.truths[kind[1]] = labels
    site.click(labels)


# Many classes


@each("classes", "number", **{"255": 255, "280": 280})
def too_many(site: Site, count: int) -> None:
    labels = truth()
    site.image("a.tif", labels, values(labels))
    points = clicks(labels, each=200)
    points["class"] = [f"class {i % count}" for i in range(len(points))]
    points.to_csv(site.folder / site.points, index=False)
