"""Partial cross entropy with a weight for each class, against the imbalance of the points."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pointseg.errors import InputError
from pointseg.losses.functional import cross_entropy, mean_over_points
from pointseg.models.logits import at_points
from pointseg.types import Batch


class WeightedPartialCrossEntropy(nn.Module):
    """Σ w CE / n over the n points of a batch, w the weight of each point's class.

    counts: drawn points of each class in the whole training set.
    cap: the largest inverse frequency n / n_k that is still followed: a class with less than 1/cap of
        the points weighs no more than one with just that.
    weights: one for each class, in the order of `counts`, instead of those by frequency.
    Raises InputError where their number is not that of the classes.
    """

    weights: Tensor

    def __init__(self, counts: Sequence[int], cap: float, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if weights is not None and len(weights) != len(counts):
            raise InputError(f"loss.weights={list(weights)}: give one for each of the {len(counts)} classes, or null.")
        chosen = class_weights(torch.tensor(counts), cap) if weights is None else torch.tensor(weights).float()
        self.register_buffer("weights", chosen, persistent=False)

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        losses = cross_entropy(at_points(logits, batch), batch.labels)
        return mean_over_points(self.weights[batch.labels] * losses)


def class_weights(counts: Tensor, cap: float, power: float = 1.0) -> Float[Tensor, "k"]:
    """Weights in proportion to min(n / n_k, cap)^power, whose mean over the n points is 1."""
    share = counts / counts.sum()
    inverse = (1 / share).clamp(max=cap) ** power
    return inverse / (inverse * share).sum()
