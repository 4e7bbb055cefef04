"""What the page shows of a tile: the image as JPEG or PNG, the map in the colours of its classes as PNG."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster, shown
from pointseg.labelling.drawing import TILE, Drawn, TileKey
from pointseg.types import IGNORE, Bands, Window

Layer = Literal["classes", "confidence", "sure"]
"""The classes; how sure the map is, in shades; the classes, the fainter the less sure."""

TAILS = (2, 98)  # percentiles of a view that become black and white
SAMPLED = 512  # pixels to which a view is reduced before they are measured
SHADES = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_MAGMA)[:, 0]


def display(raster: Raster, numbers: tuple[int, ...], low: tuple[float, ...], high: tuple[float, ...]) -> Bands:
    """Three bands of the raster's file (from 1) as red, green and blue, stretched between low and high.

    Raises InputError where the raster's file has no such bands, or they cannot be stretched so.
    """
    if not len(numbers) == len(low) == len(high) == 3 or not set(numbers) <= set(raster.bands.numbers):
        raise InputError(f"Three of the bands {', '.join(map(str, raster.bands.numbers))} are needed.")
    if not all(np.isfinite([*low, *high])) or any(a >= b for a, b in zip(low, high, strict=True)):
        raise InputError("The stretch needs a lower value and a higher one.")
    chosen = raster.bands.only([raster.bands.numbers.index(number) for number in numbers])
    return replace(chosen, low=low, high=high, curves=())


def usual(raster: Raster) -> Bands:
    """As the model sees it: its first three bands, or the first in grey."""
    numbers = raster.bands.numbers
    return measured(raster, numbers[:3] if len(numbers) > 2 else numbers[:1] * 3)


def fitted(raster: Raster, window: Window, numbers: tuple[int, ...]) -> Bands:
    """Stretched between the percentiles TAILS of what a view shows."""
    factor = min(1.0, SAMPLED / max(window.height, window.width))
    shape = (max(int(window.height * factor), 1), max(int(window.width * factor), 1))
    whole = measured(raster, numbers)
    values, valid = shown(raster, window, shape, whole)
    if not valid.any():
        return whole
    ends: Float[np.ndarray, "2 c"] = np.percentile(values[valid], TAILS, axis=0)
    scale = (np.array(whole.high) - whole.low) / 255
    low, high = (np.array(whole.low) + end * scale for end in ends)
    high = np.where(high > low, high, low + scale)
    return display(raster, numbers, tuple(low.tolist()), tuple(high.tolist()))


def measured(raster: Raster, numbers: tuple[int, ...]) -> Bands:
    """Stretched as for the model."""
    places = [raster.bands.numbers.index(number) for number in numbers]
    low, high = (tuple(values[i] for i in places) for values in (raster.bands.low, raster.bands.high))
    return display(raster, numbers, low, high)


def image(raster: Raster, key: TileKey, bands: Bands) -> tuple[bytes, str]:
    """A tile of the image and its media type: PNG where some of it is without data or outside."""
    area = key.area(raster)
    height, width = (-(-side >> key.halvings) for side in area[2:])
    pixels = np.zeros((TILE, TILE, 4), np.uint8)
    shown_pixels, valid = shown(raster, area, (height, width), bands)
    pixels[:height, :width, :3] = shown_pixels[..., ::-1]  # OpenCV's order
    pixels[:height, :width, 3] = valid * np.uint8(255)
    if pixels[..., 3].all():
        return _encoded(".jpg", pixels[..., :3], [cv2.IMWRITE_JPEG_QUALITY, 90]), "image/jpeg"
    return _encoded(".png", pixels), "image/png"


def painted(drawn: Drawn, colours: Mapping[str, str], layer: Layer) -> bytes:
    """A tile of the map as PNG; what has no class is transparent."""
    known: Bool[np.ndarray, "h w"] = drawn.classes != IGNORE
    if layer == "confidence":
        pixels: UInt8[np.ndarray, "h w 3"] = SHADES[drawn.confidence]
    else:
        palette = np.zeros((256, 3), np.uint8)
        for i, name in enumerate(drawn.fit.names):
            value = int(colours.get(name, "#000000")[1:], 16)
            palette[i] = value & 255, value >> 8 & 255, value >> 16
        pixels = palette[drawn.classes]
    alpha = drawn.confidence if layer == "sure" else np.full_like(drawn.classes, 255)
    return _encoded(".png", np.dstack([pixels, np.where(known, alpha, 0).astype(np.uint8)]))


def _encoded(suffix: str, pixels: UInt8[np.ndarray, "h w c"], options: list[int] | None = None) -> bytes:
    done, buffer = cv2.imencode(suffix, pixels, options or [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert done
    return bytes(buffer.tobytes())


def read(text: str) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Of 'band:low:high,…' the bands, and the values that become black and white."""
    try:
        parts = [part.split(":") for part in text.split(",")]
        return (
            tuple(int(band) for band, _, _ in parts),
            tuple(float(low) for _, low, _ in parts),
            tuple(float(high) for _, _, high in parts),
        )
    except ValueError as error:
        raise InputError("bands: write three of them, each as band:low:high.") from error


def spelled(shown: Bands) -> str:
    """What `read` reads."""
    parts = zip(shown.numbers, shown.low, shown.high, strict=True)
    return ",".join(f"{band}:{low:.9g}:{high:.9g}" for band, low, high in parts)
