"""An image file as GDAL reads it: what its header says, and its pixels by window."""

import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Bool, Num
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from pointseg.errors import InputError, reading
from pointseg.imagery.orientation import AS_STORED, Orientation, of_picture
from pointseg.imagery.paths import stamp
from pointseg.imagery.survey import windows
from pointseg.types import Shape, Window

# MB. GDAL's own, 5 % of the machine's memory, is no bound; this holds a row of windows 80,000 pixels wide.
os.environ.setdefault("GDAL_CACHEMAX", "128")

# What is not georeferenced is a plain picture, and as welcome.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

BLOCK = 1 << 28  # bytes of a file's internal block, which is read whole
FEW = 16  # values that an alpha band has at most, or else most of its pixels are opaque or transparent


@dataclass(frozen=True)
class Stored:
    """What a file says of itself, of its bands in their order.

    shape: of the image shown, turned as its orientation says. control: ground control points of (row, col, x, y, z), in
        the CRS `control_crs`. alpha: numbers of the bands that are marked so. masked: whether some band has a mask;
        by_alpha: whether this is an alpha band. stamps: size and time of change of all files that its pixels are in.
    further: GDAL's names of other images in the file, such as the pages of a TIFF, with <file> in place of its own.
    """

    file: Path
    shape: Shape
    dtypes: tuple[str, ...]
    interpretation: tuple[Any, ...]
    blocks: tuple[Shape, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    masked: bool
    crs: str | None
    transform: Affine
    control: tuple[tuple[float, ...], ...] = ()
    control_crs: str | None = None
    orientation: Orientation = AS_STORED
    further: tuple[str, ...] = ()
    by_alpha: bool = False
    stamps: tuple[tuple[int, int], ...] = ()
    descriptions: tuple[str | None, ...] = ()

    @property
    def pixel(self) -> float:
        """Metres of ground a side; 0 where that is not known."""
        crs = CRS(self.crs) if self.crs is not None else None
        if crs is None or crs.is_engineering:
            return 0.0
        side = abs(self.transform.determinant) ** 0.5 * crs.axis_info[0].unit_conversion_factor
        if not crs.is_geographic:
            return float(side)
        latitude = np.radians((self.transform @ (self.shape[1] / 2, self.shape[0] / 2))[1])
        return float(side * 6_371_000 * max(np.cos(latitude), 0.0) ** 0.5)  # radians, of a sphere

    @property
    def alpha(self) -> list[int]:
        return [i for i, meaning in enumerate(self.interpretation, 1) if meaning == ColorInterp.alpha]

    def names(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """What the file calls these bands; () where it does not name each."""
        found = [(self.descriptions[number - 1] or "").strip() for number in numbers]
        return tuple(found) if all(found) else ()

    def tags(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Scale and offset of the bands, 1 and 0 where none are given (see Bands)."""
        return [(self.scales[number - 1], self.offsets[number - 1]) for number in numbers]

    def read(
        self,
        numbers: Sequence[int],
        window: Window,
        shape: Shape | None = None,
        resampling: Resampling = Resampling.nearest,
    ) -> Num[np.ndarray, "c h w"]:
        """The bands in a window of the image shown, reduced to `shape`."""
        return np.asarray(self._read("read", numbers, window, shape, resampling))

    def masks(self, numbers: Sequence[int], window: Window, shape: Shape | None = None) -> Bool[np.ndarray, "c h w"]:
        """Where the bands lack data, by their nodata values, a mask or an alpha band."""
        return np.asarray(self._read("read_masks", numbers, window, shape) == 0)

    def _read(
        self,
        what: str,
        numbers: Sequence[int],
        window: Window,
        shape: Shape | None,
        resampling: Resampling = Resampling.nearest,
    ) -> Any:
        inside = self.orientation.window(window, self.shape)
        area = rasterio.windows.Window(inside.col, inside.row, inside.width, inside.height)
        reduced = None if shape is None else (len(numbers), *self.orientation.shape(shape))
        with reading(
            self.file,
            f"an image at row {window.row}, col {window.col}",
            "the file is damaged or cut short: copy it anew.",
        ):
            dataset = _opened(self.file, self.stamps, os.getpid(), threading.get_ident())
            values = getattr(dataset, what)(list(numbers), window=area, out_shape=reduced, resampling=resampling)
        return self.orientation.turned(values)

    def control_points(self) -> list[GroundControlPoint]:
        return [GroundControlPoint(*point) for point in self.control]


@lru_cache(maxsize=8)
def _opened(file: Path, stamps: tuple[tuple[int, int], ...], process: int, thread: int) -> Any:
    # GDAL's handles serve one thread of one process; kept open, because its cache of blocks goes with them. A file that
    # has been replaced has other stamps.
    return rasterio.open(file)


def forget() -> None:
    """Open files anew from now on, as one has got overviews."""
    _opened.cache_clear()


def describe(file: Path) -> Stored:
    """Raises InputError for a file that is no image."""
    with reading(file, "an image", "copy it anew, or name the images alone."), rasterio.open(file) as dataset:
        if not dataset.count:
            raise InputError(_without_bands(file, dataset.subdatasets))
        points, control_crs = dataset.gcps
        placed = bool(dataset.crs or points or dataset.transform != Affine.identity())
        orientation = AS_STORED if placed else of_picture(file)  # a map refers to the pixels as they are stored
        return Stored(
            file,
            orientation.shape((int(dataset.height), int(dataset.width))),
            tuple(dataset.dtypes),
            tuple(dataset.colorinterp),
            tuple((int(rows), int(cols)) for rows, cols in dataset.block_shapes),
            tuple(dataset.nodatavals),
            tuple(map(float, dataset.scales)),
            tuple(map(float, dataset.offsets)),
            any(MaskFlags.all_valid not in flags for flags in dataset.mask_flag_enums),
            dataset.crs.to_wkt() if dataset.crs else None,
            dataset.transform,
            tuple((point.row, point.col, point.x, point.y, point.z or 0.0) for point in points),
            control_crs.to_wkt() if control_crs else None,
            orientation,
            tuple(
                name.replace(str(file), "<file>") for name in dataset.subdatasets if not name.startswith("GTIFF_DIR:1:")
            ),
            any(MaskFlags.alpha in flags for flags in dataset.mask_flag_enums),
            (stamp(file), *(stamp(part) for part in _parts(file, dataset.files))),
            tuple(dataset.descriptions),
        )


def _parts(file: Path, named: Sequence[str]) -> list[Path]:
    """The further files that pixels come from, of those that GDAL names: sources of a .vrt, and masks."""
    found: list[Path] = []
    for part in sorted(set(map(Path, named)) - {file}):
        if part.suffix == ".vrt":
            with reading(part, "an image", "restore this source."), rasterio.open(part) as inner:
                found += [part, *_parts(part, inner.files)]
        elif part.suffix not in (".ovr", ".xml"):  # which change no pixel; the header has what an .aux.xml says
            found += [part, *(mask for mask in [Path(f"{part}.msk")] if mask.exists())]
    return found


def _without_bands(file: Path, parts: Sequence[str]) -> str:
    if not parts:
        return f"{file}: holds no band; give images."
    shown = ", ".join(parts[:5])
    return (
        f"{file}: holds {len(parts)} images ({shown}{', …' if len(parts) > 5 else ''}) and is none itself; write the "
        "one that is meant to a file of its own, as with gdal_translate."
    )


def chosen_bands(
    stored: Stored, asked: Sequence[int] | None, said: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of the bands to read, those asked for or all but an alpha band, and those of the alpha bands.

    said: remarks on what was found and how many files they hold for, which is added to.
    Raises InputError where there are no such bands, or none that can be read.
    """
    transparent = tuple(
        number for number in stored.alpha if number not in (asked or ()) and not _holds_data(stored, number)
    )
    if asked is None:
        _say_alpha(stored.alpha, transparent, said)
    own = (number for number in range(1, len(stored.dtypes) + 1) if number not in transparent)
    numbers = tuple(own if asked is None else asked)
    file, dtypes = stored.file, stored.dtypes
    if beyond := [number for number in numbers if not 1 <= number <= len(dtypes)]:
        raise InputError(f"{file}: dataset.bands names band {beyond[0]}, but the file has {len(dtypes)}.")
    if not numbers:
        found = "dataset.bands names no band" if asked is not None else "its only band says what is transparent"
        raise InputError(f"{file}: {found}; give the numbers of bands, as in dataset.bands=[1].")
    kinds = {dtypes[number - 1] for number in numbers}
    if len(kinds) > 1 or np.dtype(dtypes[numbers[0] - 1]).kind not in "uif":
        raise InputError(f"{file}: pixels of {', '.join(sorted(kinds))}; bands of one real type are needed.")
    rows, cols = stored.blocks[numbers[0] - 1]
    if rows * cols * len(dtypes) * np.dtype(dtypes[numbers[0] - 1]).itemsize > BLOCK:
        raise InputError(
            f"{file}: is stored in blocks of {rows:,}×{cols:,} pixels, and one pixel costs a whole block; write it in "
            "tiles, as with gdal_translate -co TILED=YES."
        )
    if stored.interpretation[numbers[0] - 1] == ColorInterp.palette:
        raise InputError(f"{file}: a palette image, whose numbers are no brightness; convert it to RGB.")
    return numbers, transparent


def _say_alpha(alpha: Sequence[int], transparent: Sequence[int], said: dict[str, int]) -> None:
    for number in alpha:
        remark = f"band {number} says what is transparent; name it in dataset.bands if it is a band of data"
        if number not in transparent:
            remark = f"band {number} is marked as alpha, but holds values like a band of data: it is read as one"
        said[remark] = said.get(remark, 0) + 1


def _holds_data(stored: Stored, number: int) -> bool:
    """Whether a band that is marked as alpha is none: GDAL marks a fourth band so that nothing else is said of."""
    rows, cols = stored.blocks[number - 1]
    if rows * cols > BLOCK:
        return False
    parts = [stored.read([number], window).ravel() for window in windows(stored.shape, 9, 1)]
    values, counts = np.unique(np.concatenate(parts), return_counts=True)
    extreme = counts[(values == 0) | (values == values[-1])].sum()
    return len(values) > FEW and bool(extreme < counts.sum() / 2)
