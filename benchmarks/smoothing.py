"""What merging small areas and smoothing probabilities do to a map.

The eight tiles of the aerial dataset, each put together and mapped from 40 points of each class (see the row `areas`),
scored on every pixel of the masks. Change against the map as it is: the mean over the tiles, and the lowest of a tile.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
import rasterio.features
from jaxtyping import Float, UInt8
from tqdm import tqdm

from benchmarks.areas import mapped
from benchmarks.common import table
from benchmarks.field import put_together
from pointseg import metrics
from pointseg.evaluation.class_map import open_map
from pointseg.prediction.smoothing import guided
from pointseg.types import IGNORE

STRIP, HALO = 1024, 64  # rows that are smoothed at a time, and those around them


class Size(NamedTuple):
    tiles: tuple[int, ...]


SIZES = {"tiny": Size((7,)), "quick": Size((1, 7)), "full": Size((1, 2, 3, 4, 5, 6, 7, 8))}


def sieved(labels: UInt8[np.ndarray, "h w"], pixels: int) -> UInt8[np.ndarray, "h w"]:
    return np.asarray(rasterio.features.sieve(labels, pixels, mask=labels != IGNORE))


def smooth(values: UInt8[np.ndarray, "k h w"], image: UInt8[np.ndarray, "h w 3"], radius: int) -> np.ndarray:
    """The classes of the smoothed probabilities."""
    parts = []
    for first in range(0, len(image), STRIP):
        top, bottom = max(first - HALO, 0), min(first + STRIP + HALO, len(image))
        shares: Float[np.ndarray, "h w k"] = np.moveaxis(values[:, top:bottom], 0, -1).astype(np.float32) / 255
        brightness = image[top:bottom].mean(-1, dtype=np.float32) / 255
        classes = guided(brightness, shares, radius).argmax(-1).astype(np.uint8)
        parts.append(classes[first - top : first - top + STRIP])
    return np.concatenate(parts)


def variants(file: Path, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    with rasterio.open(file) as dataset:
        labels = dataset.read(1)
    with rasterio.open(file.with_stem("map_probabilities")) as dataset:
        values = dataset.read()
    yield "the map as it is", labels
    for pixels in (30, 100, 300):
        yield f"`sieve={pixels}`", sieved(labels, pixels)
    for radius in (4, 8, 16):
        found = smooth(values, image, radius)
        yield f"`smooth={radius}`", found
        if radius == 8:
            yield "`smooth=8 sieve=100`", sieved(found, 100)


def run(size: Size, folder: Path) -> str:
    rows: list[dict[str, Any]] = []
    for tile in tqdm(size.tiles, disable=None):
        file = mapped(tile, Path("outputs/areas"))
        dataset, image, mask = put_together(tile)
        names = open_map(file, None).classes
        order = [*names, *(name for name in dataset.classes if name not in names)]
        known = mask != IGNORE
        truth = np.array([order.index(name) for name in dataset.classes])[mask[known]]
        for name, labels in variants(file, image):
            pairs = np.bincount(truth * len(order) + labels[known], minlength=len(order) ** 2)
            matrix = pairs.reshape(1, len(order), -1)
            miou = float(np.nanmean(metrics.ious(matrix)))
            rows.append({"tile": tile, "map": name, "accuracy": np.trace(matrix[0]) / matrix.sum(), "miou": miou})
    scores = pd.DataFrame(rows).pivot(index="tile", columns="map", values=["accuracy", "miou"])
    base = scores.xs("the map as it is", axis=1, level="map")
    lines = [["the map as it is", *(f"{value:.4f}" for value in base.mean())]]
    for name in [name for name in dict.fromkeys(row["map"] for row in rows) if name != "the map as it is"]:
        change = scores.xs(name, axis=1, level="map") - base
        cells = [f"{change[key].mean():+.4f} ({change[key].min():+.4f})" for key in ("accuracy", "miou")]
        lines.append(
            [name, *(f"{value:.4f}" for value in base.mean())] if name == "the map as it is" else [name, *cells]
        )
    return table(["", "accuracy", "mean IoU"], lines)
