"""Points, lines and polygons in the formats of GIS: GeoPackage, GeoJSON, Shapefile, and what else GDAL reads."""

import logging
from collections.abc import Sequence
from pathlib import Path

import geopandas
import pandas as pd
import pyogrio

from pointseg.annotation.readers.labels import Columns, Labels, on_map
from pointseg.annotation.readers.table import checked_crs, column_of, scene_of
from pointseg.errors import InputError, reading

log = logging.getLogger(__name__)

BESIDE = ("_lines", "_polygons")  # endings of the layers that the labelling page writes beside its points
DBASE = 10  # characters of a column's name in the table of a Shapefile
KINDS = {"Point", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "LinearRing"}


def read(file: Path, columns: Columns) -> Labels:
    """The features of its layers. A MultiPoint is several points; a MultiPolygon is one shape."""
    with reading(file, "points", "give a GeoPackage, GeoJSON, Shapefile or CSV."):
        frame = _joined(file, [geopandas.read_file(file, layer=layer) for layer in _layers(file, columns)], columns)
    empty = frame.geometry.isna() | frame.geometry.is_empty
    if empty.any():
        raise InputError(
            f"{file}: {empty.sum()} of its features have no geometry, the first is number {empty.argmax()}; mend "
            "the file."
        )
    several = frame.geom_type.isin(["MultiPoint", "GeometryCollection"])
    if several.any():
        frame = frame.explode(index_parts=False, ignore_index=True)
    if kinds := set(frame.geom_type) - KINDS:
        raise InputError(f"{file}: holds {', '.join(sorted(kinds))}; points, lines and polygons are read.")
    there = list(map(str, frame.columns))
    wanted = columns.column
    if wanted is not None:
        wanted = column_of(file, there, wanted[:DBASE] if file.suffix.lower() == ".shp" else wanted)
    return on_map(file, _with_crs(file, frame, columns.crs), wanted, scene_of(file, frame, columns.scene))


def _layers(file: Path, columns: Columns) -> list[str]:
    """The layers of these names, or the only one with geometries, or the only one that names classes.

    Layers as the labelling page writes them (points, and beside them <name>_lines and <name>_polygons) count as one.
    Tables of attributes, such as QGIS's layer_styles, hold no geometries.
    """
    layers = {str(name): kind for name, kind in pyogrio.list_layers(file)}
    spatial = [name for name, kind in layers.items() if kind is not None]
    if not spatial:
        raise InputError(f"{file}: has no geometry; give points, or a CSV with x and y.")
    wanted = [columns.layer] if isinstance(columns.layer, str) else list(columns.layer or ())
    if wanted and set(wanted) <= set(spatial):
        return wanted
    if len(spatial) == 1:
        return spatial
    column = (columns.column or "").casefold()
    labelled = [name for name in spatial if column in map(str.casefold, _fields(file, name))]
    first = min(labelled, key=len, default="")
    if (
        not set(wanted) & set(spatial)
        and set(labelled) <= {f"{first}{ending}" for ending in ("", *BESIDE)}
        and labelled
    ):
        listed = map(", ".join, (spatial, labelled))
        log.info("%s: of its layers %s, %s have a column %s", file, *listed, columns.column)
        return labelled
    raise InputError(f"{file}: has the layers {', '.join(spatial)}; name one in annotation.layer, or several as [a,b].")


def _joined(file: Path, frames: Sequence[geopandas.GeoDataFrame], columns: Columns) -> geopandas.GeoDataFrame:
    """All of them in the CRS of the first, without those that are empty, and each with the column of classes."""
    full = [frame for frame in frames if len(frame)] or list(frames[:1])
    if len(full) == 1:
        return full[0]
    if columns.column is not None:
        full = [
            frame.rename(columns={column_of(file, list(map(str, frame.columns)), columns.column): columns.column})
            for frame in full
        ]
    first = full[0].crs
    moved = [frame if frame.crs == first else frame.to_crs(first) for frame in full]
    return pd.concat(moved, ignore_index=True)


def _fields(file: Path, layer: str) -> list[str]:
    return list(map(str, pyogrio.read_info(file, layer=layer)["fields"]))


def _with_crs(file: Path, frame: geopandas.GeoDataFrame, crs: str | None) -> geopandas.GeoDataFrame:
    """The frame in its own CRS, or, where the file has none, in that of annotation.crs, if it is given."""
    given = checked_crs(crs)
    if frame.crs is None:
        return frame if given is None else frame.set_crs(given)
    if not frame.crs.is_geographic or abs(frame.total_bounds).max() <= 360:
        return frame
    # GeoJSON that does not say its CRS is taken for degrees, whatever its numbers are.
    if given is None or given.is_geographic:
        x, y = frame.total_bounds[:2]
        raise InputError(
            f"{file}: is said to be in degrees ({frame.crs.to_string()}), but has coordinates such as {x:,.0f}, "
            f"{y:,.0f}; name its CRS in annotation.crs, as EPSG:32640."
        )
    return frame.set_crs(given, allow_override=True)
