"""Images in files that GDAL reads, by window and never whole: GeoTIFF, COG, JPEG, PNG, …"""

import logging
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from jaxtyping import Bool, Num, UInt8
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from pointseg.errors import Faults, InputError, reading
from pointseg.types import RGB, Bands, Shape, Window

log = logging.getLogger(__name__)

# MB. GDAL's own, 5 % of the machine's memory, is no bound; this holds a row of windows 80,000 pixels wide.
os.environ.setdefault("GDAL_CACHEMAX", "128")

# What is not georeferenced is a plain picture, and as welcome.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

SAMPLES, SIDE = 64, 256  # windows, and their side in pixels, that the statistics of bands are measured on
BLOCK = 1 << 28  # bytes of a file's internal block, which is read whole
AVERAGED = 2048**2  # pixels of a window that is shown smaller; of more, some are shown in place of their means
TAILS = (0.1, 99.9)  # percentiles that become 0 and 255


@dataclass(frozen=True)
class Raster:
    """A scene's image file.

    crs: as WKT; None for a plain picture. transform: (col, row) counted from the corner of the
        top-left pixel → the file's map coordinates. masked: whether the file may say which pixels hold data.
    """

    id: str
    file: Path
    shape: Shape
    bands: Bands
    crs: str | None
    transform: Affine
    masked: bool = True

    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]:
        """8-bit values (see Bands); pixels without data have each band's mean, which the network takes for zero."""
        values = np.moveaxis(_read(self.file, list(self.bands.numbers), window), 0, -1)
        valid = self.valid(window)
        stretched = stretch(values, self.bands)
        if not valid.all():
            stretched[~valid] = np.round(self.bands.mean)
        return stretched

    def valid(self, window: Window) -> Bool[np.ndarray, "h w"]:
        """Which pixels hold data: not the file's nodata value, not masked, not transparent, not NaN."""
        valid: Bool[np.ndarray, "h w"] = np.ones(window[2:], bool)
        if self.masked:
            valid &= _read(self.file, None, window) > 0
        if np.dtype(self.bands.dtype).kind == "f":
            valid &= np.isfinite(_read(self.file, list(self.bands.numbers), window)).all(0)
        return valid


def reduced(raster: Raster, side: int) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """A small picture of the whole raster, at most `side` pixels a side, and its scale. Bands as red, green, blue.

    Of one or two bands the first is shown in grey.
    """
    factor = min(1.0, side / max(raster.shape))
    shape = [max(round(length * factor), 1) for length in raster.shape]
    shown = list(raster.bands.numbers[:3]) if len(raster.bands) > 2 else [raster.bands.numbers[0]] * 3
    values = _read(raster.file, shown, Window(0, 0, *raster.shape), (len(shown), *shape))
    positions = [raster.bands.numbers.index(number) for number in shown]
    limits = replace(
        raster.bands,
        low=tuple(raster.bands.low[i] for i in positions),
        high=tuple(raster.bands.high[i] for i in positions),
    )
    return stretch(np.moveaxis(values, 0, -1), limits), factor


def shown(
    raster: Raster, window: Window, shape: Shape, bands: Bands
) -> tuple[UInt8[np.ndarray, "h w c"], Bool[np.ndarray, "h w"]]:
    """A window reduced to `shape`, stretched as `bands` says, and which of its pixels hold data.

    bands: other ones of the same file than the raster's, or otherwise stretched. Overviews are used.
    """
    small = window.height * window.width <= AVERAGED
    how = Resampling.bilinear if small and shape < tuple(window[2:]) else Resampling.nearest
    values = _read(raster.file, list(bands.numbers), window, (len(bands), *shape), how)
    valid: Bool[np.ndarray, "h w"] = np.ones(shape, bool)
    if raster.masked:
        valid &= _read(raster.file, None, window, shape) > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(0)
    stretched = any(bands.low) or any(value != 255 for value in bands.high)
    if values.dtype == np.uint8 and stretched:  # as no network sees it
        values = values.astype(np.float32)
    return stretch(np.moveaxis(values, 0, -1), bands), valid


