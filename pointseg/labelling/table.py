"""Points in a CSV of rows and columns, for plain pictures; the whole file is replaced at each change."""

import csv
import hashlib
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.imagery.rasters import Raster
from pointseg.labelling.records import POINTS_ALONE, Change, ConflictError, Outline, Pixel, Record

PLACE = ("scene", "row", "col")


class Table:
    """A CSV with the columns scene, row, col and the class's; a record's place is these three.

    Its ids number the lines as they were read, so they change when somebody else changes the file.
    """

    def __init__(self, file: Path, scenes: Sequence[Raster], column: str) -> None:
        self.file, self.scenes, self.column = file, scenes, column
        self.index = {name: i for i, scene in enumerate(scenes) for name in (scene.id, scene.file.name)}
        self.records: dict[int, Record] = {}
        self.columns = [*PLACE, column]
        self.digest = ""
        if not file.exists():
            self._write({})
        self.read()

    shapes = False

    @property
    def layers(self) -> None:
        return None

    def read(self) -> list[Record]:
        with reading(self.file, "a CSV of points", "mend it, or give another name."):
            content = self.file.read_bytes()
            # Written elsewhere with a semicolon or a tab, it would be written back otherwise; so it is refused.
            reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
            columns = list(reader.fieldnames or [])
            self._check(columns)
            records = [self._record(i, line) for i, line in enumerate(reader)]
        self.columns, self.digest = columns, hashlib.sha256(content).hexdigest()
        self.records = {record.id: record for record in records}
        return records

    def foreign(self) -> bool:
        return self._now() != self.digest

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        with self._alone():
            if self.foreign():
                raise ConflictError(f"{self.file}: somebody else has changed the file; nothing was written.")
            records, done = dict(self.records), []
            for before, after in changes:
                if before is not None and records.pop(before.id, None) != before:
                    raise ConflictError(f"{self.file}: this point has changed meanwhile; nothing was written.")
                if after is not None and before is None and after.id < 0:
                    after = Record(max(records, default=-1) + 1, after.name, after.place, after.rest)
                if after is not None:
                    records[after.id] = after
                done.append(Change(before, after))
            self._write(dict(sorted(records.items())))
        return done

    def place_of(self, pixel: Pixel) -> tuple[str, int, int]:
        return self.scenes[pixel.scene].id, pixel.row, pixel.col

    def pixels_of(self, records: Sequence[Record]) -> list[list[Pixel]]:
        return [self._pixels(*record.place) for record in records]

    def shape_of(self, scene: int, vertices: Sequence[tuple[float, float]], closed: bool) -> Any:
        raise InputError(f"{self.file.name} {POINTS_ALONE}")

    def outlines_of(self, records: Sequence[Record]) -> list[list[Outline]]:
        return [[] for _ in records]

    def _pixels(self, scene: str, row: int, col: int) -> list[Pixel]:
        index = self.index.get(scene, 0 if len(self.scenes) == 1 and not scene else -1)
        if index < 0 or not (0 <= row < self.scenes[index].shape[0] and 0 <= col < self.scenes[index].shape[1]):
            return []
        return [Pixel(index, row, col)]

    def _check(self, columns: Sequence[str]) -> None:
        needed = ["row", "col", self.column, *(["scene"] if len(self.scenes) > 1 else [])]
        if absent := [name for name in needed if name not in columns]:
            raise InputError(
                f"{self.file}: no column {absent[0]!r}; the page writes a CSV of {', '.join(needed)}, separated by "
                "commas. Points on the map go into a GeoPackage: give points=<name>.gpkg."
            )

    def _record(self, number: int, line: dict[str, Any]) -> Record:
        values = {key: value or "" for key, value in line.items() if key is not None}
        try:
            row, col = (round(float(values.pop(axis))) for axis in ("row", "col"))
        except ValueError as error:
            raise InputError(f"{self.file}, line {number + 2}: row and col must be numbers ({error}).") from error
        name = values.pop(self.column).strip()
        return Record(number, name or None, (values.pop("scene", ""), row, col), values)

    def _write(self, records: dict[int, Record]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for record in records.values():
            place = dict(zip(PLACE, record.place, strict=True))
            writer.writerow({**record.rest, **place, self.column: record.name or ""})
        content = text.getvalue().encode()
        with writing(self.file, "nothing was changed; make room, or free the file") as partial:
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            if self.file.exists() and not os.access(self.file, os.W_OK):
                raise PermissionError(13, "the file is read-only")
        self.records, self.digest = records, hashlib.sha256(content).hexdigest()

    def _now(self) -> str:
        try:
            return hashlib.sha256(self.file.read_bytes()).hexdigest()
        except OSError:
            return ""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two servers do not both look at the file and then both write it.

        Who waits for the lock of a file that was replaced meanwhile then finds it changed.
        """
        if sys.platform == "win32" or not self.file.exists():
            yield
            return
        import fcntl

        with self.file.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
