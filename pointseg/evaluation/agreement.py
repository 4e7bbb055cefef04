"""How far masks agree that were drawn apart: along the cuts of a tile, where its images meet."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from pointseg.types import IGNORE, Scene, whole

Pairs = Int[np.ndarray, "k k"]
"""Pairs of neighbouring pixels by their two classes, each counted either way round."""


class BorderPairs(NamedTuple):
    """across: one pixel in each of two masks. beside: both in one of them, a pixel from that border."""

    across: Pairs
    beside: Pairs


def border_pairs(parts: Sequence[Scene], classes: int, cuts: int) -> dict[str, BorderPairs]:
    """The pairs at the cuts of each tile, by its name; `parts` are images of tiles cut cuts×cuts (see Dataset).

    Masks of neighbours were drawn apart: where they agree less across a cut than inside, annotators did. Pixels of
    no class are left out, and tiles of which no two neighbours are there.
    """
    masks = {scene.id: scene.mask(whole(scene)) for scene in parts}
    found: dict[str, list[BorderPairs]] = {}
    for scene in sorted(parts, key=lambda scene: (len(scene.group), scene.id)):  # Tile 10 after Tile 9
        stem, _, number = scene.id.rpartition("_")
        right, below = (f"{stem}_{int(number) + step:03}" for step in (1, cuts))
        if int(number) % cuts and right in masks:
            found.setdefault(scene.group, []).append(_border(masks[scene.id].T, masks[right].T, classes))
        if below in masks:
            found.setdefault(scene.group, []).append(_border(masks[scene.id], masks[below], classes))
    return {tile: BorderPairs(*np.sum(borders, 0)) for tile, borders in found.items()}


def agreement(pairs: Pairs) -> float:
    """The share of pairs of equal class."""
    return float(np.trace(pairs) / max(pairs.sum(), 1))


def _border(upper: UInt8[np.ndarray, "h w"], lower: UInt8[np.ndarray, "h w"], classes: int) -> BorderPairs:
    width = min(upper.shape[1], lower.shape[1])
    upper, lower = upper[:, :width], lower[:, :width]
    beside = _pairs(upper[-2], upper[-1], classes) + _pairs(lower[0], lower[1], classes)
    return BorderPairs(_pairs(upper[-1], lower[0], classes), beside)


def _pairs(one: UInt8[np.ndarray, "n"], other: UInt8[np.ndarray, "n"], classes: int) -> Pairs:
    labelled = (one != IGNORE) & (other != IGNORE)
    counts = np.bincount(one[labelled].astype(int) * classes + other[labelled], minlength=classes**2)
    pairs = counts.reshape(classes, classes)
    return pairs + pairs.T
