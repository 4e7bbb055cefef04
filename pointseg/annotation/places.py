"""From the labels of files to the pixels of scenes."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import geopandas
import numpy as np
import pandas as pd
import shapely
from jaxtyping import Bool, Float, Int
from pyproj import CRS
from rasterio.transform import Affine

from pointseg.annotation import scene_names, shapes
from pointseg.annotation.readers.labels import Labels
from pointseg.errors import InputError, reading
from pointseg.imagery.rasters import Raster, is_local
from pointseg.types import Window

log = logging.getLogger(__name__)

Geometries = np.ndarray  # of shapely's
NEAR = 64  # pixels a side of the blocks whose pixels are read together


@dataclass(frozen=True)
class Found:
    """Labels in one scene: their lines in the file's frame, and their geometries in its pixels, from its corner."""

    scene: int
    lines: Int[np.ndarray, "n"]
    geometries: Geometries


def find(labels: Labels, scenes: Sequence[Raster]) -> list[Found]:
    """Where the labels of a file lie. Raises InputError where the file does not say in which scene, or CRS."""
    with reading(labels.file, "labels on the map of the images", "give its CRS, as in annotation.crs=EPSG:4326."):
        placed = list((_by_name if labels.pixels else _by_map)(labels, scenes))
    found = []
    for scene, lines, geometries in placed:
        height, width = scenes[scene].shape
        bounds = shapely.bounds(geometries)
        inside = np.isfinite(bounds).all(1) & (bounds[:, :2] < (width, height)).all(1) & (bounds[:, 2:] >= 0).all(1)
        if inside.any():
            found.append(Found(scene, lines[inside], shapely.make_valid(geometries[inside])))
    return found


def pixels(found: Sequence[Found], names: np.ndarray, scenes: Sequence[Raster], per_shape: int) -> pd.DataFrame:
    """line, scene (index), row, col, name, shape (whether it is of a line or polygon), order and contested.

    A point gives its pixel, a line or polygon candidates in a random `order`, more than `per_shape` (see
    `shapes.candidates`); one that lies in several scenes gives pixels in each. Contested is a pixel of a shape
    that has another class by another label.
    names: the class of each line that `found` refers to.
    """
    points = [_points(place) for place in found]
    drawn = [of_shapes(place, scenes[place.scene], per_shape) for place in found]
    columns = {"line": int, "scene": int, "row": int, "col": int, "shape": bool, "order": float}
    parts = [table for table in (*points, *drawn) if len(table["line"])]
    joined = {
        name: np.concatenate([np.zeros(0, kind), *(part[name] for part in parts)]) for name, kind in columns.items()
    }
    table = pd.DataFrame(joined).astype(columns)
    return contested(table.assign(name=names[table["line"].to_numpy()]), found, names)


def contested(table: pd.DataFrame, found: Sequence[Found], names: np.ndarray) -> pd.DataFrame:
    """The table of `pixels` with the column `contested`."""
    table = table.assign(contested=False)
    for scene in table["scene"][table["shape"]].unique():
        here = [place for place in found if place.scene == scene]
        lines, geometries = (
            np.concatenate(part) for part in zip(*((x.lines, x.geometries) for x in here), strict=True)
        )
        of_scene = table[table["scene"] == scene]
        contrary = shapes.contested(of_scene, geometries, names[lines])
        table.loc[of_scene.index, "contested"] = of_scene["shape"] & contrary
    return table


Columns = dict[str, np.ndarray]


def _points(found: Found) -> Columns:
    chosen = shapely.get_type_id(found.geometries) == shapely.GeometryType.POINT
    x, y = (axis(found.geometries[chosen]) for axis in (shapely.get_x, shapely.get_y))
    none = np.zeros(len(x))
    return {"line": found.lines[chosen], "row": np.floor(y), "col": np.floor(x), "shape": none, "order": none} | {
        "scene": np.full(len(x), found.scene)
    }


