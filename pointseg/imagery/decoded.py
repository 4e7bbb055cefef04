"""Images and masks on disk, decoded once into arrays that every process maps into memory.

A cached scene is two .npy files of uint8 (h, w, 3) and (h, w): the operating system shares their
pages between data-loading workers and ranks, and a window costs only the pages that it touches.
"""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import platformdirs
import rasterio
from jaxtyping import Shaped, UInt8
from PIL import Image
from rasterio.warp import transform

from pointseg import progress
from pointseg.errors import Faults, InputError, reading
from pointseg.files import writing
from pointseg.types import Shape, Window

Scale = Literal["native"] | int
"""`native`, or the side in pixels of the square that every scene is resized to."""

Key = TypeVar("Key", str, tuple[str, str])

LARGEST = 1 << 29
"""The most pixels of an image or mask here, where it is decoded whole."""

# PIL refuses twice this number. Its own, 89 million, would refuse a map of 14,000 by 14,000 pixels.
Image.MAX_IMAGE_PIXELS = LARGEST // 2

OFF = 1  # pixels by which the corners of a mask may lie beside those of its image
DAMAGED = "the file is damaged or cut short: copy it anew."
_UNKNOWN = 254
_FORMAT = 1  # part of the cache's key: raise it when what is cached for a file changes


def cache_folder() -> Path:
    """$POINTSEG_CACHE, else the user's cache folder."""
    return Path(os.environ.get("POINTSEG_CACHE") or platformdirs.user_cache_dir("pointseg"))


@dataclass(frozen=True)
class Source:
    """Where one scene's image and mask lie, before decoding."""

    id: str
    group: str
    image: Path
    mask: Path


def check_pairs(images: Mapping[Key, Path], masks: Mapping[Key, Path]) -> None:
    """Raises InputError naming every image without its mask, and every mask without its image."""
    if alone := sorted(images.keys() ^ masks.keys()):
        listing = "\n".join(
            f"  {images[key]}: no mask" if key in images else f"  {masks[key]}: no image" for key in alone
        )
        raise InputError(f"Files without their other half ({len(alone)}):\n{listing}\nRestore or remove them.")


def check_place(source: Source) -> None:
    """Raises InputError where image and mask are both on the map, and the mask lies elsewhere than the image."""
    if {source.image.suffix.lower(), source.mask.suffix.lower()} - {".tif", ".tiff"}:
        return
    with (
        reading(source.mask, "a mask of its image", DAMAGED),
        rasterio.open(source.image) as image,
        rasterio.open(source.mask) as mask,
    ):
        if not (image.crs and mask.crs):
            return
        corners = [mask.transform @ corner for corner in ((0, 0), (mask.width, mask.height))]
        x, y = transform(mask.crs, image.crs, *zip(*corners, strict=True))
        cols, rows = ~image.transform @ (np.array(x), np.array(y))
        size = image.width, image.height
    off = max(np.abs(cols - (0, size[0])).max(), np.abs(rows - (0, size[1])).max())
    if not off <= OFF:
        raise InputError(
            f"{source.mask} lies elsewhere on the map than its image {source.image}, by up to {off:.0f} pixels of it; "
            "cut both to one grid, as with gdalwarp -te and -tr."
        )


@dataclass(frozen=True)
class CachedScene:
    """A scene whose decoded image and mask are .npy files (see the module)."""

    id: str
    group: str
    shape: Shape
    image_file: Path
    mask_file: Path

    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]:
        return _window(self.image_file, window)

    def mask(self, window: Window) -> UInt8[np.ndarray, "h w"]:
        return _window(self.mask_file, window)

    def has_truth(self, window: Window) -> bool:
        return True


def _window(file: Path, window: Window) -> UInt8[np.ndarray, "..."]:
    # Opened at each read, about 0.1 ms: an open memmap would be copied whole when pickled to a worker.
    array = np.load(file, mmap_mode="r")
    return np.array(array[window.row : window.row + window.height, window.col : window.col + window.width])


@dataclass(frozen=True)
class Legend:
    """What the values of a mask mean.

    labels: value → class index or IGNORE; a value is a colour 0xRRGGBB or an integer.
    colours: masks are pictures in those colours (a palette image is read through its palette);
        otherwise they hold the integers themselves (a palette image is read by its indices).
    """

    labels: Mapping[int, int]
    colours: bool

    def name(self, value: int) -> str:
        return f"#{value:06X}" if self.colours else str(value)

    def table(self) -> UInt8[np.ndarray, "values"]:
        """A look-up table from every 24-bit value: one indexing instead of a comparison per class."""
        table = np.full(1 << 24, _UNKNOWN, np.uint8)
        for value, label in self.labels.items():
            table[value] = label
        return table


