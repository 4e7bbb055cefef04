"""Partial cross entropy between every point alike and every class alike."""

from collections.abc import Sequence

import torch

from pointseg.losses.weighted_partial_ce import WeightedPartialCrossEntropy, class_weights


class BalancedPartialCrossEntropy(WeightedPartialCrossEntropy):
    """Σ w CE / n with weights in proportion to a power of the inverse frequency.

    counts, cap: as of WeightedPartialCrossEntropy.
    power: 1 gives every class the same part in the loss, 0 every point. At few points the whole weight of a rare class
        rests on a handful of them, and a power between the two scores better.
    """

    def __init__(self, counts: Sequence[int], cap: float, power: float) -> None:
        super().__init__(counts, cap, class_weights(torch.tensor(counts), cap, power).tolist())
