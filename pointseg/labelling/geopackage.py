"""Points in a GeoPackage, changed in place by SQLite's transactions, as QGIS does it.

What the page does not know of stays: other columns, other layers, styles. SQLite keeps a change whole when the process
is killed, keeps two writers apart, and tells that somebody else has written.
"""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer

from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.imagery.rasters import Raster
from pointseg.labelling.records import Change, ConflictError, Pixel, Record

logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts records

WAIT = 2.0  # seconds for another program to finish its transaction
ENVELOPES = (0, 32, 48, 48, 64)  # bytes, by the flags of a geometry's head (GeoPackage 1.3, clause 2.1.3)


class GeoPackage:
    """A layer of points; a record's place is x and y in the layer's CRS.

    column: names the class. layer: where there are several. Raises InputError for a file that holds no such points.
    """

    def __init__(self, file: Path, scenes: Sequence[Raster], column: str, layer: str | None) -> None:
        self.file, self.scenes, self.column = file, scenes, column
        if plain := [scene for scene in scenes if scene.crs is None]:
            raise InputError(
                f"points={file}: {plain[0].file} is not georeferenced, so its points have no place on a map; give a "
                ".csv, which names rows and columns."
            )
        if not file.exists():
            _create(file, layer or file.stem, column, scenes[0].crs)
        with reading(file, "a GeoPackage", "give another file, or a new name."):
            self._connect()
            self._describe(layer)

    def read(self) -> list[Record]:
        with self._speaking():
            self._version = self._seen_version()  # before the rows: what comes between is noticed at the next look
            return [self._record(row) for row in self._rows()]

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
            self.connection.execute(
                "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE table_name = ?",
                (self.layer,),
            )
        return done

    def place_of(self, pixel: Pixel) -> tuple[float, float]:
        scene = self.scenes[pixel.scene]
        x, y = scene.transform * (pixel.col + 0.5, pixel.row + 0.5)
        assert scene.crs is not None
        x, y = _transformer(scene.crs, self.crs).transform(x, y)
        return float(x), float(y)

    def pixels_of(self, records: Sequence[Record]) -> list[list[Pixel]]:
        found: list[list[Pixel]] = [[] for _ in records]
        x, y = np.array([record.place for record in records], np.float64).reshape(-1, 2).T
        for i, scene in enumerate(self.scenes):
            assert scene.crs is not None
            to_scene = ~scene.transform
            across, down = _transformer(self.crs, scene.crs).transform(x, y)
            cols, rows = to_scene * (np.asarray(across), np.asarray(down))
            inside = (rows >= 0) & (rows < scene.shape[0]) & (cols >= 0) & (cols < scene.shape[1])
            for n in np.flatnonzero(inside):
                found[n].append(Pixel(i, int(rows[n]), int(cols[n])))
        return found

    def _connect(self) -> None:
        self.connection = sqlite3.connect(
            f"{self.file.absolute().as_uri()}?mode=rw", WAIT, isolation_level=None, check_same_thread=False, uri=True
        )
        # GDAL's spatial index is kept by triggers that call these.
        for name, read in FUNCTIONS.items():
            self.connection.create_function(name, 1, read, deterministic=True)
        self._opened = _identity(self.file)
        self._version = self._seen_version()

    def _describe(self, layer: str | None) -> None:
        found = self.connection.execute(
            "SELECT table_name, column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns"
        ).fetchall()
        chosen = [line for line in found if layer in (None, line[0])]
        if len(chosen) != 1:
            names = ", ".join(line[0] for line in found)
            raise InputError(f"{self.file}: has the layers {names}; name one of them in layer.")
        self.layer, self.geometry, kind, self.srs = chosen[0]
        if kind not in ("POINT", "GEOMETRY"):
            raise InputError(f"{self.file}: the layer {self.layer} holds {kind}; points are needed.")
        columns = self.connection.execute(f"PRAGMA table_info({_quoted(self.layer)})").fetchall()
        self.columns = [line[1] for line in columns]
        self.key = next(line[1] for line in columns if line[5])
        if self.column not in self.columns:
            names = ", ".join(name for name in self.columns if name not in (self.key, self.geometry))
            raise InputError(
                f"{self.file}: no column {self.column!r} for the class; column=<name> names another of {names}."
            )
        definition, organisation, code = self.connection.execute(
            "SELECT definition, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
            (self.srs,),
        ).fetchone()
        known = organisation.upper() == "EPSG"
        self.crs = CRS.from_user_input(f"EPSG:{code}" if known else definition).to_wkt()

    def _rows(self, where: str = "", values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        names = ", ".join(map(_quoted, self.columns))
        return self.connection.execute(f"SELECT {names} FROM {_quoted(self.layer)} {where}", values).fetchall()

    def _record(self, row: Sequence[Any]) -> Record:
        values = dict(zip(self.columns, row, strict=True))
        key, name, blob = (values.pop(column) for column in (self.key, self.column, self.geometry))
        name = str(name).strip() if name is not None else ""
        point = None if blob is None else _geometry(blob)
        if point is None or point.geom_type != "Point" or point.is_empty:
            raise InputError(
                f"{self.file}: the feature {key} of {self.layer} is no point; mend the file, or give another."
            )
        return Record(int(key), name or None, (point.x, point.y), values)

    def _apply(self, change: Change) -> Change:
        before, after = change
        if before is not None:
            rows = self._rows(f"WHERE {_quoted(self.key)} = ?", (before.id,))
            if [self._record(row) for row in rows] != [before]:
                raise ConflictError(f"{self.file}: somebody else has changed this point; nothing was written.")
        if after is None:
            assert before is not None
            self.connection.execute(f"DELETE FROM {_quoted(self.layer)} WHERE {_quoted(self.key)} = ?", (before.id,))
            return change
        values: dict[str, Any] = {**after.rest, self.column: after.name}
        if before is None or before.place != after.place:  # another point keeps its geometry to the byte
            values[self.geometry] = _blob(after.place, self.srs)
        if before is None:
            return Change(None, self._insert(values, after))
        listed = ", ".join(f"{_quoted(name)} = ?" for name in values)
        self.connection.execute(
            f"UPDATE {_quoted(self.layer)} SET {listed} WHERE {_quoted(self.key)} = ?", (*values.values(), before.id)
        )
        return change

    def _insert(self, values: dict[str, Any], record: Record) -> Record:
        if record.id >= 0:  # one that was removed comes back under its number
            values[self.key] = record.id
        names, marks = ", ".join(map(_quoted, values)), ", ".join("?" * len(values))
        cursor = self.connection.execute(
            f"INSERT INTO {_quoted(self.layer)} ({names}) VALUES ({marks})", tuple(values.values())
        )
        self.connection.execute(
            "UPDATE gpkg_contents SET min_x = min(ifnull(min_x, :x), :x), max_x = max(ifnull(max_x, :x), :x), "
            "min_y = min(ifnull(min_y, :y), :y), max_y = max(ifnull(max_y, :y), :y) WHERE table_name = :layer",
            {"x": record.place[0], "y": record.place[1], "layer": self.layer},
        )
        return self._record(self._rows(f"WHERE {_quoted(self.key)} = ?", (cursor.lastrowid,))[0])

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


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)  # as geopandas has it: x before y, whatever the CRS


def _geometry(blob: bytes) -> Any:
    return shapely.from_wkb(blob[8 + ENVELOPES[blob[3] >> 1 & 7] :])


def _blob(place: Sequence[float], srs: int) -> bytes:
    head = b"GP\x00\x01" + srs.to_bytes(4, "little", signed=True)
    return head + bytes(shapely.to_wkb(shapely.Point(*place), byte_order=1))


def _bound(index: int) -> Callable[[bytes], float]:
    return lambda blob: float(_geometry(blob).bounds[index])


FUNCTIONS: dict[str, Callable[[bytes], Any]] = {
    "ST_IsEmpty": lambda blob: int(_geometry(blob).is_empty),
    **{name: _bound(i) for i, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY"))},
}
