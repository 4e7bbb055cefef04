"""The mathematics of the losses, as pure functions of logits and labels at n points."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def mean_over_points(losses: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The mean, and for no points zero with a gradient (a plain mean would be NaN: pytorch #70348)."""
    return losses.sum() / max(len(losses), 1)


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """−log p_t at each point."""
    # Points as torch takes pixels, in its last axis: four times faster for few classes.
    return F.cross_entropy(logits.T[None], labels[None], reduction="none")[0]


def focal(logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"], alpha: float, gamma: float) -> Float[Tensor, "n"]:
    """−α (1 − p_t)^γ log p_t at each point, p_t the softmax probability of its label.

    Lin et al. 2017, equation 5, with the softmax of a multi-class problem in place of the sigmoid.
    """
    nll = cross_entropy(logits, labels)
    # −expm1(−nll) is 1 − p_t without cancellation where p_t is close to 1. At 1 − p_t = 0 the power's
    # gradient is infinite for γ < 1, and its product with nll = 0 would be NaN.
    missing = (-torch.expm1(-nll)).clamp(min=torch.finfo(nll.dtype).tiny)
    return alpha * missing**gamma * nll
