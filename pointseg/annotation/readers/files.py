"""The reader for a file of labels, by its suffix and what stands in it."""

import gzip
import json
import zipfile
from pathlib import Path

from pointseg.annotation.readers import coco, cvat, label_studio, labelme, spreadsheet, table, vector
from pointseg.annotation.readers.labels import Columns, Labels
from pointseg.errors import InputError, reading
from pointseg.imagery.paths import SUFFIXES as OF_IMAGES

KNOWN = "a GeoPackage, GeoJSON, Shapefile, CSV or workbook, or an export of Label Studio, CVAT, labelme, napari or COCO"
OF_CONTENT = {*table.SUFFIXES, ".json", ".xml"}


def read(file: Path, columns: Columns) -> Labels:
    """Raises InputError for a file that is not there, or that no reader can use."""
    if str(file).startswith("/vsi"):  # GDAL's own
        return vector.read(file, columns)
    if not file.exists():
        raise InputError(f"points={file}: no such file; give {KNOWN}.")
    if file.is_dir() and file.suffix.lower() != ".gdb":
        raise InputError(f"points={file}: is a folder; name its files, as in points='{file}/*.gpkg'.")
    suffix = file.suffix.lower()
    if suffix in OF_IMAGES:
        raise InputError(
            f"points={file}: is an image; {KNOWN} is read. Make polygons of the areas that it labels, as with "
            "gdal_polygonize, or, where it says the class of every pixel, train with dataset=folder."
        )
    if suffix == ".zip":
        name, content = _unzipped(file)
        return vector.read(file, columns) if content is None else _of_content(file, name, content, columns)
    if suffix == ".gz":
        return _of_content(file, file.stem, _ungzipped(file), columns)
    if suffix in spreadsheet.SUFFIXES:
        return spreadsheet.read(file, columns)
    if suffix not in OF_CONTENT:
        return vector.read(file, columns)
    with reading(file, "points", f"give {KNOWN}."):
        content = file.read_bytes()
    return _of_content(file, file.name, content, columns)


def _ungzipped(file: Path) -> bytes:
    if Path(file.stem).suffix.lower() not in OF_CONTENT:
        raise InputError(f"points={file}: only tables and exports are read from a .gz; unpack it.")
    with reading(file, "a packed file", "pack it anew, or unpack it."), gzip.open(file) as packed:
        return packed.read()


def _of_content(file: Path, name: str, content: bytes, columns: Columns) -> Labels:
    match Path(name).suffix.lower():
        case ".xml":
            return cvat.read(file, content)
        case ".json":
            with reading(file, "JSON", f"give {KNOWN}."):
                parsed = json.loads(content)
            if label_studio.is_export(parsed):
                return label_studio.read(file, parsed)
            if labelme.is_export(parsed):
                return labelme.read(file, parsed)
            if coco.is_export(parsed):
                return coco.read(file, parsed)
            return vector.read(file, columns)
    return table.read(file, content, columns)


def _unzipped(file: Path) -> tuple[str, bytes | None]:
    """The table or export in an archive, where it holds one; else GDAL reads what is there."""
    with reading(file, "an archive", "make it anew."), zipfile.ZipFile(file) as archive:
        names = [entry for entry in archive.namelist() if Path(entry).suffix.lower() in OF_CONTENT - {".txt"}]
        # A Shapefile or file geodatabase has its metadata as XML beside it.
        if len(names) != 1 or any(Path(entry).suffix.lower() in (".shp", ".gdbtable") for entry in archive.namelist()):
            return file.name, None
        return names[0], archive.read(names[0])
