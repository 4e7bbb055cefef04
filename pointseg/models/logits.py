"""The two ways to read a network's logits, which it gives at its own stride.

`at_points` and `upsample` agree at pixel centres: training on the points costs nothing beside the network, and what is
trained is what is predicted.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
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
    padded = pad_sequence(list(grid.split_with_sizes(counts)), batch_first=True)  # one call for all crops
    read = F.grid_sample(logits, padded[:, None], padding_mode="border", align_corners=False)[:, :, 0]
    return torch.cat([crop[:, :count] for crop, count in zip(read, counts, strict=True)], 1).T