def decode(sources: Sequence[Source], legend: Legend, scale: Scale) -> list[CachedScene]:
    """The scenes of `sources`, decoded into the cache where they are not there yet.

    Raises InputError for a file that cannot be read, an image and mask of different sizes, and a
    mask value that the legend does not know; all files are tried first.
    """
    if scale != "native" and not 1 <= scale <= math.isqrt(LARGEST):
        raise InputError(
            f"dataset.scale={scale}: give native, or the side of a square in pixels, as in dataset.scale=512; at most "
            f"{LARGEST:,} pixels."
        )
    files = _cache_files(sources, legend, scale)
    wanted = list(zip(sources, files, strict=True))
    missing = [(source, pair) for source, pair in wanted if not all(file.exists() for file in pair)]
    if missing:
        table = legend.table()
        with Faults() as faults:
            for source, pair in progress.over(missing, "decoding scenes, once", "scene"):
                with faults.step():
                    for file, array in zip(pair, _read_pair(source, legend, table, scale), strict=True):
                        _save(file, array)
    return [_cached(source, image, mask) for source, (image, mask) in wanted]


def _cache_files(sources: Sequence[Source], legend: Legend, scale: Scale) -> list[tuple[Path, Path]]:
    """Where the decoded image and mask of each source lie, or will."""
    folder = cache_folder() / "scenes"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name a folder in $POINTSEG_CACHE.") from error
    keys = [_key(source, legend, scale) for source in sources]
    return [(folder / f"{key}.image.npy", folder / f"{key}.mask.npy") for key in keys]


def _cached(source: Source, image: Path, mask: Path) -> CachedScene:
    height, width = np.load(mask, mmap_mode="r").shape
    return CachedScene(source.id, source.group, (height, width), image, mask)


def _key(source: Source, legend: Legend, scale: Scale) -> str:
    parts: list[object] = [_FORMAT, scale, legend.colours, sorted(legend.labels.items())]
    for file in (source.image, source.mask):
        with reading(file, "an image", DAMAGED):
            status = file.stat()
        parts += [str(file.resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _save(file: Path, array: UInt8[np.ndarray, "..."]) -> None:
    with writing(file, "name a folder in $POINTSEG_CACHE", shared=True) as partial:
        np.save(partial, array)


def _read_pair(
    source: Source, legend: Legend, table: UInt8[np.ndarray, "values"], scale: Scale
) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    with Faults() as faults:
        with faults.step():
            image = _read_image(source.image)
        with faults.step():
            mask = _read_mask(source.mask, legend, table)
    if (image.height, image.width) != mask.shape:
        raise InputError(
            f"{source.image} has {image.height}×{image.width} pixels (rows × columns) but its mask {source.mask} "
            f"has {mask.shape[0]}×{mask.shape[1]}; they must show the same pixels."
        )
    if scale != "native":
        image = image.resize((scale, scale), Image.Resampling.BILINEAR)
        mask = np.asarray(Image.fromarray(mask).resize((scale, scale), Image.Resampling.NEAREST))
    return np.asarray(image), mask


def _read_image(file: Path) -> Image.Image:
    image = _open(file)
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P"):
        raise InputError(f"{file}: pixels of mode {image.mode!r}; 8-bit RGB or grey is needed: convert the image.")
    return image.convert("RGB")


def _open(file: Path) -> Image.Image:
    with reading(file, "an image", DAMAGED):
        try:
            image = Image.open(file)
        except Image.DecompressionBombError as error:
            raise InputError(
                f"{file}: has more than {LARGEST:,} pixels; cut it and its mask into scenes, or label points on it: "
                "dataset=field reads by window."
            ) from error
        image.load()
    return image


def _read_mask(file: Path, legend: Legend, table: UInt8[np.ndarray, "values"]) -> UInt8[np.ndarray, "h w"]:
    """The class of each pixel, or IGNORE."""
    values = _mask_values(file, legend)
    mask: UInt8[np.ndarray, "h w"] = table[values]
    if (mask == _UNKNOWN).any():
        raise InputError(_unknown_values(file, values[mask == _UNKNOWN], legend))
    return mask


def _mask_values(file: Path, legend: Legend) -> Shaped[np.ndarray, "h w"]:
    image = _open(file)
    if legend.colours:
        with reading(file, "a mask of colours", "convert it to RGB."):
            colours = np.asarray(image.convert("RGB")).astype(np.uint32)
        red, green, blue = np.moveaxis(colours, -1, 0)
        packed: Shaped[np.ndarray, "h w"] = red << 16 | green << 8 | blue
        return packed
    values = np.asarray(image)
    if values.ndim != 2 or values.dtype.kind not in "bui" or values.min() < 0 or values.max() >= 1 << 24:
        raise InputError(
            f"{file}: pixels of mode {image.mode!r}; a mask of integers has one band of whole numbers from 0 to "
            "16,777,215. For a mask of colours, give the classes as colours ('#RRGGBB')."
        )
    return values.astype(np.uint32)


def _unknown_values(file: Path, values: Shaped[np.ndarray, "n"], legend: Legend) -> str:
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts)[:5]
    listing = ", ".join(f"{legend.name(int(found[i]))} ({counts[i]:,} pixels)" for i in order)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    known = ", ".join(legend.name(value) for value in legend.labels)
    return (
        f"{file}: unknown mask values {listing}{more}; known: {known}. Mend the mask, or (dataset=folder) name the "
        "value in dataset.classes or dataset.ignore."
    )
