"""Points drawn in equal shares for the classes present."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from pointseg.types import IGNORE, Points


@dataclass(frozen=True)
class Stratified:
    """Equally many pixels of every class in the mask, uniformly within a class.

    What a rare class cannot fill goes to the others in equal shares, so `count` is met exactly
    (unless the mask has fewer labelled pixels). This changes the prior of the classes among the points.
    """

    def __call__(self, mask: UInt8[np.ndarray, "h w"], count: int, rng: np.random.Generator) -> Points:
        flat = mask.ravel()
        sizes = np.bincount(flat)[:IGNORE]
        drawn = [
            rng.choice(np.flatnonzero(flat == label), quota, replace=False)
            for label, quota in enumerate(shares(sizes.tolist(), count))
            if quota
        ]
        return Points.of_pixels(mask, np.concatenate([np.empty(0, np.int64), *drawn]))


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """`count` divided over bins that hold at most `sizes`, as evenly as they allow.

    The smallest bins are filled first: each takes its share of what is left for it and the larger.
    """
    quotas = [0] * len(sizes)
    nonempty = sorted((bin for bin, size in enumerate(sizes) if size), key=lambda bin: sizes[bin])
    for i, bin in enumerate(nonempty):
        quotas[bin] = min(sizes[bin], count // (len(nonempty) - i))
        count -= quotas[bin]
    return quotas
