"""Points drawn from masks: a sampler plays the annotator."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pointseg.config import check_budget
from pointseg.errors import InputError
from pointseg.types import IGNORE, Dataset, Points, Sampler, Scene, whole


@dataclass(frozen=True)
class Drawn:
    """`budget` points of each scene, by the sampler and the seed (see `draw`)."""

    sampler: Sampler
    budget: int | float
    seed: int

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterator[Points]:
        return (draw(scene, self.sampler, self.budget, self.seed) for scene in scenes)


def draw(scene: Scene, sampler: Sampler, budget: int | float, seed: int) -> Points:
    """The points of one scene. They depend on the scene, the sampler, the budget and the seed alone."""
    mask = scene.mask(whole(scene))
    digest = hashlib.sha256(scene.id.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    return sampler(mask, count(budget, int((mask != IGNORE).sum()), scene.id), rng)


def count(budget: int | float, labelled: int, scene: str) -> int:
    """The number of points that `budget` buys in a scene of `labelled` pixels.

    A whole number is a count, a float in (0, 1] a fraction, rounded and at least one point.
    Raises InputError for anything else, and for a count above `labelled`.
    """
    check_budget(budget)
    if isinstance(budget, float):
        return min(max(round(budget * labelled), 1), labelled)
    if budget > labelled:
        raise InputError(
            f"budget={budget}: scene {scene!r} has only {labelled:,} labelled pixels; give a smaller budget or a "
            "fraction."
        )
    return budget
