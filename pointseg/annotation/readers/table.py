"""Points in a table: CSV as spreadsheets, QGIS, ArcGIS and napari write it."""

import codecs
import csv
import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from pointseg.annotation.readers.labels import Columns, Labels, in_pixels, on_map
from pointseg.errors import InputError, reading

log = logging.getLogger(__name__)

SUFFIXES = {".csv", ".tsv", ".txt", ".tab"}
SEPARATORS = (",", ";", "\t", "|")
PIXELS = (("row", "col"), ("row", "column"), ("axis-0", "axis-1"))  # the last are napari's
DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("long", "lat"), ("lng", "lat"))
MAP = (("x", "y"), ("easting", "northing"), ("point_x", "point_y"), ("xcoord", "ycoord"))
WKT = ("wkt", "geometry", "geom")
BEFORE = re.compile(r"#|sep=.\s*$")  # comments, and what Excel says of its separator
SHOWN = 40  # characters of a cell in a message
LINE = "line of the file"  # of each row, beside the columns of the file itself


@dataclass(frozen=True)
class Table:
    """rows: all cells as text, without surrounding spaces. comma: whether it separates, and is no decimal point."""

    file: Path
    rows: pd.DataFrame
    comma: bool

    def column(self, name: str) -> str | None:
        """The column of that name, in whatever case."""
        return next((str(column) for column in self.rows if str(column).casefold() == name), None)

    def pair(self, names: tuple[str, str]) -> tuple[str, str] | None:
        first, second = map(self.column, names)
        return None if first is None or second is None else (first, second)


def read(file: Path, content: bytes, columns: Columns) -> Labels:
    """Row and column (whole pixels from the top left), or map coordinates, and the class of each line.

    Decimal commas are read where commas do not separate. Raises InputError naming the line that is unlike its header.
    """
    return labels_of(_table(file, content), columns)


def labels_of(table: Table, columns: Columns) -> Labels:
    """See `read`."""
    file = table.file
    if table.column("axis-2"):
        raise InputError(f"{file}: has points in three dimensions (axis-0 to axis-2); save those of one image.")
    column = None if columns.column is None else column_of(file, list(map(str, table.rows)), columns.column)
    scene = scene_of(file, table.rows, columns.scene)
    on_a_map = next(filter(None, map(table.pair, DEGREES if columns.crs is None else (*MAP, *DEGREES))), None)
    for names in PIXELS:
        if pair := table.pair(names):
            if on_a_map:  # the rows and columns of a trial, or of an image that has been cut anew
                used, left = " and ".join(on_a_map), " and ".join(pair)
                log.info("%s: has %s as well as %s; the points are placed by %s", file, used, left, used)
                break
            if other := next(filter(None, map(table.pair, MAP)), None):
                log.warning(
                    "%s: the points are placed by %s, as the CRS of %s is not known; to use these, give it, as in "
                    "annotation.crs=EPSG:32640.",
                    *(file, " and ".join(pair), " and ".join(other)),
                )
            return _by_pixels(table, pair, column, scene or table.column("scene"))
    return on_map(file, _located(table, columns.crs), column, scene)


def column_of(file: Path, there: Sequence[str], wanted: str) -> str:
    """The column `wanted`, in another case if need be. Raises InputError where there is none, or several are alike."""
    alike = [name for name in there if name.casefold() == wanted.casefold()]
    if wanted in there or len(alike) == 1:
        return wanted if wanted in there else alike[0]
    found = ", ".join(name for name in there if name not in ("geometry", LINE))
    if alike:
        raise InputError(f"{file}: columns {', '.join(alike)} differ in case alone; name one exactly.")
    raise InputError(f"{file}: no column {wanted!r} for the class; annotation.column=<name> names another of {found}.")


def scene_of(file: Path, table: pd.DataFrame, scene: str | None) -> str | None:
    if scene is not None and scene not in table:
        raise InputError(f"{file}: no column {scene!r} for the scene (annotation.scene); leave it out, or name one.")
    return scene


