"""A file appears under its name whole or not at all."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import geopandas
from pyproj.exceptions import CRSError
from rasterio.errors import RasterioError

from pointseg.errors import InputError

log = logging.getLogger(__name__)


@contextmanager
def writing(file: Path, remedy: str = "make room, or choose another folder", shared: bool = False) -> Iterator[Path]:
    """A path beside `file`, with its suffix, to write to; it gets `file`'s name when the block ends.

    What a block that fails has written is removed; what a killed one leaves, the next removes.

    shared: several processes may write `file` at once; each then has a path of its own.

    Raises InputError, with `remedy`, where the system refuses (a full disk, a folder that is a file).
    """
    partial = file.with_name(f".{file.stem}.{os.getpid() if shared else 'partial'}{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # a GeoPackage is added to where there is one
        yield partial
        partial.replace(file)
    except (OSError, RasterioError, RuntimeError) as error:  # torch's and pyogrio's are RuntimeErrors
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            remedy = "give the image that it is named after a shorter name"
        raise InputError(f"{file}: cannot be written ({reason}); {remedy}.") from error
    finally:
        with suppress(OSError):  # of a name that cannot be: the error above says it
            partial.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, name: str) -> Iterator[None]:
    """Raises InputError where another process is within it for the same folder and name. (Not on Windows.)"""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with (folder / f"{name}.lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another process is at work here; wait until it has ended.") from error
        except OSError:  # a file system without locks
            log.debug("%s: cannot be locked", folder)
        yield


def for_gis(frame: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """The frame as its writer takes it, which names a CRS by WKT1: in degrees where that has no words for its own."""
    try:
        if frame.crs is not None:
            frame.crs.to_wkt("WKT1_GDAL")
    except CRSError:
        log.warning("The CRS of the images (%s) cannot be written here; the file is in EPSG:4326.", frame.crs.name)
        return frame.to_crs("EPSG:4326")
    return frame
