"""Which files a person means by images: files, folders, patterns, archives, lists in a file, and GDAL's own names."""

import logging
import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from urllib.parse import quote, urlsplit

import rasterio
from rasterio.errors import RasterioError

from pointseg.errors import Faults, InputError, reading

log = logging.getLogger(__name__)

SUFFIXES = {".tif", ".tiff", ".jpg", ".jpeg", ".png", ".vrt", ".jp2"}
TAG = "POINTSEG"  # the metadata entry that says what made a map
LAYERS = ("_confidence", "_probabilities", "_preview")  # what is added to a map's name for the files beside it
STRAY = re.compile(r"[.@#~]|__MACOSX|thumb(nail)?s?\b", re.IGNORECASE)  # of file managers, caches and thumbnails
SUFFIX = re.compile(r"\.[a-z]\w{1,4}", re.IGNORECASE)  # not that of S2.2023.06
ARCHIVE = re.compile(r"(/vsi(?:zip|tar|7z|rar)/)(/.+?\.(?:zip|kmz|tar|tgz|tar\.gz|7z|rar))(/.*)?$", re.IGNORECASE)
SHOWN = 5  # files passed over that a message lists


def find(images: str | Sequence[str], key: str) -> dict[str, Path]:
    """id → file of what `images` names.

    A name is a file, a folder (searched through), a pattern such as 'site/*.tif', a .zip of images, @ and a file with a
    name a line, an address, or what GDAL understands (/vsizip/…, GTIFF_DIR:2:a.tif). In folders and by patterns, stray
    files and pointseg's own maps are passed over; a file found by two names is one image.
    The id is the path below the deepest folder that all share, without its suffix. `key` names the option in errors.
    """
    places = _places(_names([images] if isinstance(images, str) else images, key), key)
    shared = Path(os.path.commonpath([place.parent for place in places.values()]))
    by_id: dict[str, Path] = {}
    with Faults() as faults:
        for file, place in sorted(places.items(), key=lambda item: item[1]):
            name = place.name[: -len(place.suffix)] if SUFFIX.fullmatch(place.suffix) else place.name
            other = by_id.setdefault(str(place.relative_to(shared).with_name(name)), file)
            if other != file:
                faults.add(f"{key}: {other} and {file} differ in their suffix alone; name one of them.")
    return by_id


def _names(names: Sequence[str], key: str) -> list[str]:
    return [name for entry in names for name in listed(entry, key)]