def _table(file: Path, content: bytes) -> Table:
    """Raises InputError for lines that are no table. Those without any text are left out."""
    lines = list(io.StringIO(_decoded(file, content), newline=None))
    before = next((i for i, line in enumerate(lines) if line.strip() and not BEFORE.match(line)), len(lines))
    first = "".join(lines[before : before + 1])
    separator = max(SEPARATORS, key=first.count)
    if separator not in first:  # columns between spaces
        lines, separator = [" ".join(line.split()) + "\n" for line in lines], " "
    with reading(file, "a table", "write a header and a point a line."):
        found = csv.reader(lines[before:], delimiter=separator, skipinitialspace=True, strict=True)
        rows = [[str(found.line_num + before), *map(str.strip, row)] for row in found if any(map(str.strip, row))]
    if not rows:
        raise InputError(f"{file}: is empty; write a header and a point a line.")
    header = [LINE, *rows[0][1:]]
    while not header[-1]:  # lines that end in a separator
        header.pop()
    check_header(file, header)
    if beyond := next((row for row in rows[1:] if any(row[len(header) :])), None):
        raise InputError(
            f"{file}, line {beyond[0]}: has {len(beyond) - 1} cells, and the header {len(header) - 1}; is there a "
            f"{separator!r} within a name? Put it in quotes."
        )
    cells = [(row + [""] * len(header))[: len(header)] for row in rows[1:]]
    return Table(file, pd.DataFrame(cells, columns=header, dtype="object"), separator == ",")


def _decoded(file: Path, content: bytes) -> str:
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # Excel's "Unicode text"
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{file}, line {line}: is not in UTF-8; save it as CSV in UTF-8.") from error


def check_header(file: Path, header: Sequence[str]) -> None:
    """Names of places are read in any case, so two of one name are two answers to one question."""
    places = {name for pair in (*PIXELS, *DEGREES, *MAP) for name in pair} | {*WKT, "scene"}
    lowered = [name.casefold() for name in header]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{file}: two columns are called {twice[0]!r}; rename one.")
    if twice := sorted({name for name in lowered if lowered.count(name) > 1 and name in places}):
        alike = ", ".join(name for name in header if name.casefold() == twice[0])
        raise InputError(f"{file}: which of the columns {alike} is meant? Rename the others.")


def _by_pixels(table: Table, pair: tuple[str, str], column: str | None, scene: str | None) -> Labels:
    rows, cols = (_numbers(table, axis) for axis in pair)
    content = {
        "geometry": shapely.points(cols + 0.5, rows + 0.5),  # from the centre of a pixel, to count from its corner
        "raw": table.file.stem if column is None else table.rows[column],
        "scene": None if scene is None else table.rows[scene],
    }
    return in_pixels(table.file, pd.DataFrame(content, index=table.rows.index))


def _located(table: Table, crs: str | None) -> geopandas.GeoDataFrame:
    wanted = checked_crs(crs)
    for names in (*MAP, *DEGREES):
        if pair := table.pair(names):
            points = shapely.points(*(_numbers(table, axis) for axis in pair))
            if names in DEGREES and (wanted is None or not wanted.is_geographic):
                wanted = CRS("EPSG:4326")
            return geopandas.GeoDataFrame(table.rows, geometry=points, crs=wanted)
    if column := next(filter(None, map(table.column, WKT)), None):
        with reading(table.file, f"geometries in the column {column}", "write them as WKT, as in POINT (1 2)."):
            shapes = shapely.from_wkt(table.rows[column].to_numpy())
        return geopandas.GeoDataFrame(table.rows.drop(columns=column), geometry=shapes, crs=wanted)
    header = ", ".join(name for name in table.rows if name != LINE)
    raise InputError(f"{table.file}: needs the columns row and col, or x and y (or lon and lat); it has {header}.")


def checked_crs(crs: str | None) -> CRS | None:
    """What annotation.crs names. Raises InputError where that is no CRS."""
    try:
        return None if crs is None else CRS(crs)
    except CRSError as error:
        raise InputError(f"annotation.crs={crs}: no CRS of that name is known ({error}).") from error


def _numbers(table: Table, column: str) -> np.ndarray:
    """Raises InputError for what is no finite number."""
    texts = table.rows[column].str.replace("\N{MINUS SIGN}", "-")
    if not table.comma:
        texts = texts.str.replace(r"^([+-]?\d+),(\d+)$", r"\1.\2", regex=True)
    numbers: np.ndarray = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    if len(odd := np.flatnonzero(~np.isfinite(numbers))):
        text, line = table.rows[column].iloc[odd[0]], table.rows[LINE].iloc[odd[0]]
        advice = "; write degrees as decimals, as in 55.2708" if set(text) & set("°'′\"″NSEW") else ""
        raise InputError(f"{table.file}, line {line}: {column} is {text[:SHOWN]!r}, not a number{advice}.")
    return numbers
