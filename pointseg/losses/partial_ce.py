"""Partial cross entropy: Σ mᵢ CEᵢ / Σ mᵢ, m the point mask (the report, section 2.1)."""

from jaxtyping import Float
from torch import Tensor, nn

from pointseg.losses.functional import cross_entropy, mean_over_points
from pointseg.models.logits import at_points
from pointseg.types import Batch


class PartialCrossEntropy(nn.Module):
    """Mean cross entropy over the labelled points."""

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        return mean_over_points(cross_entropy(at_points(logits, batch), batch.labels))