def listed(name: str, key: str) -> list[str]:
    """The name itself, or the lines of the file that @ stands before. A file that begins with @ is itself."""
    name = os.path.expanduser(name)
    if not name.startswith("@") or Path(name).exists():
        return [name]
    file = Path(name[1:])
    with reading(file, f"the list of {key}", "write a name a line, in UTF-8."):
        lines = file.read_text("utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _places(names: Sequence[str], key: str) -> dict[Path, Path]:
    """File, as GDAL opens it → where it lies, as people name it. Raises InputError for each name that no image has."""
    if not names:
        raise InputError(f"{key}: names no image; give files, folders or patterns such as 'site/*.tif'.")
    places: dict[Path, Path] = {}
    originals: dict[Path, Path] = {}
    with Faults() as faults:
        for name in names:
            with faults.step():
                found = dict(_found(name))
                if not found:
                    raise InputError(f"{key}={name}: no such file, and no image matches (from {Path.cwd()}).")
                for file, place in sorted(found.items()):
                    first = originals.setdefault(file.resolve(), file)
                    if first == file:
                        places[file] = place
                    else:
                        log.info("%s: is the same file as %s; it is used once.", file, first)
    return places


def _found(name: str) -> Iterator[tuple[Path, Path]]:
    if named := _of_gdal(name):
        yield named
    elif Path(name).is_dir():
        yield from _usable(_below(Path(name)))
    elif Path(name).suffix.lower() == ".zip" and Path(name).is_file():
        yield from _zipped(Path(name).absolute())
    elif Path(name).exists():
        yield Path(name).absolute(), Path(os.path.abspath(name))
    else:
        yield from _usable(Path(file) for file in glob(name, recursive=True) if not Path(file).is_dir())


def _of_gdal(name: str) -> tuple[Path, Path] | None:
    """A name for GDAL in a form that a Path keeps, which joins slashes."""
    if re.match(r"(https?|ftp)://", name):
        name = f"/vsicurl/{name}"
    if match := re.fullmatch(r"/vsicurl/(.+)", name):
        address = urlsplit(match[1])
        return Path(f"/vsicurl?url={quote(match[1], safe='')}"), Path(f"/{address.netloc}{address.path}")
    if match := ARCHIVE.fullmatch(name):
        inner = match[3] or ""
        return Path(f"{match[1]}{{{match[2]}}}{inner}"), Path(match[2]).with_suffix("") / inner.lstrip("/")
    if name.startswith("/vsi"):
        return Path(name), Path(name)
    if re.match(r"[A-Za-z][A-Za-z0-9_]+:", name) and not Path(name).exists():  # a driver and what is its own
        _, *parts = (part.strip('"') for part in name.split(":"))
        file = max((part for part in parts if Path(part).exists()), key=len, default=parts[0])
        rest = "_".join(part.strip("/").replace("/", "_") for part in parts if part != file)
        where = Path(os.path.abspath(file))
        # GDAL's relative names are from here, as all others.
        return Path(name), where.with_name(f"{where.stem}_{rest}{where.suffix}" if rest else where.name)
    return None


def _zipped(archive: Path) -> Iterator[tuple[Path, Path]]:
    with reading(archive, "an archive", "make it anew."), zipfile.ZipFile(archive) as content:
        names = [entry.filename for entry in content.infolist() if entry.file_size]
    for name in names:
        if Path(name).suffix.lower() in SUFFIXES and not any(map(STRAY.match, Path(name).parts)):
            yield Path(f"/vsizip/{{{archive}}}/{name}"), archive.with_suffix("") / name


def _below(folder: Path) -> Iterator[Path]:
    """The images in a folder and those in it; links to folders are followed."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(n for n in folders if not STRAY.match(n) and ".partial" not in n)
        seen.add(real)
        yield from (Path(place, name) for name in names if Path(name).suffix.lower() in SUFFIXES)


def _usable(files: Iterator[Path]) -> Iterator[tuple[Path, Path]]:
    """What is likely to be meant of files that nobody named one by one; says what is left out."""
    every = {Path(os.path.abspath(file)) for file in files}
    missing = {file for file in every if not file.exists()}
    every -= missing
    reasons = {
        "links to nothing": missing,
        "stray": {file for file in every if STRAY.match(file.name)},
        "empty": {file for file in every if not file.stat().st_size},
        "maps of pointseg": _maps(every),
    }
    for reason, passed in reasons.items():
        if passed:
            shown = ", ".join(map(str, sorted(passed)[:SHOWN]))
            log.warning("Passed over, %s: %d (%s%s)", reason, len(passed), shown, ", …" if len(passed) > SHOWN else "")
    yield from ((file, file) for file in every.difference(*reasons.values()))


def _maps(files: set[Path]) -> set[Path]:
    """Those that predict has written, beside each other: opened are only files that are named so."""
    found: set[Path] = set()
    for file in files:
        if file.stem.endswith(LAYERS[0]):
            base = file.with_stem(file.stem.removesuffix(LAYERS[0]))
            if base in files and _tagged(file):
                beside = {
                    base.with_name(f"{base.stem}{layer}{end}") for layer in LAYERS for end in (".tif", ".png", ".jpg")
                }
                found |= {base, *(beside & files)}
    return found


def _tagged(file: Path) -> bool:
    try:
        with rasterio.open(file) as dataset:
            return TAG in dataset.tags()
    except RasterioError:
        return False


def stamp(file: Path) -> tuple[int, int]:
    """Size and time of change of the file or of the archive that it lies in; (0, 0) where only GDAL knows."""
    for part in (file, *(Path(part) for part in re.split(r"[{}:\"]", str(file)) if part.startswith("/"))):
        if part.is_file():
            status = part.stat()
            return status.st_size, status.st_mtime_ns
    return 0, 0