def of_shapes(found: Found, scene: Raster, per_shape: int) -> Columns:
    """The candidates of the lines and polygons: columns of the table of `pixels`."""
    chosen = shapely.get_type_id(found.geometries) != shapely.GeometryType.POINT
    drawn = shapes.candidates(found.geometries[chosen], scene.shape, per_shape)
    size = len(drawn["index"])
    lines = found.lines[chosen][drawn.pop("index")]
    return {**drawn, "line": lines, "scene": np.full(size, found.scene), "shape": np.ones(size)}


Placed = tuple[int, Int[np.ndarray, "n"], Geometries]


def _by_name(labels: Labels, scenes: Sequence[Raster]) -> Iterator[Placed]:
    """Labels in pixels, in the scenes that they name; of one scene it need not be said."""
    frame = labels.frame
    if frame["scene"].isna().any() and len(scenes) > 1:
        raise InputError(
            f"{labels.file}: has rows and columns of {len(scenes)} scenes, but not for every label a scene that says "
            f"of which (column scene); the scenes are {', '.join(scene.id for scene in scenes[:10])}."
        )
    index = scene_names.of_images(frame["scene"].dropna().unique(), scenes, labels.file)
    of_line = frame["scene"].map(index).fillna(0).to_numpy(int)
    for i, scene in enumerate(scenes):
        lines = np.flatnonzero(of_line == i)
        if len(lines):
            yield i, lines, _resized(labels, frame.iloc[lines], scene)


def _resized(labels: Labels, frame: geopandas.GeoDataFrame, scene: Raster) -> Geometries:
    """The geometries in pixels of the scene, where a copy of another size was labelled."""
    geometries = np.asarray(frame.geometry)
    sizes = frame[["width", "height"]].dropna().drop_duplicates().to_numpy()
    if not len(sizes):
        return np.asarray(geometries)
    (width, height), (rows, cols) = sizes[0], scene.shape
    if len(sizes) > 1 or abs(width / height - cols / rows) > 1 / min(height, rows):
        raise InputError(
            f"{labels.file}: the labelled image of {scene.id} had {width:g}×{height:g} pixels (columns × rows), but "
            f"{scene.file} has {cols}×{rows}; label that image, or a smaller copy of the whole."
        )
    if (width, height) == (cols, rows):
        return np.asarray(geometries)
    log.info("%s: %s was labelled at %g×%g pixels, and has %d×%d", labels.file, scene.id, width, height, cols, rows)
    return np.asarray(shapely.transform(geometries, lambda xy: xy * (cols / width, rows / height)))


def _by_map(labels: Labels, scenes: Sequence[Raster]) -> Iterator[Placed]:
    """Labels in map coordinates, in the scenes whose extent they touch, or among these in those that they name."""
    named = _allowed(labels, scenes)
    for crs in dict.fromkeys(scene.crs for scene in scenes):
        of_crs = [i for i, scene in enumerate(scenes) if scene.crs == crs]
        geometries = _in_crs(labels, scenes[of_crs[0]])
        bounds: Float[np.ndarray, "n 4"] = shapely.bounds(geometries)
        # In degrees, one place has several longitudes.
        turns = (0, 360, -360) if crs is not None and CRS(crs).is_geographic else (0,)
        for i, turn in itertools.product(of_crs, turns):
            left, bottom, right, top = extent(scenes[i])
            near = (bounds[:, 0] <= right - turn) & (bounds[:, 2] >= left - turn)
            near &= (bounds[:, 1] <= top) & (bounds[:, 3] >= bottom)
            lines = np.flatnonzero(near & named[:, i])
            if len(lines):
                yield i, lines, _moved(geometries[lines], ~scenes[i].transform * Affine.translation(turn, 0))


