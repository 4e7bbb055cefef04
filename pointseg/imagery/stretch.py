"""From the values of a file to 8-bit images."""

from typing import Any

import numpy as np
from jaxtyping import Num, UInt8

from pointseg.types import Bands


def stretch(values: Num[np.ndarray, "h w c"], bands: Bands) -> UInt8[np.ndarray, "h w c"]:
    """See Bands. Values that are no numbers become 0."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    exact: type[np.floating[Any]] = (
        np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64
    )
    numbers = np.nan_to_num(values.astype(exact))
    low, high = (np.array(limits).astype(exact) for limits in (bands.low, bands.high))
    with np.errstate(over="ignore"):
        grey = np.clip((numbers - low) * (255 / (high - low)), 0, 255)
    for band, curve in enumerate(bands.curves):
        if curve:
            ranks = np.interp(numbers[..., band], curve, np.linspace(0, 255, len(curve)))
            grey[..., band] = (grey[..., band] + ranks) / 2
    return np.asarray(np.round(grey).astype(np.uint8))
