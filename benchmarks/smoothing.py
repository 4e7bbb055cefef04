"""What merging small areas and smoothing probabilities do to a map.

Each of the eight tiles of the aerial dataset is put together; 40 points of each class, drawn anew three times, train
`experiment=field` on the whole tile. Of each run, the middle of the tile (1280×1280 pixels, or as much as it has) is
mapped and scored on every pixel of the mask. Change against the map as it is: the mean over the 24 maps, the lowest of
any, and how many of them became worse.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
import rasterio.features
from jaxtyping import Float, UInt8
from tqdm import tqdm

import pointseg
from benchmarks.common import table
from benchmarks.field import draw, put_together, write_scene
from pointseg import metrics
from pointseg.evaluation.class_map import open_map
from pointseg.prediction.smoothing import guided
from pointseg.types import IGNORE

PLAIN = "the map as it is"
STRIP, HALO = 1024, 64  # rows that are smoothed at a time, and those around them


class Size(NamedTuple):
    tiles: tuple[int, ...]
    draws: int


SIZES = {"tiny": Size((2,), 1), "quick": Size((1, 7), 2), "full": Size((1, 2, 3, 4, 5, 6, 7, 8), 3)}
SIDE = 1280  # pixels of what is mapped: enough for a score, and a map of all 100 million would take an hour


def middle(array: np.ndarray) -> np.ndarray:
    (top, left), (height, width) = ((max(side - SIDE, 0) // 2 for side in array.shape[:2]), array.shape[:2])
    return array[top : top + min(height, SIDE), left : left + min(width, SIDE)]


def mapped(image: np.ndarray, mask: np.ndarray, classes: Sequence[str], seed: int, folder: Path) -> Path:
    """The map of the middle, made where it is not there."""
    file = folder / f"draw{seed}/map.tif"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_scene(folder / "scene.tif", image)
        write_scene(folder / "middle.tif", middle(image))
        draw(mask, classes, 40, seed).to_file(file.with_name("points.gpkg"))
        weights = os.environ.get("POINTSEG_WEIGHTS")
        encoder = [f"model.weights={weights}/mobilenet_v2-imagenet.pth"] if weights else []
        points, run = file.with_name("points.gpkg"), file.with_name("run")
        overrides = [*encoder, f"seed={seed}", "resume=true"]
        model = pointseg.fit(folder / "scene.tif", points, folder=run, overrides=overrides)
        model.predict(folder / "middle.tif", file, probabilities=True)
    return file


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
    yield PLAIN, labels
    for pixels in (30, 100, 300):
        yield f"`sieve={pixels}`", sieved(labels, pixels)
    for radius in (4, 8, 16):
        found = smooth(values, image, radius)
        yield f"`smooth={radius}`", found
        if radius == 8:
            yield "`smooth=8 sieve=100`", sieved(found, 100)


def scores(size: Size, folder: Path) -> pd.DataFrame:
    """tile, draw, map (how it was treated), accuracy, miou."""
    rows: list[dict[str, Any]] = []
    for seed, tile in tqdm(list(itertools.product(range(size.draws), size.tiles)), disable=None):
        dataset, image, mask = put_together(tile)
        file = mapped(image, mask, dataset.classes, seed, folder / f"tile{tile}")
        names = open_map(file, None).classes
        order = [*names, *(name for name in dataset.classes if name not in names)]
        mask = middle(mask)
        known = mask != IGNORE
        truth = np.array([order.index(name) for name in dataset.classes])[mask[known]]
        for name, labels in variants(file, middle(image)):
            pairs = np.bincount(truth * len(order) + labels[known], minlength=len(order) ** 2)
            matrix = pairs.reshape(1, len(order), -1)
            score = {"accuracy": np.trace(matrix[0]) / matrix.sum(), "miou": float(np.nanmean(metrics.ious(matrix)))}
            rows.append({"tile": tile, "draw": seed, "map": name} | score)
    return pd.DataFrame(rows)


def run(size: Size, folder: Path) -> str:
    found = scores(size, Path("outputs/smoothing"))
    found.to_csv("outputs/smoothing/scores.csv", index=False)
    wide = found.pivot(index=["tile", "draw"], columns="map", values=["accuracy", "miou"])
    base = wide.xs(PLAIN, axis=1, level="map")
    lines = [[PLAIN, *(f"{value:.4f}" for value in base.mean())]]
    for name in [name for name in found["map"].unique() if name != PLAIN]:
        change = wide.xs(name, axis=1, level="map") - base
        lines.append([name, *(_cell(change[key]) for key in ("accuracy", "miou"))])
    return table(["", "accuracy", "mean IoU"], lines)


def _cell(change: "pd.Series[float]") -> str:
    return f"{change.mean():+.4f} (lowest {change.min():+.4f}; {(change < 0).sum()} of {len(change)} worse)"
