"""One click per object, as a person labels."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from pointseg.types import IGNORE, Points


@dataclass(frozen=True)
class PerObject:
    """One point in each connected region (8 neighbours) of a class; larger regions first when `count` is short.

    The point is drawn among the region's pixels that lie at least half as far from its edge as its
    deepest one does (Euclidean distance; the scene's border counts as an edge), so it is inside the
    object rather than on its outline. There are never more points than regions.
    """

    def __call__(self, mask: UInt8[np.ndarray, "h w"], count: int, rng: np.random.Generator) -> Points:
        clicks = [_clicks(mask == label, rng) for label in np.unique(mask[mask != IGNORE])]
        sizes = np.concatenate([np.empty(0, np.int64), *[size for size, _ in clicks]])
        pixels = np.concatenate([np.empty(0, np.int64), *[pixel for _, pixel in clicks]])
        return Points.of_pixels(mask, pixels[np.argsort(-sizes, kind="stable")[:count]])


def _clicks(
    inside: np.ndarray, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "regions"], Int[np.ndarray, "regions"]]:
    """Size in pixels and one clicked pixel (row-major index) of each connected region of `inside`."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    padded = np.pad(inside.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1].ravel()
    regions = np.asarray(regions, np.int64).ravel()
    deepest = np.zeros(len(stats), np.float32)
    np.maximum.at(deepest, regions, depth)
    candidates = np.flatnonzero((regions > 0) & (depth >= deepest[regions] / 2))
    shuffled = rng.permutation(candidates)
    _, first = np.unique(regions[shuffled], return_index=True)
    return stats[1:, cv2.CC_STAT_AREA].astype(np.int64), shuffled[first]
