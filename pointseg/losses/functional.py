"""The mathematics of the losses: pure functions, and the two ways to read a network's logits.

`at_points` and `upsample` agree at pixel centres: to train on the points costs nothing beside the
network, and what is trained is what is predicted.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pointseg.types import Batch, Shape


def upsample(logits: Float[Tensor, "b k h w"], shape: Shape) -> Float[Tensor, "b k height width"]:
    """Logits at the network's stride → logits at every pixel (bilinear between cell centres)."""
    return F.interpolate(logits, shape, mode="bilinear", align_corners=False)


def at_points(logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, "n k"]:
    """The logits at the batch's points, without upsampling the rest (PointRend, `point_sample`).

    Equals `upsample` read at the points, those beyond the outer cells' centres clamped to them. float32 at least,
    because bf16 cannot hold a position beyond 256 pixels.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    counts = torch.bincount(batch.points[:, 0].long(), minlength=len(logits)).tolist()
    height, width = batch.images.shape[2:]
    # From (row, col) of pixels to grid_sample's (x, y), where −1 and 1 are the outer edges.
    row, col = batch.points[:, 1:].to(logits.dtype).unbind(1)
    grid = torch.stack([(2 * col + 1) / width - 1, (2 * row + 1) / height - 1], 1)
    padded = pad_sequence(list(grid.split_with_sizes(counts)), batch_first=True)  # one call for all tiles
    read = F.grid_sample(logits, padded[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return torch.cat([tile[:, :count] for tile, count in zip(read, counts, strict=True)], 1).T


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