def _allowed(labels: Labels, scenes: Sequence[Raster]) -> Bool[np.ndarray, "n s"]:
    """Whether a line may lie in a scene: in all, unless the file says in which."""
    size = len(labels.frame), len(scenes)
    if labels.frame["scene"].isna().all():
        return np.broadcast_to(np.True_, size)
    allowed = np.ones(size, bool)
    for text, lines in labels.frame.groupby("scene").indices.items():
        allowed[lines] = False
        allowed[np.ix_(lines, scene_names.of_parts(str(text), scenes))] = True
    return allowed


def _in_crs(labels: Labels, scene: Raster) -> Geometries:
    """Raises InputError where that is not known; what the scene's CRS cannot express is infinite, and lies outside."""
    frame = labels.frame
    if not scene.mapped:
        raise InputError(
            f"{scene.file}: is not georeferenced, so map coordinates cannot be placed in it; give its points as a "
            "CSV with row and col, or the image as a GeoTIFF with a CRS (of control points: warp it with gdalwarp)."
        )
    if is_local(frame.crs) and scene.local:
        return np.asarray(frame.geometry)
    if frame.crs is None:
        raise InputError(f"{labels.file}: does not say its CRS; give it, as in annotation.crs=EPSG:4326.")
    if is_local(frame.crs) or scene.local:
        without, other = (scene.file, labels.file) if scene.local else (labels.file, scene.file)
        raise InputError(
            f"{without}: is in coordinates of its own, whose place on {other} is not known; give it its CRS."
        )
    if frame.crs.equals(scene.crs, ignore_axis_order=True):
        return np.asarray(frame.geometry)
    return np.asarray(frame.to_crs(scene.crs).geometry)


def exchanged(labels: Sequence[Labels], outside: Int[np.ndarray, "n"], scenes: Sequence[Raster]) -> int:
    """How many of the labels that lie in no scene would lie in one if their x and y were exchanged.

    outside: their lines, counted through all files.
    """
    found, first = 0, 0
    for part in labels:
        lines = outside[(outside >= first) & (outside < first + len(part.frame))] - first
        frame = part.frame.iloc[lines]
        turned = frame.set_geometry(shapely.transform(frame.geometry.to_numpy(), lambda xy: xy[:, ::-1]), crs=frame.crs)
        places = find(replace(part, frame=turned), scenes)
        found += len({line for place in places for line in place.lines})
        first += len(part.frame)
    return found


def extent(scene: Raster) -> tuple[float, float, float, float]:
    """left, bottom, right, top of the scene in its map coordinates."""
    height, width = scene.shape
    corners = [scene.transform * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    x, y = zip(*corners, strict=True)
    return min(x), min(y), max(x), max(y)


def _moved(geometries: Geometries, affine: Affine) -> Geometries:
    a, b, c, d, e, f = affine[:6]
    return np.asarray(shapely.transform(geometries, lambda xy: xy @ [[a, d], [b, e]] + [c, f]))


def in_scene(placed: pd.DataFrame, scenes: Sequence[Raster]) -> Bool[np.ndarray, "n"]:
    """Which of the pixels (scene, row, col) lie in their scene."""
    shape = np.array([scene.shape for scene in scenes])[placed["scene"].to_numpy(int)]
    positions = placed[["row", "col"]].to_numpy()
    return np.asarray(((positions >= 0) & (positions < shape)).all(1))


def valid(placed: pd.DataFrame, scenes: Sequence[Raster]) -> Bool[np.ndarray, "n"]:
    """Which of the pixels hold data. Those that lie near each other are read together."""
    found = np.ones(len(placed), bool)
    rows, cols = placed["row"].to_numpy(), placed["col"].to_numpy()
    for (scene, _, _), lines in placed.groupby(["scene", rows // NEAR, cols // NEAR]).indices.items():
        row, col = rows[lines], cols[lines]
        window = Window(int(row.min()), int(col.min()), int(np.ptp(row)) + 1, int(np.ptp(col)) + 1)
        found[lines] = scenes[scene].valid(window)[row - row.min(), col - col.min()]
    return found
