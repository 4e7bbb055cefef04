"""Partial focal loss (Lin et al. 2017, in its softmax form): easy points weigh less."""

from jaxtyping import Float
from torch import Tensor, nn

from pointseg.losses.functional import focal, mean_over_points
from pointseg.models.logits import at_points
from pointseg.types import Batch


class Focal(nn.Module):
    """Mean of −α (1 − p_t)^γ log p_t over the labelled points.

    alpha scales the whole loss (all classes alike), gamma = 0 and alpha = 1 is cross entropy.
    """

    def __init__(self, alpha: float, gamma: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        return mean_over_points(focal(at_points(logits, batch), batch.labels, self.alpha, self.gamma))
