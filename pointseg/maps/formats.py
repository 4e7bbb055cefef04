"""The files of a map: cloud-optimised GeoTIFF, PNG, polygons."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
import shapely
from jaxtyping import Float
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from pointseg import plots, qgis
from pointseg.errors import InputError
from pointseg.files import for_gis, writing
from pointseg.imagery.paths import TAG
from pointseg.imagery.rasters import Raster, reduced
from pointseg.prediction.trained import Trained
from pointseg.types import IGNORE, Points

log = logging.getLogger(__name__)
logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts records

PREVIEW = 1000  # pixels to which the longer side of a scene is reduced in a picture of it
BLOCK = 512  # side in pixels of a GeoTIFF's internal tiles
COG = {"compress": "DEFLATE", "blocksize": BLOCK, "bigtiff": "IF_SAFER"}


def tag(file: Path) -> str | None:
    """What made the map `file`; None where there is no file, or one that is not pointseg's."""
    if not file.exists():
        return None
    try:
        with rasterio.open(file) as dataset:
            found = dataset.tags().get(TAG)
    except RasterioError:
        return None
    return None if found is None else str(found)


def write(
    outputs: Mapping[str, Path],
    folder: Path,
    strips: Sequence[Path],
    model: Trained,
    raster: Raster,
    key: str,
    sieve: int,
) -> None:
    """The strips (.npy of layers, rows, columns; top to bottom) → the files of the layers, with `key` as their tag.

    sieve: areas of the class map of fewer pixels are joined to their largest neighbour; it is then held in memory, a
    byte a pixel. Raises InputError where that fails.
    """
    layers = {"classes": [0], "confidence": [1], "probabilities": list(range(2, 2 + len(model.classes)))}
    for name, output in outputs.items():
        raw, made = folder / f"{name}.raw.tif", folder / f"{name}{output.suffix}"
        with writing(output, "make room and give the same command, which goes on from the strips it has") as final:
            _write_raw(raw, strips, layers[name], model, raster, key)
            if name == "classes" and sieve > 1:
                _sieve(raw, sieve)
            if output.suffix.lower() == ".png":
                rasterio.shutil.copy(raw, made, driver="PNG")  # with a file beside it that nobody needs
            else:
                resampling = "MODE" if name == "classes" else "AVERAGE"
                rasterio.shutil.copy(raw, made, driver="COG", overview_resampling=resampling, **COG)
            _style(name, output, model)
            made.replace(final)
        raw.unlink()


def _sieve(file: Path, pixels: int) -> None:
    with rasterio.open(file, "r+") as dataset:
        labels = dataset.read(1)
        dataset.write(rasterio.features.sieve(labels, pixels, mask=labels != IGNORE), 1)


def _style(layer: str, output: Path, model: Trained) -> None:
    """What shows the layer as it is meant, before it appears itself."""
    if layer == "classes":
        qgis.write_class_style(output, model.classes, model.palette)
    elif layer == "confidence":
        # A PNG cannot say that its values are 255ths.
        qgis.write_confidence_style(output, 255 if output.suffix.lower() == ".png" else 1)


def _write_raw(file: Path, strips: Sequence[Path], bands: list[int], model: Trained, raster: Raster, key: str) -> None:
    height, width = raster.shape
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "bigtiff": "IF_SAFER"}
    profile |= {"count": len(bands), "height": height, "width": width}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    profile |= _place(raster)
    with rasterio.open(file, "w", **profile) as dataset:
        dataset.update_tags(**{TAG: key})
        if bands == [0]:
            names = {f"CLASS_{label}": name for label, name in enumerate(model.classes)}
            dataset.update_tags(**names)
            dataset.nodata = IGNORE
            colours = {label: (*map(int, colour), 255) for label, colour in enumerate(model.palette)}
            dataset.write_colormap(1, colours | {IGNORE: (0, 0, 0, 0)})
        else:
            dataset.scales = (1 / 255,) * len(bands)
            if len(bands) > 1:
                dataset.descriptions = model.classes
        row = 0
        for strip in strips:
            values = np.load(strip, mmap_mode="r")[bands]
            dataset.write(values, window=rasterio.windows.Window(0, row, width, values.shape[1]))
            row += values.shape[1]


