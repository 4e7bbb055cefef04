"""Points drawn uniformly over the labelled pixels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from pointseg.types import IGNORE, Points


@dataclass(frozen=True)
class Random:
    """`count` distinct labelled pixels, every set of them equally likely; fewer if there are fewer."""

    def __call__(self, mask: UInt8[np.ndarray, "h w"], count: int, rng: np.random.Generator) -> Points:
        labelled = np.flatnonzero(mask != IGNORE)
        drawn = rng.choice(labelled, min(count, len(labelled)), replace=False)
        return Points.of_pixels(mask, drawn)
