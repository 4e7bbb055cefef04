"""Points in a sheet of a workbook: Excel's .xlsx and LibreOffice's .ods."""

from pathlib import Path

import pyogrio

from pointseg.annotation.readers.labels import Columns, Labels
from pointseg.annotation.readers.table import LINE, Table, check_header, labels_of
from pointseg.errors import InputError, reading

SUFFIXES = {".xlsx", ".xlsm", ".ods"}
AS_TEXT = {"HEADERS": "FORCE", "FIELD_TYPES": "STRING"}  # GDAL guesses otherwise


def read(file: Path, columns: Columns) -> Labels:
    """The only sheet with cells, or that of `columns.layer`, as a table (see `table.read`). Empty rows are left out."""
    with reading(file, "a workbook", "save it anew, or as CSV in UTF-8."):
        sheets = {str(name): pyogrio.read_info(file, layer=name, **AS_TEXT) for name, _ in pyogrio.list_layers(file)}
        filled = [name for name, facts in sheets.items() if len(facts["fields"])]
        sheet = columns.layer if columns.layer in filled else filled[0] if len(filled) == 1 else None
        if sheet is None:
            found = f"has the sheets {', '.join(filled)}; name one in annotation.layer" if filled else "is empty"
            raise InputError(f"{file}: {found}.")
        cells = pyogrio.read_dataframe(file, layer=sheet, read_geometry=False, **AS_TEXT)
    cells = cells.astype("object").where(cells.notna(), "").astype(str).apply(lambda column: column.str.strip())
    cells.columns = [name.strip() for name in map(str, cells)]
    lines = [str(row) for row in range(2, len(cells) + 2)]  # the header is the first
    cells.insert(0, LINE, lines)
    check_header(file, list(cells))
    rows = cells[(cells.drop(columns=LINE) != "").any(axis=1)].reset_index(drop=True)
    return labels_of(Table(file, rows, comma=True), columns)
