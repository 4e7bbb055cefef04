"""Labels in a GeoPackage, changed in place by SQLite's transactions, as QGIS does it.

What the page does not know of stays: other columns, other layers, styles. SQLite keeps a change whole when the process
is killed, keeps two writers apart, and tells that somebody else has written.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely

from pointseg.annotation import places
from pointseg.annotation.readers.labels import on_map
from pointseg.annotation.readers.vector import BESIDE
from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.imagery.rasters import Raster
from pointseg.labelling.layer import FUNCTIONS, KINDS, Layer, create, kind_of, transformer
from pointseg.labelling.records import Change, ConflictError, Outline, Pixel, Record

logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts records

WAIT = 2.0  # seconds for another program to finish its transaction
NEVER = -1  # the version of a file that was not read yet
ENDINGS = ("", *BESIDE)  # of the layers' names, by KINDS: QGIS wants a layer for each


class GeoPackage:
    """A layer of points, and one each of lines and of polygons, made with the first of these.

    A record's place is x and y in the layer's CRS, or the line or polygon in it.
    column: names the class. layer: of the points, where there are several. Raises InputError for a file that holds no
    such points.
    """

    def __init__(self, file: Path, scenes: Sequence[Raster], column: str, layer: str | None) -> None:
        self.file, self.scenes, self.column, self.named = file, scenes, column, layer is not None
        if plain := [scene for scene in scenes if scene.crs is None]:
            raise InputError(
                f"points={file}: {plain[0].file} is not georeferenced, so its points have no place on a map; give a "
                ".csv, which names rows and columns."
            )
        if not file.exists():
            _create(file, layer or file.stem, column, scenes[0].crs)
        with reading(file, "a GeoPackage", "give another file, or a new name."):
            self._connect()
            self.layer = self._chosen(layer)
            self._describe()

    shapes = True

    @property
    def layers(self) -> list[str] | None:
        return [layer.name for layer in self.of_kind.values()] if self.named else None

    def read(self) -> list[Record]:
        with self._speaking():
            version = self._seen_version()  # before the rows: what comes between is noticed at the next look
            self._describe()
            records = [record for layer in self.of_kind.values() for record in layer.read()]
            self._version = version
            return records

    def foreign(self) -> bool:
        with self._speaking():
            if not self.file.exists():
                raise InputError(f"{self.file}: the file was removed; put it back, or start the page again.")
            if _identity(self.file) != self._opened:  # replaced by another file of that name
                self.connection.close()
                self._connect()
                return True
            return self._seen_version() != self._version

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        with self._speaking(), self._transaction():
            done = [self._apply(change) for change in changes]
            for layer in self.of_kind.values():
                layer.touch()
        return done

    def place_of(self, pixel: Pixel) -> tuple[float, float]:
        x, y = self._on_map(pixel.scene, np.array([[pixel.row + 0.5, pixel.col + 0.5]]), self.crs)[0]
        return float(x), float(y)

    def shape_of(self, scene: int, vertices: Sequence[tuple[float, float]], closed: bool) -> Any:
        crs = self._crs_of(KINDS[2 if closed else 1])
        corners = self._on_map(scene, np.array(vertices, np.float64).reshape(-1, 2), crs)
        if len(np.unique(corners, axis=0)) < (3 if closed else 2):
            raise InputError("A line needs two corners at least, and a polygon three.")
        shape = shapely.Polygon(corners) if closed else shapely.LineString(corners)
        if not shape.is_valid:
            raise InputError("The polygon crosses itself; draw it anew.")
        return shape

    def pixels_of(self, records: Sequence[Record]) -> list[list[Pixel]]:
        found: list[list[Pixel]] = [[] for _ in records]
        points = [n for n, record in enumerate(records) if kind_of(record) == "POINT"]
        x, y = np.array([records[n].place for n in points], np.float64).reshape(-1, 2).T
        for i, scene in enumerate(self.scenes):
            assert scene.crs is not None
            across, down = transformer(self.crs, scene.crs).transform(x, y)
            cols, rows = ~scene.transform * (np.asarray(across), np.asarray(down))
            inside = (rows >= 0) & (rows < scene.shape[0]) & (cols >= 0) & (cols < scene.shape[1])
            for n in np.flatnonzero(inside):
                found[points[n]].append(Pixel(i, int(rows[n]), int(cols[n])))
        return found

    def outlines_of(self, records: Sequence[Record]) -> list[list[Outline]]:
        found: list[list[Outline]] = [[] for _ in records]
        shapes = [n for n, record in enumerate(records) if kind_of(record) != "POINT"]
        for kind in KINDS[1:]:
            own = [n for n in shapes if kind_of(records[n]) == kind]
            if own:
                frame = geopandas.GeoDataFrame(geometry=[records[n].place for n in own], crs=self._crs_of(kind))
                for place in places.find(on_map(self.file, frame, None, None), self.scenes):
                    for line, geometry in zip(place.lines, place.geometries, strict=True):
                        found[own[line]].append(Outline(place.scene, geometry))
        return found

    def _crs_of(self, kind: str) -> str:
        """Of the layer, be it there or to be made."""
        layer = self.of_kind.get(kind)
        return layer.crs if layer else self.crs

    def _on_map(self, scene: int, positions: np.ndarray, crs: str) -> np.ndarray:
        """Rows and columns, from the corner of a scene, as x and y."""
        raster = self.scenes[scene]
        assert raster.crs is not None
        x, y = raster.transform * (positions[:, 1], positions[:, 0])
        return np.column_stack(transformer(raster.crs, crs).transform(x, y))

    def _connect(self) -> None:
        self.connection = sqlite3.connect(
            f"{self.file.absolute().as_uri()}?mode=rw", WAIT, isolation_level=None, check_same_thread=False, uri=True
        )
        # GDAL's spatial index is kept by triggers that call these.
        for name, read in FUNCTIONS.items():
            self.connection.create_function(name, 1, read, deterministic=True)
        self._opened = _identity(self.file)
        self._version = NEVER

    def _chosen(self, layer: str | None) -> str:
        """The layer of points: the one of that name, or the only one, but for those of its lines and polygons."""
        found = [name for (name,) in self.connection.execute("SELECT table_name FROM gpkg_geometry_columns")]
        own = [name for name in found if not any(name == f"{each}{end}" for each in found for end in ENDINGS[1:])]
        chosen = [name for name in (found if layer else own) if layer in (None, name)]
        if len(chosen) != 1:
            raise InputError(f"{self.file}: has the layers {', '.join(found)}; name one of them in layer.")
        return str(chosen[0])

    def _describe(self) -> None:
        self.of_kind: dict[str, Layer] = {}
        for number, (kind, ending) in enumerate(zip(KINDS, ENDINGS, strict=True)):
            layer = Layer.of(self.connection, self.file, number, f"{self.layer}{ending}", self.column)
            if layer is not None:
                self.of_kind[kind] = layer
        points = self.of_kind.get("POINT")
        if points is None or points.kind not in ("POINT", "GEOMETRY"):
            held = points.kind if points else "nothing"
            raise InputError(f"{self.file}: the layer {self.layer} holds {held}; points are needed.")
        self.crs = points.crs

    def _apply(self, change: Change) -> Change:
        record = change.before or change.after
        assert record is not None
        if record.id >= 0:
            owner = next(layer for layer in self.of_kind.values() if layer.number == record.id % len(KINDS))
            return owner.apply(change)
        kind = kind_of(record)
        if kind not in self.of_kind:
            number = KINDS.index(kind)
            name, points = f"{self.layer}{ENDINGS[number]}", self.of_kind["POINT"]
            create(self.connection, name, kind, points.srs, self.column)
            made = Layer.of(self.connection, self.file, number, name, self.column)
            assert made is not None
            self.of_kind[kind] = made
        return self.of_kind[kind].apply(change)

    def _seen_version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self.file.exists() or _identity(self.file) != self._opened:
            raise ConflictError(f"{self.file}: the file was removed or replaced; nothing was written.")
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self._describe()  # a layer that was made is gone again
            raise

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """SQLite's errors as InputErrors that say what to do."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise ConflictError(f"{self.file}: {error}; somebody else has changed it. Nothing was written.") from error
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"{self.file}: cannot be read or written ({error}); nothing was changed. Is it read-only, open "
                "elsewhere, or the disk full?"
            ) from error


def _create(file: Path, layer: str, column: str, crs: str | None) -> None:
    empty = geopandas.GeoDataFrame({column: pd.Series([], dtype=object)}, geometry=[], crs=crs)
    with writing(file) as partial:
        empty.to_file(partial, driver="GPKG", layer=layer, geometry_type="Point")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino
