"""How often the 95 % intervals of `pointseg assess` hold the truth.

The middle of each tile of the aerial dataset is mapped as for the row `smoothing` (its first draw of points). From the
map, samples are drawn again and again as `pointseg sample` draws them; the masks label them, and what `pointseg assess`
gives is held against what the masks say of every pixel. Beside its intervals stand those of 1.96 standard errors to
either side. Shares of the samples: the mean over tiles and classes, and the lowest of any class of a tile.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import rasterio
from jaxtyping import Int
from tqdm import tqdm

from benchmarks.common import table
from benchmarks.field import put_together
from benchmarks.smoothing import mapped, middle
from pointseg.evaluation.area import Assessment, Sample, assess
from pointseg.evaluation.class_map import open_map
from pointseg.evaluation.sample import ALLOCATIONS, allocate
from pointseg.types import IGNORE

FIGURES = {"shares": "areas", "users": "user's", "producers": "producer's", "f1": "F1", "overall": "overall"}
LEAST = 20  # conf/sample.yaml's
Z = 1.96  # half a 95 % interval in standard errors, as the papers have it


class Size(NamedTuple):
    tiles: tuple[int, ...]
    samples: int
    counts: tuple[int, ...]


SIZES = {
    "tiny": Size((7,), 5, (200,)),
    "quick": Size((1, 7), 200, (200,)),
    "full": Size((1, 2, 3, 4, 5, 6, 7, 8), 300, (200, 500)),
}


def population(tile: int, folder: Path) -> tuple[Int[np.ndarray, "k k"], np.ndarray]:
    """Pixels of a tile's middle by mapped and true class, where it has one, and the map's mean confidence by class."""
    dataset, image, mask = put_together(tile)
    file = mapped(image, mask, dataset.classes, 0, folder / f"tile{tile}")
    mask = middle(mask)
    class_map = open_map(file, None)
    labels = class_map.read(0, class_map.shape[0])
    with rasterio.open(file.with_stem("map_confidence")) as confidence:
        sure = confidence.read(1) / 255
    names = [*class_map.classes, *(name for name in dataset.classes if name not in class_map.classes)]
    known = mask != IGNORE
    truth = np.array([names.index(name) for name in dataset.classes])[mask[known]]
    pairs = np.bincount(labels[known] * len(names) + truth, minlength=len(names) ** 2)
    sums = np.bincount(labels[known], sure[known], len(names))
    matrix = pairs.reshape(len(names), -1)
    return matrix, (sums / np.maximum(matrix.sum(1), 1)).clip(0.01, 0.99)


def truth_of(matrix: Int[np.ndarray, "k k"]) -> dict[str, np.ndarray]:
    right, on_map, on_ground = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore"):
        return {
            "shares": on_ground / matrix.sum(),
            "users": right / on_map,
            "producers": right / on_ground,
            "f1": 2 * right / (on_map + on_ground),
            "overall": np.array([right.sum() / matrix.sum()]),
        }


def drawn(matrix: Int[np.ndarray, "k k"], numbers: Int[np.ndarray, "k"], rng: np.random.Generator) -> Assessment:
    """What one sample gives: the pixels of a class are alike but for their truth, so that counts are all it takes."""
    counts = np.stack([rng.multivariate_hypergeometric(row, n) for row, n in zip(matrix, numbers, strict=True)])
    labels, truth = (part.repeat(counts[counts > 0]) for part in np.nonzero(counts))
    there = np.flatnonzero(numbers)
    pixels = matrix.sum(1)[there].astype(float)
    return assess(
        Sample(np.searchsorted(there, labels), pixels, pixels, np.ones(len(labels))), labels, truth, len(matrix)
    )


def simulate(size: Size, folder: Path) -> Iterator[dict[str, Any]]:
    for tile in size.tiles:
        matrix, expected = population(tile, folder)
        truth = truth_of(matrix)
        rng = np.random.default_rng(tile)
        for count in size.counts:
            for how in tqdm(ALLOCATIONS, desc=f"Tile {tile}, {count} points", disable=None):
                numbers = allocate(count, how, matrix.sum(1), expected, LEAST)
                found = [drawn(matrix, numbers, rng) for _ in range(size.samples)]
                for name in FIGURES:
                    value, error, low, high = (
                        np.array([getattr(getattr(one, name), part) for one in found])
                        for part in ("value", "error", "low", "high")
                    )
                    held = (low <= truth[name]) & (truth[name] <= high)
                    narrow = np.abs(value - truth[name]) <= Z * error
                    for label in np.flatnonzero(np.isfinite(truth[name])):
                        said = np.isfinite(value[:, label])  # a class that a sample has not met has no accuracy
                        yield {
                            "tile": tile, "count": count, "how": how, "figure": name, "class": label,
                            "held": held[said, label].mean(), "narrow": narrow[said, label].mean(),
                        }  # fmt: skip


def run(size: Size, folder: Path) -> str:
    """The table; its numbers also as areas.csv beside it, of which docs/accuracy.md is made."""
    rows = pd.DataFrame(simulate(size, Path("outputs/smoothing"))).melt(
        ["tile", "count", "how", "figure", "class"], ["held", "narrow"], "intervals", "share"
    )
    groups = rows.groupby(["count", "how", "intervals", "figure"], sort=False)["share"]
    shares = groups.agg(mean="mean", lowest="min").round(4).reset_index()
    if size == SIZES["full"]:
        shares.to_csv(folder / "areas.csv", index=False)
    shares["cell"] = [
        f"{mean:.3f} ({lowest:.3f})" for mean, lowest in shares[["mean", "lowest"]].itertuples(index=False)
    ]
    wide = shares.pivot(index=["count", "how", "intervals"], columns="figure", values="cell")[list(FIGURES)]
    titles = {"held": "`assess`", "narrow": "1.96 standard errors"}
    lines = [
        [count, how, titles[key], *cells] for (count, how, key), cells in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return table(["points", "allocation", "intervals", *FIGURES.values()], lines)