def stretch(values: Num[np.ndarray, "h w c"], bands: Bands) -> UInt8[np.ndarray, "h w c"]:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    low, high = np.array(bands.low, np.float32), np.array(bands.high, np.float32)
    scaled = (np.nan_to_num(values.astype(np.float32)) - low) * (255 / (high - low))
    return np.clip(np.round(scaled), 0, 255).astype(np.uint8)


def _read(
    file: Path,
    numbers: list[int] | None,
    window: Window,
    shape: tuple[int, ...] | None = None,
    resampling: Resampling = Resampling.nearest,
) -> Num[np.ndarray, "..."]:
    """The bands `numbers`, or (None) the file's mask of valid pixels: 0 where there is no data.

    shape: reduce what is read to (bands, rows, columns), of the mask to (rows, columns).
    """
    area = rasterio.windows.Window(window.col, window.row, window.width, window.height)
    with reading(
        file,
        f"an image at row {window.row}, col {window.col}",
        "the file is damaged or cut short: copy it anew.",
    ):
        dataset = _opened(file, os.getpid(), threading.get_ident())
        if numbers is None:
            return np.asarray(dataset.dataset_mask(window=area, out_shape=shape))
        return np.asarray(dataset.read(numbers, window=area, out_shape=shape, resampling=resampling))


@lru_cache(maxsize=8)
def _opened(file: Path, process: int, thread: int) -> Any:
    # GDAL's handles serve one thread of one process; kept open, because its cache of blocks goes with them.
    return rasterio.open(file)


def forget() -> None:
    """Open files anew from now on, as one has got overviews."""
    _opened.cache_clear()


def open_rasters(
    files: Mapping[str, Path], numbers: Sequence[int] | None = None, bands: Bands | None = None
) -> list[Raster]:
    """The rasters of id → file, alike in their bands.

    numbers: of the bands to read, from 1; None: all but an alpha band.
    bands: as a run was trained on, which the files must have; None: measured on these files.
    Raises InputError for a file that is no image, or whose bands differ; all files are tried first.
    """
    described: list[Raster] = []
    with Faults() as faults:
        for name, file in files.items():
            with faults.step():
                raster = _describe(name, file, numbers)
                if bands is None and described:
                    _check_alike(raster, described[0])
                described.append(raster if bands is None else _fitting(raster, bands))
    if bands is not None:
        return described
    measured = _measure(described)
    return [replace(raster, bands=replace(measured, numbers=raster.bands.numbers)) for raster in described]


def _check_alike(raster: Raster, first: Raster) -> None:
    if (raster.bands.dtype, len(raster.bands)) != (first.bands.dtype, len(first.bands)):
        raise InputError(
            f"{raster.file} has {_words(raster.bands)}, but {first.file} has {_words(first.bands)}; a run needs "
            "images that are alike: name those of one kind, or the bands to use in dataset.bands."
        )


def _words(bands: Bands) -> str:
    return f"{len(bands)} band{'s' if len(bands) > 1 else ''} of {bands.dtype}"


