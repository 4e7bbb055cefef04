"""Lines and polygons as labelled pixels: a few of each, so that a large shape does not outweigh many small ones."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import rasterio.features
import shapely
from jaxtyping import Int
from rasterio.transform import Affine

from pointseg.types import Shape

SPARE = 4  # candidates for each pixel wanted, because some hold no data or lie in another class's shape as well
STRIP = 1 << 24  # pixels of a shape that are drawn at a time


def candidates(geometries: Sequence[shapely.Geometry] | np.ndarray, size: Shape, count: int) -> dict[str, np.ndarray]:
    """index (of the shape), row, col and order: random pixels of each shape, SPARE × count at most, or all.

    A polygon has the pixels whose centres it holds, a line those that it crosses; one that has none the pixel in its
    middle. Which pixels these are follows from the shape alone.
    geometries: in pixels, from the corner of an image of this size (rows, columns).
    """
    parts = [_drawn(geometry, size, SPARE * count) for geometry in geometries]
    row, col, order = (np.concatenate([np.zeros(0, int), *(part[axis] for part in parts)]) for axis in range(3))
    index = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    return {"index": index, "row": row, "col": col, "order": order}


def _drawn(geometry: shapely.Geometry, size: Shape, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    digest = hashlib.sha256(shapely.to_wkb(shapely.transform(geometry, lambda xy: xy.round(3)))).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    rows, cols, order = (np.zeros(0, kind) for kind in (int, int, float))
    for row, col in _strips(geometry, size):
        keys = np.concatenate([order, rng.random(len(row))])
        first = np.argsort(keys)[:count]  # the smallest of random keys are a sample, however many strips there are
        rows, cols, order = np.concatenate([rows, row])[first], np.concatenate([cols, col])[first], keys[first]
    if len(rows):
        return rows, cols, order
    middle = shapely.point_on_surface(geometry)
    return np.array([int(middle.y // 1)]), np.array([int(middle.x // 1)]), np.zeros(1)


def _strips(geometry: shapely.Geometry, size: Shape) -> Iterator[tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]]:
    """The rows and columns of its pixels within the image, part by part."""
    bounds: np.ndarray = shapely.bounds(geometry)
    left, top = (int(max(np.floor(bound), 0)) for bound in bounds[:2])
    right, bottom = (int(min(np.floor(bound) + 1, side)) for bound, side in zip(bounds[2:], size[::-1], strict=True))
    height = max(STRIP // max(right - left, 1), 1)
    for first in range(top, bottom, height):
        shape = (min(height, bottom - first), right - left)
        if min(shape) > 0:
            moved = Affine.translation(left, first)
            crossed = shapely.get_dimensions(geometry) == 1  # a thin line holds no centres
            burnt = rasterio.features.rasterize([geometry], shape, transform=moved, all_touched=crossed)
            row, col = np.nonzero(burnt)
            yield row + first, col + left


def contested(pixels: pd.DataFrame, geometries: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Which of the pixels (row, col, name) of one scene have another name by another label.

    geometries: of all labels of the scene, in its pixels from its corner; names: theirs.
    """
    found: np.ndarray = pixels.groupby(["row", "col"])["name"].transform("nunique").to_numpy() > 1
    polygons = shapely.get_dimensions(geometries) == 2
    tree = shapely.STRtree(geometries[polygons])
    centres = shapely.points(pixels["col"].to_numpy() + 0.5, pixels["row"].to_numpy() + 0.5)
    pixel, polygon = tree.query(centres, predicate="within")
    found[pixel[names[polygons][polygon] != pixels["name"].to_numpy()[pixel]]] = True
    return found


def drawn(pixels: pd.DataFrame, per_shape: int) -> "pd.Series[bool]":
    """Which of the pixels label: all of points, and of each shape so many that can be used.

    Of one whose pixels all lack data, one stays, to be counted; where another class's shape lies, none.
    pixels: line, shape, order, valid and contested (see `places.pixels`).
    """
    usable = pixels["valid"] & ~pixels["contested"]
    order = pixels["order"].where(usable, pixels["order"] + 1)  # those that cannot be used come last
    rank = pixels.assign(order=order).sort_values("order", kind="stable").groupby("line").cumcount()
    return ~pixels["shape"] | (
        (rank.reindex(pixels.index) < per_shape) & (usable | ((rank == 0) & ~pixels["contested"]))
    )
