"""One layer of a GeoPackage as records, by SQL alone, so that the file's other contents stay as they are."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS, Transformer

from pointseg.errors import InputError
from pointseg.labelling.records import Change, ConflictError, Record

KINDS = ("POINT", "LINESTRING", "POLYGON")
ENVELOPES = (0, 32, 48, 48, 64)  # bytes, by the flags of a geometry's head (GeoPackage 1.3, clause 2.1.3)


@dataclass(frozen=True)
class Layer:
    """A table of features: its columns, and which of them are the key, the geometry and the class (`column`).

    number: of the layer in its file. A record's id is the row's key and that number: key · len(KINDS) + number.
    """

    connection: sqlite3.Connection
    file: Path
    number: int
    name: str
    geometry: str
    kind: str
    srs: int
    column: str
    columns: tuple[str, ...]
    key: str

    @classmethod
    def of(cls, connection: sqlite3.Connection, file: Path, number: int, name: str, column: str) -> "Layer | None":
        """Of that name; None where the file has no such layer. Raises InputError where it has no such column."""
        found = connection.execute(
            "SELECT column_name, geometry_type_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?", (name,)
        ).fetchone()
        if found is None:
            return None
        lines = connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
        columns, key = tuple(line[1] for line in lines), next(line[1] for line in lines if line[5])
        geometry, kind, srs = found
        if column not in columns:
            there = ", ".join(each for each in columns if each not in (key, geometry))
            raise InputError(
                f"{file}: no column {column!r} for the class in the layer {name}; column=<name> names another of "
                f"{there}."
            )
        return cls(connection, file, number, name, geometry, kind, srs, column, columns, key)

    @property
    def crs(self) -> str:
        """As WKT."""
        definition, organisation, code = self.connection.execute(
            "SELECT definition, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
            (self.srs,),
        ).fetchone()
        known = organisation.upper() == "EPSG"
        return str(CRS.from_user_input(f"EPSG:{code}" if known else definition).to_wkt())

    def read(self) -> list[Record]:
        return [self._record(row) for row in self._rows()]

    def apply(self, change: Change) -> Change:
        """Within a transaction. Raises ConflictError where the record is not as it was before."""
        before, after = change
        if before is not None:
            rows = self._rows(f"WHERE {quoted(self.key)} = ?", (self._key(before),))
            if [self._record(row) for row in rows] != [before]:
                raise ConflictError(f"{self.file}: somebody else has changed this label; nothing was written.")
        if after is None:
            assert before is not None
            self._run(f"DELETE FROM {quoted(self.name)} WHERE {quoted(self.key)} = ?", self._key(before))
            return change
        values: dict[str, Any] = {**after.rest, self.column: after.name}
        if before is None or before.place != after.place:  # another label keeps its geometry to the byte
            values[self.geometry] = self._blob(after.place)
        if before is None:
            return Change(None, self._insert(values, after))
        listed = ", ".join(f"{quoted(name)} = ?" for name in values)
        self._run(
            f"UPDATE {quoted(self.name)} SET {listed} WHERE {quoted(self.key)} = ?", *values.values(), self._key(before)
        )
        return change

    def touch(self) -> None:
        """Tell other programs when the layer was changed."""
        self._run(
            "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') WHERE table_name = ?",
            self.name,
        )

    def _run(self, command: str, *values: Any) -> sqlite3.Cursor:
        return self.connection.execute(command, values)

    def _rows(self, where: str = "", values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        names = ", ".join(map(quoted, self.columns))
        return self._run(f"SELECT {names} FROM {quoted(self.name)} {where}", *values).fetchall()

    def _key(self, record: Record) -> int:
        return record.id // len(KINDS)

    def _record(self, row: Sequence[Any]) -> Record:
        values = dict(zip(self.columns, row, strict=True))
        key, name, blob = (values.pop(column) for column in (self.key, self.column, self.geometry))
        name = str(name).strip() if name is not None else ""
        shape = None if blob is None else _geometry(blob)
        if shape is None or shape.is_empty or shape.geom_type not in PLACED:
            raise InputError(
                f"{self.file}: the feature {key} of {self.name} is no point, line or polygon; mend the file, or give "
                "another."
            )
        place = (shape.x, shape.y) if shape.geom_type == "Point" else shape
        return Record(int(key) * len(KINDS) + self.number, name or None, place, values)

    def _blob(self, place: Any) -> bytes:
        shape = geometry_of(place)
        if self.kind.startswith("MULTI") and not shape.geom_type.startswith("Multi"):
            shape = (shapely.MultiPolygon if shape.geom_type == "Polygon" else shapely.MultiLineString)([shape])
        head = b"GP\x00\x01" + self.srs.to_bytes(4, "little", signed=True)
        return head + bytes(shapely.to_wkb(shape, byte_order=1))

    def _insert(self, values: dict[str, Any], record: Record) -> Record:
        if record.id >= 0:  # one that was removed comes back under its number
            values[self.key] = self._key(record)
        names, marks = ", ".join(map(quoted, values)), ", ".join("?" * len(values))
        cursor = self._run(f"INSERT INTO {quoted(self.name)} ({names}) VALUES ({marks})", *values.values())
        left, bottom, right, top = geometry_of(record.place).bounds
        self.connection.execute(
            "UPDATE gpkg_contents SET min_x = min(ifnull(min_x, :left), :left), min_y = min(ifnull(min_y, :bottom), "
            ":bottom), max_x = max(ifnull(max_x, :right), :right), max_y = max(ifnull(max_y, :top), :top) "
            "WHERE table_name = :layer",
            {"left": left, "bottom": bottom, "right": right, "top": top, "layer": self.name},
        )
        return self._record(self._rows(f"WHERE {quoted(self.key)} = ?", (cursor.lastrowid,))[0])


PLACED = {"Point", "LineString", "MultiLineString", "Polygon", "MultiPolygon"}


def create(connection: sqlite3.Connection, name: str, kind: str, srs: int, column: str) -> None:
    """An empty layer (GeoPackage 1.3, clauses 2.1.5 and 2.1.6), within a transaction."""
    connection.execute(
        f"CREATE TABLE {quoted(name)} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom {kind}, "
        f"{quoted(column)} TEXT)"
    )
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES (?, 'features', ?, ?)",
        (name, name, srs),
    )
    connection.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", (name, kind, srs))


def kind_of(record: Record) -> str:
    """Of KINDS."""
    return KINDS[0] if isinstance(record.place, tuple) else KINDS[shapely.get_dimensions(record.place)]


def geometry_of(place: Any) -> Any:
    return shapely.Point(*place) if isinstance(place, tuple) else place


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=64)
def transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)  # as geopandas has it: x before y, whatever the CRS


def _geometry(blob: bytes) -> Any:
    return shapely.from_wkb(blob[8 + ENVELOPES[blob[3] >> 1 & 7] :])


def _bound(index: int) -> Callable[[bytes], float]:
    return lambda blob: float(_geometry(blob).bounds[index])


FUNCTIONS: dict[str, Callable[[bytes], Any]] = {
    "ST_IsEmpty": lambda blob: int(_geometry(blob).is_empty),
    **{name: _bound(i) for i, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY"))},
}
