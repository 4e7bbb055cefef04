"""The mathematics of the losses: pure functions, and the two ways to read a network's logits.

`at_points` and `upsample` agree at pixel centres: to train on the points costs nothing beside the
network, and what is trained is what is predicted.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pointseg.types import Batch, Shape


def upsample(logits: Float[Tensor, "b k h w"], shape: Shape) -> Float[Tensor, "b k height width"]:
    """Logits at the network's stride → logits at every pixel (bilinear between cell centres)."""
    return F.interpolate(logits, shape, mode="bilinear", align_corners=False)


def at_points(logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, "n k"]:
    """The logits at the batch's points, without upsampling the rest (PointRend, `point_sample`).

    Equals `upsample` read at the points: bilinear between the four nearest cells, those beyond the
    map's border clamped to it. One `embedding_bag` gathers and weighs the four; float32 at least,
    because bf16 cannot hold a position beyond 256 pixels.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    (_, k, h, w), (height, width) = logits.shape, batch.images.shape[2:]
    tile, row, col = batch.points.to(logits.dtype).unbind(1)
    y = ((row + 0.5) * (h / height) - 0.5).clamp(0, h - 1)
    x = ((col + 0.5) * (w / width) - 0.5).clamp(0, w - 1)
    top, left = y.floor(), x.floor()
    down, right = y - top, x - left
    corners = [(top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)]
    cells = torch.stack(
        [(tile.long() * h + r.long().clamp(max=h - 1)) * w + c.long().clamp(max=w - 1) for r, c in corners], 1
    )
    weights = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], 1)
    table = logits.permute(0, 2, 3, 1).reshape(-1, k)
    return F.embedding_bag(cells, table, mode="sum", per_sample_weights=weights)


def mean_over_points(losses: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """The mean, and for no points zero with a gradient (a plain mean would be NaN: pytorch #70348)."""
    return losses.sum() / max(len(losses), 1)


def cross_entropy(logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"]) -> Float[Tensor, "n"]:
    """−log p_t at each point."""
    return F.cross_entropy(logits, labels, reduction="none")


def focal(logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"], alpha: float, gamma: float) -> Float[Tensor, "n"]:
    """−α (1 − p_t)^γ log p_t at each point, p_t the softmax probability of its label.

    Lin et al. 2017, equation 5, with the softmax of a multi-class problem in place of the sigmoid.
    """
    nll = cross_entropy(logits, labels)
    # −expm1(−nll) is 1 − p_t without cancellation where p_t is close to 1. At 1 − p_t = 0 the power's
    # gradient is infinite for γ < 1, and its product with nll = 0 would be NaN.
    missing = (-torch.expm1(-nll)).clamp(min=torch.finfo(nll.dtype).tiny)
    return alpha * missing**gamma * nll
