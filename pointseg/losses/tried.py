"""Methods beside the balanced partial cross entropy, tried at few points (conf/experiment/methods.yaml)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pointseg.losses.balanced_partial_ce import BalancedPartialCrossEntropy
from pointseg.losses.functional import at_points, cross_entropy, mean_over_points
from pointseg.losses.partial_ce import PartialCrossEntropy
from pointseg.types import Batch

FIRST = 100  # steps, a third of a run, before a method starts; then its weight grows over as many


class Method(BalancedPartialCrossEntropy):
    """The balanced partial cross entropy, plus `weight` times `extra` of the low-resolution logits in training."""

    def __init__(self, counts: Sequence[int], cap: float, power: float, weight: float) -> None:
        super().__init__(counts, cap, power)
        self.weight = weight
        self.steps = 0

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        loss = super().forward(logits, batch)
        if not torch.is_grad_enabled() or not batch.images.shape[1]:  # an evaluation
            return loss
        self.steps += 1
        ramp = min(max(self.steps - FIRST, 0) / FIRST, 1)
        return loss + ramp * self.weight * self.extra(logits.float(), batch) if ramp else loss

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        raise NotImplementedError


class Entropy(Method):
    """Mean entropy of the predictions."""

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        return -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()


class GatedCRF(Method):
    """Potts energy within a window of 11×11 cells (Obukhov et al., arXiv 1906.04651)."""

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        radius, (height, width) = 5, logits.shape[2:]
        rgb = F.adaptive_avg_pool2d(batch.images.float() / 255, (height, width))
        probabilities = logits.softmax(1)
        colours, near = (
            F.unfold(F.pad(x, [radius] * 4), 2 * radius + 1).view(*x.shape[:2], -1, height, width)
            for x in (rgb, probabilities)
        )
        inside = F.unfold(F.pad(torch.ones_like(rgb[:, :1]), [radius] * 4), 2 * radius + 1).view(
            len(rgb), -1, height, width
        )
        steps = torch.arange(-radius, radius + 1.0)
        distance = (steps[:, None] ** 2 + steps**2).flatten()[None, :, None, None] / 6**2
        kernel = torch.exp(-0.5 * (distance + ((colours - rgb[:, :, None]) ** 2).sum(1) / 0.1**2)) * inside
        kernel[:, len(steps) ** 2 // 2] = 0
        alike = (near * probabilities[:, :, None]).sum(1)
        return (kernel * (1 - alike)).sum((1, 2, 3)).mean() / (height * width)


class Growing(Method):
    """Labels grow from the points to cells of the same prediction with p > 0.95 (CRGNet)."""

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        classes, (height, width) = logits.shape[1], logits.shape[2:]
        top = logits.detach().softmax(1).max(1)
        free = F.one_hot(top.indices, classes).permute(0, 3, 1, 2).bool() & (top.values > 0.95)[:, None]
        scale = torch.tensor([height / batch.images.shape[2], width / batch.images.shape[3]])
        tile, row, col = torch.cat([batch.points[:, :1], batch.points[:, 1:] * scale], 1).long().unbind(1)
        seeds = torch.zeros_like(free)
        seeds[tile, batch.labels, row.clamp(max=height - 1), col.clamp(max=width - 1)] = True
        grown = seeds
        for _ in range(8):
            grown = grown | (F.max_pool2d(grown.float(), 3, 1, 1).bool() & free)
        new = (grown & ~seeds).float()
        return -(new * logits.log_softmax(1)).sum() / new.sum().clamp(min=1)


class Prototypes(Method):
    """Features at the points are drawn to the mean feature of their class (an average over steps), by cosine / 0.1."""

    features: Tensor  # before the last layer: set by the system

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        features = F.normalize(at_points(self.features, batch))
        present = F.one_hot(batch.labels, logits.shape[1]).float()
        means = present.T @ features.detach() / present.sum(0)[:, None].clamp(min=1)
        if not hasattr(self, "means"):
            self.means = means
        self.means = torch.where(present.sum(0)[:, None] > 0, 0.9 * self.means + 0.1 * means, self.means)
        return mean_over_points(cross_entropy(features @ F.normalize(self.means).T / 0.1, batch.labels))


class Teacher(Method):
    """Cross entropy to the labels that a slow copy of the network gives the tiles before their colours are changed.

    Where its confidence passes 0.9, less for classes of which it is less sure on average.
    """

    guess: Float[Tensor, "b k h w"]  # probabilities: set by the system

    def extra(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        top = self.guess.max(1)
        sure = torch.stack([top.values[top.indices == k].mean().nan_to_num() for k in range(logits.shape[1])])
        self.sure = 0.9 * getattr(self, "sure", sure) + 0.1 * sure
        taken = (top.values > 0.9 * (self.sure / self.sure.max())[top.indices]).float()
        return (taken * F.cross_entropy(logits, top.indices, reduction="none")).sum() / taken.sum().clamp(min=1)


class LogitAdjusted(PartialCrossEntropy):
    """Cross entropy of logits + log of the points' class shares (Menon et al., arXiv 2007.07314)."""

    def __init__(self, counts: Sequence[int]) -> None:
        super().__init__()
        self.prior = (torch.tensor(counts).clamp(min=0.5) / sum(counts)).log()[:, None, None]

    def forward(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]:
        return super().forward(logits + self.prior, batch)
