"""A map of classes in a file, read strip by strip: where its classes lie, and how much ground they cover."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Float, Int
from pyproj import CRS, Geod, Proj, Transformer
from rasterio.transform import Affine

from pointseg import plots
from pointseg.colours import colours
from pointseg.errors import InputError, reading
from pointseg.types import Shape

OUTSIDE = -1  # of a pixel without a class
STRIP = 1 << 24  # pixels that are read at a time
HECTARE = 10_000  # square metres
DISTORTION = 0.01  # of areas by a projection, from which on it is set right


@dataclass(frozen=True)
class ClassMap:
    """values: of the file's first band, one for each class. crs: None for a plain picture. nodata: other values.

    transform: (col, row) counted from the corner of the top-left pixel → map coordinates.
    """

    file: Path
    classes: tuple[str, ...]
    values: tuple[int, ...]
    palette: plots.Palette
    shape: Shape
    crs: CRS | None
    transform: Affine

    @property
    def unit(self) -> str:
        return "pixels" if self.crs is None else "hectares"

    @cached_property
    def counts(self) -> Int[np.ndarray, "h k"]:
        """The pixels of each class in each row."""
        counts = np.zeros((self.shape[0], len(self.classes)), np.int64)
        for first, labels in self.strips():
            for label in range(len(self.classes)):
                counts[first : first + len(labels), label] = (labels == label).sum(1)
        return counts

    @cached_property
    def pixel_areas(self) -> Float[np.ndarray, "h"]:
        """The area of a pixel in each row, in `unit`: on the ellipsoid where the map is in degrees, or where its
        projection changes areas by more than DISTORTION, as Web Mercator does.

        Raises InputError for a map in degrees that is turned, whose pixels differ along a row.
        """
        if self.crs is None:
            return np.ones(self.shape[0])
        if self.crs.is_geographic:
            geod = self.crs.get_geod()
            assert geod is not None  # of every CRS in degrees
            return _geodesic(self.transform, self.shape[0], geod, self.file) / HECTARE
        metres = self.crs.axis_info[0].unit_conversion_factor
        projected = np.full(self.shape[0], abs(self.transform.determinant) * metres**2 / HECTARE)
        scales = self._areal_scales()
        return projected / scales if np.abs(scales - 1).max() > DISTORTION else projected

    @property
    def areas(self) -> Float[np.ndarray, "k"]:
        """Of each class on the map, in `unit`."""
        return np.asarray(self.pixel_areas @ self.counts)

    def strips(self) -> Iterator[tuple[int, Int[np.ndarray, "rows w"]]]:
        """(first row, classes of the pixels, OUTSIDE where there is none), from top to bottom."""
        rows = max(STRIP // self.shape[1], 1)
        for first in range(0, self.shape[0], rows):
            yield first, self.read(first, min(rows, self.shape[0] - first))

    def read(self, row: int, height: int) -> Int[np.ndarray, "height w"]:
        """The classes of whole rows. Raises InputError for a value that no class has."""
        with reading(self.file, "a map of classes", "copy it anew."), rasterio.open(self.file) as dataset:
            window = rasterio.windows.Window(0, row, self.shape[1], height)
            found, valid = dataset.read(1, window=window), dataset.read_masks(1, window=window) > 0
        labels = np.full(found.shape, OUTSIDE, np.int64)
        for label, value in enumerate(self.values):
            labels[valid & (found == value)] = label
        if (unknown := valid & (labels == OUTSIDE)).any():
            known = ", ".join(f"{name}: {value}" for name, value in zip(self.classes, self.values, strict=True))
            raise InputError(
                f"{self.file}: has the value {found[unknown][0]}, which is none of its classes ({known}); name all in "
                "classes={name: value, …}, or make it the file's nodata value."
            )
        return labels

    def at(self, rows: Int[np.ndarray, "n"], cols: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
        """The classes of single pixels; OUTSIDE also beyond the map."""
        inside = (rows >= 0) & (rows < self.shape[0]) & (cols >= 0) & (cols < self.shape[1])
        labels = np.full(len(rows), OUTSIDE, np.int64)
        for row in np.unique(rows[inside]):
            chosen = inside & (rows == row)
            labels[chosen] = self.read(int(row), 1)[0, cols[chosen]]
        return labels

    def _areal_scales(self) -> Float[np.ndarray, "h"]:
        """By how much the projection enlarges areas, in the middle of each row."""
        assert self.crs is not None
        if self.crs.geodetic_crs is None:  # coordinates of its own, which no projection has made
            return np.ones(self.shape[0])
        columns = np.full(self.shape[0], self.shape[1] / 2)
        x, y = self.transform * (columns, np.arange(self.shape[0]) + 0.5)
        to_degrees = Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)
        scales = np.asarray(Proj(self.crs).get_factors(*to_degrees.transform(x, y)).areal_scale, float)
        return np.where(np.isfinite(scales) & (scales > 0), scales, 1.0)


def open_map(file: Path, classes: Mapping[str, int] | None) -> ClassMap:
    """A map of pointseg's, or any other whose values `classes` names.

    Raises InputError where the file cannot be read, or does not tell its classes.
    """
    if not file.is_file():
        raise InputError(f"map={file}: no such file; give a map of classes, such as pointseg predict writes.")
    with reading(file, "a map of classes", "give a map that pointseg predict wrote."), rasterio.open(file) as dataset:
        tags, given, dtype = dataset.tags(), _colours(dataset), dataset.dtypes[0]
        shape = (dataset.height, dataset.width)
        crs = None if dataset.crs is None else CRS.from_user_input(dataset.crs)
        transform = dataset.transform
    named = dict(classes) if classes is not None else _tagged(tags)
    if len(named) < 2 or np.dtype(dtype).kind not in "ui":
        raise InputError(
            f"map={file}: does not tell two classes or more by whole numbers; give a map of classes and, if pointseg "
            "did not write it, the values of its classes, as in classes={water: 1, land: 2}."
        )
    values = list(named.values())
    if wrong := [value for value in values if isinstance(value, bool) or not isinstance(value, int)]:
        raise InputError(f"classes: {wrong[0]!r} is no whole number; give the map's value of each class.")
    if len(set(values)) < len(values):
        raise InputError(f"classes={named}: two classes have one value; each needs its own.")
    palette = [given.get(value, own) for value, own in zip(values, colours(len(values)), strict=True)]
    rgb = np.array([_rgb(colour) for colour in palette], np.uint8)
    return ClassMap(file, tuple(named), tuple(values), rgb, shape, crs, transform)


def _tagged(tags: Mapping[str, str]) -> dict[str, int]:
    """The classes and values that `pointseg predict` writes."""
    numbers = {key.removeprefix("CLASS_"): name for key, name in tags.items() if key.startswith("CLASS_")}
    return {name: int(number) for number, name in sorted(numbers.items(), key=lambda item: int(item[0]))}


def _colours(dataset: Any) -> dict[int, Any]:
    try:
        return dict(dataset.colormap(1))
    except ValueError:  # rasterio's word for none
        return {}


def _rgb(colour: int | Sequence[int]) -> list[int]:
    return [colour >> 16 & 255, colour >> 8 & 255, colour & 255] if isinstance(colour, int) else list(colour[:3])


def _geodesic(transform: Affine, rows: int, geod: Geod, file: Path) -> Float[np.ndarray, "h"]:
    """Square metres of a pixel of each row of a map in degrees."""
    if transform.b or transform.d:
        raise InputError(f"map={file}: is in degrees and turned; warp it first, as with gdalwarp.")
    edges = transform.f + transform.e * np.arange(rows + 1)
    width = abs(transform.a)
    return np.array(
        [
            abs(geod.polygon_area_perimeter([0, width, width, 0], [top, top, bottom, bottom])[0])
            for top, bottom in pairwise(edges)
        ]
    )