def _place(raster: Raster) -> dict[str, Any]:
    """Of rasterio's profile: where the raster lies, be it by control points or in coordinates without a CRS."""
    if raster.mapped:
        return {"transform": raster.transform, **({} if raster.crs is None else {"crs": raster.crs})}
    stored = raster.file_of
    return {"gcps": stored.control_points(), "crs": stored.control_crs} if stored.control else {}


def check_polygons(raster: Raster) -> None:
    """Raises InputError where polygons of its map could not be placed."""
    if not raster.mapped and raster.file_of.control:
        raise InputError(
            f"{raster.file}: has control points alone, between which outlines would have to be bent; warp it first, as "
            "with gdalwarp, or leave out polygons=true."
        )


def preview_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}_preview.jpg")


def write_preview(file: Path, confidence: Path, model: Trained, raster: Raster, points: Points) -> None:
    """A picture of the scene with `points`, the map `file` and its confidence, beside the map."""
    image, factor = reduced(raster, PREVIEW)
    small = Points(points.rows * factor, points.cols * factor, points.labels)
    with rasterio.open(file) as classes, rasterio.open(confidence) as sure:
        layers = [dataset.read(1, out_shape=image.shape[:2]) for dataset in (classes, sure)]
    figure = plots.preview(image, small, layers[0], layers[1], model.palette, model.classes)
    picture = preview_file(file)
    with writing(picture) as partial:
        figure.savefig(partial)
    log.info("Picture: %s", picture)


def write_polygons(file: Path, raster: Raster, classes: Sequence[str], palette: plots.Palette, simplify: float) -> None:
    """The areas of the class map `file` of `raster` as polygons, in a GeoPackage beside it, where there is none.

    area: in square metres on the ground (geodesic; on the ellipsoid), square pixels on a plain picture, and the square
    of the unit of coordinates that have no CRS. On a plain picture y is −row, as map viewers place it.

    simplify: corners go whose triangle with both neighbours is smaller than a square of so many pixels a side; borders
    that two areas share stay shared (coverage simplification, Visvalingam-Whyatt).
    The map is held in memory, a byte a pixel.
    """
    output = file.with_suffix(".gpkg")
    if output.exists():
        log.info("%s: is there already, whatever simplify was; remove it to have it made anew.", output)
        return
    with rasterio.open(file) as dataset:
        labels = dataset.read(1)
    transform = raster.transform if raster.mapped else Affine.scale(1, -1)
    found = list(rasterio.features.shapes(labels, mask=labels != IGNORE, transform=transform))
    shapes = np.array([shapely.geometry.shape(shape) for shape, _ in found])
    if simplify:
        # The tolerance is the square root of the triangles' area.
        shapes = shapely.coverage_simplify(shapes, simplify * abs(transform.determinant) ** 0.5)
    names = [classes[int(label)] for _, label in found]
    frame = geopandas.GeoDataFrame({"class": names}, geometry=shapes, crs=raster.crs)
    frame["area"], unit = areas(frame)
    with writing(output) as partial:
        for_gis(frame).to_file(partial, driver="GPKG", layer="areas")
        qgis.save_style(partial, "areas", qgis.areas(classes, palette, "class"))
    log.info("Polygons: %s (%s; area in %s)", output, f"{len(frame):,}", unit if raster.mapped else "pixels")


def areas(frame: geopandas.GeoDataFrame) -> tuple[Float[np.ndarray, "n"], str]:
    """The areas of polygons, and their unit. Those of a CRS are geodesic: degrees and Web Mercator have none of use."""
    if frame.crs is None or frame.crs.is_engineering:
        return shapely.area(frame.geometry.to_numpy()), "the square of the coordinates' unit"
    degrees = frame.geometry.to_crs(frame.crs.geodetic_crs)
    ellipsoid = frame.crs.get_geod()
    # Rings are followed in one direction or the other.
    return np.array([abs(ellipsoid.geometry_area_perimeter(shape)[0]) for shape in degrees]), "square metres"
