"""Points that a person labelled: GeoPackage, GeoJSON, Shapefile, CSV."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import geopandas
import numpy as np
import pandas as pd
from jaxtyping import Bool
from pyproj.exceptions import CRSError
from rasterio.transform import rowcol

from pointseg.errors import Faults, InputError, reading
from pointseg.imagery.rasters import Raster, is_local
from pointseg.types import Dataset, Points, Scene, Window

log = logging.getLogger(__name__)

SHOWN = 5  # points that are listed of those that cannot be used
Rule = Literal["skip", "refuse"]


@dataclass(frozen=True)
class Given:
    """The points of a file, as pixels of scenes. Which of them are held out: see `datasets.held_out`.

    A CSV has the columns x and y (map coordinates; also lon, lat or longitude, latitude) or row and
    col (whole pixels from the top left, and scene, the scene's id, where there are several).

    column: the one that names the class. A point without a class is not labelled yet and left out.
    layer: of a GeoPackage that has several.
    crs: of the coordinates, as EPSG:32640, where the file does not say it.
    outside, nodata, contradicting: what becomes of points in no scene, on pixels without data, and of
        pixels that are given two classes: left out and counted, or an error. Points that repeat
        a pixel and its class are one.
    """

    column: str
    layer: str | None
    crs: str | None
    outside: Rule
    nodata: Rule
    contradicting: Rule

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterator[Points]:
        """The points that the dataset was read with. Raises InputError for a dataset that has none."""
        if dataset.points is None:
            raise InputError("annotation=given: this dataset has masks and no points of a person; use dataset=field.")
        points = dataset.points
        return (points[scene.id] for scene in scenes)

    def read(self, files: Sequence[Path], scenes: Sequence[Raster]) -> pd.DataFrame:
        """The labelled pixels: scene (index into `scenes`), row, col, name (of the class), one line a pixel.

        point is the same for what one point labels: one that lies in several scenes labels each of them.
        Raises InputError where a file cannot be read, lacks what is needed, or has what a rule refuses.
        """
        tables = self._tables(files)
        listed = ", ".join(map(str, files))
        placed = self._placed(tables, scenes)
        within = in_scene(placed, scenes)
        outside = placed[~placed["point"].isin(placed["point"][within])].drop_duplicates("point")
        placed = placed[within]
        valid = _valid(placed, scenes)
        unique = placed[valid].drop_duplicates(["scene", "row", "col", "name"], ignore_index=True)
        contradicting = unique.duplicated(["scene", "row", "col"], keep=False)
        with Faults() as faults:
            for rule, points, where in (
                ("outside", outside, f"in no scene ({_extents(scenes)})"),
                ("nodata", placed[~valid], "on pixels without data"),
                ("contradicting", unique[contradicting], "on one pixel with another class"),
            ):
                with faults.step():
                    self._apply(rule, points, where, listed)
        used = unique[~contradicting]
        total = sum(map(len, tables.values()))
        unnamed = total - sum(int(table["name"].notna().sum()) for table in tables.values())
        if used.empty:
            raise InputError(
                f"{listed}: none of its {total} points can be used: {unnamed} have no class, {len(outside)} lie in "
                "no scene. Is the CRS right?"
            )
        log.info(
            "%s: %d points, %d without a class, %d repeated; %d labelled pixels in %d of %d scenes",
            *(listed, total, unnamed, int(valid.sum()) - len(unique), len(used), used["scene"].nunique(), len(scenes)),
        )
        return used

    def _tables(self, files: Sequence[Path]) -> dict[Path, pd.DataFrame]:
        tables = {}
        with Faults() as faults:
            for file in files:
                with faults.step():
                    tables[file] = self._table(file)
        return tables

    def _placed(self, tables: Mapping[Path, pd.DataFrame], scenes: Sequence[Raster]) -> pd.DataFrame:
        """The pixels of all points that have a class (see `read`), whether they lie in a scene or not."""
        parts = []
        with Faults() as faults:
            for i, (file, table) in enumerate(tables.items()):
                with faults.step():
                    parts.append(_place(table[table["name"].notna()], file, scenes).assign(file=i))
        placed = pd.concat(parts)
        placed["point"] = placed.groupby(["file", "point"]).ngroup()
        return placed

    def _apply(self, rule: str, points: pd.DataFrame, where: str, files: str) -> None:
        """Leave these points out, or raise InputError, as the rule says."""
        if points.empty:
            return
        first = ", ".join(
            f"{name!r} at row {row}, col {col}"
            for name, row, col in points[["name", "row", "col"]].head(SHOWN).itertuples(index=False)
        )
        found = f"{files}: {len(points)} points lie {where}: {first}{', …' if len(points) > SHOWN else ''}"
        if getattr(self, rule) == "refuse":
            raise InputError(f"{found}. Mend the file, or leave them out with annotation.{rule}=skip.")
        log.warning("%s. They are left out.", found)

    def _table(self, file: Path) -> pd.DataFrame:
        """point (line of the file, from 0), name, and row, col (and scene) or the geometry."""
        frame = self._read(file)
        if self.column not in frame:
            columns = ", ".join(str(column) for column in frame.columns if column != "geometry")
            raise InputError(
                f"{file}: no column {self.column!r} for the class; name it in annotation.column: {columns}."
            )
        names = frame[self.column].astype("string").str.strip()
        return frame.assign(name=names.mask(names == ""), point=np.arange(len(frame)))

    def _read(self, file: Path) -> pd.DataFrame:
        if not file.is_file():
            raise InputError(f"points={file}: no such file; give a GeoPackage, GeoJSON, Shapefile or CSV of points.")
        if file.suffix.lower() == ".csv":
            return self._read_csv(file)
        with reading(file, "points", "give a GeoPackage, GeoJSON, Shapefile or CSV."):
            layers = geopandas.list_layers(file)["name"].tolist()
            if len(layers) > 1 and self.layer is None:
                raise InputError(f"{file}: has the layers {', '.join(layers)}; name one in annotation.layer.")
            frame = geopandas.read_file(file, layer=self.layer)
        if not isinstance(frame, geopandas.GeoDataFrame):
            raise InputError(f"{file}: has no geometry; give points, or a CSV with x and y.")
        empty = frame.geometry.isna() | frame.geometry.is_empty
        if empty.any():
            raise InputError(
                f"{file}: {empty.sum()} of its features have no geometry, the first is number {empty.argmax()}; mend "
                "the file."
            )
        frame = frame.explode(index_parts=False, ignore_index=True)
        if kinds := set(frame.geom_type) - {"Point"}:
            found = ", ".join(sorted(kinds))
            raise InputError(f"{file}: holds {found}; points are needed (the centroid of a polygon is one way).")
        return self._with_crs(frame, file)

    def _read_csv(self, file: Path) -> pd.DataFrame:
        with reading(file, "CSV", "write a header and a point a line, in UTF-8."):
            # As spreadsheets write it: separated by commas, semicolons or tabs.
            frame = pd.read_csv(file, dtype={self.column: "string", "scene": "string"}, sep=None, engine="python")
        positions = {"row", "col", "scene", "x", "y", "lon", "lat", "longitude", "latitude"}
        frame = frame.rename(columns={name: str(name).lower() for name in frame if str(name).lower() in positions})
        if {"row", "col"} <= set(frame.columns):
            _numeric(frame, ("row", "col"), file)
            return frame
        for pair in (("x", "y"), ("lon", "lat"), ("longitude", "latitude")):
            if set(pair) <= set(frame.columns):
                _numeric(frame, pair, file)
                points = geopandas.points_from_xy(frame[pair[0]], frame[pair[1]])
                degrees = "EPSG:4326" if pair[0] != "x" and self.crs is None else None
                return self._with_crs(geopandas.GeoDataFrame(frame, geometry=points, crs=degrees), file)
        raise InputError(
            f"{file}: needs the columns row and col, or x and y (or lon and lat); it has {', '.join(frame.columns)}."
        )

    def _with_crs(self, frame: geopandas.GeoDataFrame, file: Path) -> geopandas.GeoDataFrame:
        if self.crs is None:  # which images without one do not need
            return frame
        try:
            return frame if frame.crs is not None else frame.set_crs(self.crs)
        except CRSError as error:
            raise InputError(f"annotation.crs={self.crs}: no CRS of that name is known ({error}).") from error


def _numeric(frame: pd.DataFrame, columns: tuple[str, str], file: Path) -> None:
    for column in columns:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        if not np.isfinite(numbers).all():
            line = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InputError(f"{file}, line {line + 2}: {column} is {frame[column].iloc[line]!r}, not a number.")
        frame[column] = numbers


def _extents(scenes: Sequence[Raster]) -> str:
    """The ground of the first scene in words, to hold points against that lie elsewhere."""
    height, width = scenes[0].shape
    return f"{scenes[0].id}, the first of {len(scenes)}, has {height} rows and {width} columns"


def _place(table: pd.DataFrame, file: Path, scenes: Sequence[Raster]) -> pd.DataFrame:
    if "row" in table and "geometry" not in table:
        placed = _by_pixels(table, file, scenes)
    else:
        with reading(file, "points on the map of the images", "give its CRS, as in annotation.crs=EPSG:4326."):
            _check_places(table, file, scenes)
            placed = _by_map(table, scenes)
    return placed[["point", "scene", "row", "col", "name"]]


def _by_pixels(table: pd.DataFrame, file: Path, scenes: Sequence[Raster]) -> pd.DataFrame:
    whole = table[["row", "col"]].round().astype("int64")
    if "scene" not in table:
        if len(scenes) > 1:
            raise InputError(
                f"{file}: has rows and columns of {len(scenes)} scenes, but no column scene that says of which; "
                f"the scenes are {', '.join(scene.id for scene in scenes[:10])}."
            )
        return table.assign(scene=0, **whole)
    index = {name: i for i, scene in enumerate(scenes) for name in (scene.id, scene.file.name)}
    return table.assign(scene=table["scene"].map(index).fillna(-1).astype("int64"), **whole)


def _check_places(table: pd.DataFrame, file: Path, scenes: Sequence[Raster]) -> None:
    """Raises InputError where the points' place on a scene is not known."""
    for scene in scenes:
        if not scene.mapped:
            raise InputError(
                f"{scene.file}: is not georeferenced, so map coordinates cannot be placed in it; give its points as a "
                "CSV with row and col, or the image as a GeoTIFF with a CRS (of control points: warp it with gdalwarp)."
            )
        if table.crs is None and not scene.local:
            raise InputError(f"{file}: does not say its CRS; give it, as in annotation.crs=EPSG:4326.")
        if scene.local != is_local(table.crs):
            without, other = (scene.file, file) if scene.local else (file, scene.file)
            raise InputError(
                f"{without}: is in coordinates of its own, whose place on {other} is not known; give it its CRS."
            )


def _by_map(table: geopandas.GeoDataFrame, scenes: Sequence[Raster]) -> pd.DataFrame:
    """The points in each scene that they lie in; those that lie in none, in the first."""
    by_crs = {crs: table if is_local(crs) else table.to_crs(crs) for crs in {scene.crs for scene in scenes}}
    parts, found = [], np.zeros(len(table), bool)
    for i, scene in enumerate(scenes):
        placed = _pixels_of(by_crs[scene.crs], scene).assign(scene=i)
        positions = placed[["row", "col"]].to_numpy()
        inside = ((positions >= 0) & (positions < scene.shape)).all(1)
        parts.append(placed[inside])
        found |= inside
    outside = _pixels_of(by_crs[scenes[0].crs][~found], scenes[0]).assign(scene=0)
    return pd.concat([*parts, outside])


def _pixels_of(table: geopandas.GeoDataFrame, scene: Raster) -> pd.DataFrame:
    """The points with row and col in the scene, negative or beyond its size where they lie outside."""
    geometry = table.geometry
    # A point that the scene's CRS cannot express is infinite; it lies outside like any other.
    finite = np.isfinite(geometry.x) & np.isfinite(geometry.y)
    x, y = (np.where(finite, axis, -np.inf) for axis in (geometry.x, geometry.y))
    rows, cols = rowcol(scene.transform, x, y, op=np.floor)
    rows, cols = (np.nan_to_num(axis, nan=-1).clip(-1, 1 << 40) for axis in (rows, cols))
    return table.assign(row=rows.astype("int64"), col=cols.astype("int64"))


def in_scene(placed: pd.DataFrame, scenes: Sequence[Raster]) -> Bool[np.ndarray, "n"]:
    """Which of the pixels (scene, row, col) lie in their scene; a scene of -1 is none."""
    shapes = np.array([scene.shape for scene in scenes])[placed["scene"]]
    positions = placed[["row", "col"]].to_numpy()
    return np.asarray((placed["scene"].to_numpy() >= 0) & ((positions >= 0) & (positions < shapes)).all(1))


def _valid(placed: pd.DataFrame, scenes: Sequence[Raster]) -> Bool[np.ndarray, "n"]:
    """Which of the pixels hold data."""
    valid = np.ones(len(placed), bool)
    rows, cols = placed["row"].to_numpy(), placed["col"].to_numpy()
    for scene, indices in placed.groupby("scene").indices.items():
        for i in indices:
            valid[i] = scenes[scene].valid(Window(int(rows[i]), int(cols[i]), 1, 1))[0, 0]
    return valid