def _describe(name: str, file: Path, numbers: Sequence[int] | None) -> Raster:
    with reading(file, "an image", "copy it anew, or name the images alone."), rasterio.open(file) as dataset:
        interpretation = dataset.colorinterp
        dtypes = dataset.dtypes
        shape, transform, blocks = dataset.shape, dataset.transform, dataset.block_shapes
        crs = dataset.crs.to_wkt() if dataset.crs else None
    alpha = [i for i, meaning in enumerate(interpretation, 1) if meaning == ColorInterp.alpha]
    if numbers is None:
        numbers = [i for i in range(1, len(dtypes) + 1) if i not in alpha]
        if alpha:
            log.info("%s: its band %d says what is transparent; name it in dataset.bands if it is not.", file, alpha[0])
    if beyond := [number for number in numbers if not 1 <= number <= len(dtypes)]:
        raise InputError(f"{file}: dataset.bands names band {beyond[0]}, but the file has {len(dtypes)}.")
    kinds = {dtypes[number - 1] for number in numbers}
    if len(kinds) > 1 or np.dtype(dtypes[numbers[0] - 1]).kind not in "uif":
        raise InputError(f"{file}: pixels of {', '.join(sorted(kinds))}; bands of one real type are needed.")
    rows, cols = blocks[numbers[0] - 1]
    if rows * cols * len(dtypes) * np.dtype(dtypes[numbers[0] - 1]).itemsize > BLOCK:
        raise InputError(
            f"{file}: is stored in blocks of {rows:,}×{cols:,} pixels, and one pixel costs a whole block; write it in "
            "tiles, as with gdal_translate -co TILED=YES."
        )
    if interpretation[numbers[0] - 1] == ColorInterp.palette:
        raise InputError(f"{file}: a palette image, whose numbers are no brightness; convert it to RGB.")
    unknown = (0.0,) * len(numbers)
    bands = Bands(kinds.pop(), tuple(numbers), unknown, unknown, unknown, unknown)
    # Where the "alpha" band is wanted as a band, it is a mislabelled one, and masks nothing.
    masked = not set(alpha) & set(numbers)
    return Raster(name, file, (int(shape[0]), int(shape[1])), bands, crs, transform, masked)


def _fitting(raster: Raster, bands: Bands) -> Raster:
    """The raster, read by the bands of a run. A grey picture is read as RGB, as every viewer shows it."""
    own = raster.bands
    if own.dtype == bands.dtype and len(own) == 1 and bands == RGB:
        return replace(raster, bands=replace(bands, numbers=own.numbers * 3))
    if own.dtype == bands.dtype and len(own) == len(bands) and list(bands.numbers) == sorted(bands.numbers):
        # An alpha band may lie elsewhere in this file.
        return replace(raster, bands=replace(bands, numbers=own.numbers))
    if own.dtype != bands.dtype or max(bands.numbers) > max(own.numbers):
        raise InputError(
            f"{raster.file} has {_words(own)}, but the run was trained on {_words(bands)}, number "
            f"{', '.join(map(str, bands.numbers))}; give images of the kind it was trained on."
        )
    log.info("%s: read by its bands %s, as in training", raster.file, ", ".join(map(str, bands.numbers)))
    return replace(_describe(raster.id, raster.file, bands.numbers), bands=bands)


def _measure(rasters: Sequence[Raster]) -> Bands:
    """The statistics of the rasters' bands, from windows spread over them at random; 8-bit RGB has ImageNet's."""
    bands = rasters[0].bands
    if bands.dtype == "uint8" and len(bands) == 3:
        return replace(RGB, numbers=bands.numbers)
    rng = np.random.default_rng(0)
    values = np.concatenate([_sample(rasters[i % len(rasters)], rng) for i in range(max(SAMPLES, len(rasters)))])
    if not len(values):
        raise InputError(f"{rasters[0].file}: no pixel with data was found; is its nodata value right?")
    low, high = np.zeros(len(bands)), np.full(len(bands), 255.0)
    if bands.dtype != "uint8":
        low, high = np.percentile(values, TAILS, axis=0)
        high = np.where(high > low, high, low + 1)
    limits = replace(bands, low=tuple(low.tolist()), high=tuple(high.tolist()))
    stretched = stretch(values[None], limits)[0]
    # A constant band tells nothing; its deviation of zero must not divide.
    std = np.maximum(stretched.std(0), 1)
    return replace(limits, mean=tuple(stretched.mean(0).tolist()), std=tuple(std.tolist()))


def _sample(raster: Raster, rng: np.random.Generator) -> Num[np.ndarray, "n c"]:
    """The valid pixels of one random window."""
    size = [min(SIDE, side) for side in raster.shape]
    start = [int(rng.integers(0, side - part, endpoint=True)) for side, part in zip(raster.shape, size, strict=True)]
    window = Window(start[0], start[1], size[0], size[1])
    values = np.moveaxis(_read(raster.file, list(raster.bands.numbers), window), 0, -1)
    return np.asarray(values[raster.valid(window)])
