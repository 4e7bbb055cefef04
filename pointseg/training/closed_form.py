"""A linear head in closed form, from sums over the points: linear discriminant analysis with a shrunken covariance."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

CONSTANT = 1e-6  # of a feature's size: a deviation below it is rounding
ABSENT = -1e4  # the logit of a class without points


@dataclass
class Moments:
    """Sums over points, float64 on the CPU: those of parts of the points, in any order, add up to those of all.

    counts (k,), sums of the features (k, f), and sums of their products (f, f). A point seen in r ways counts once:
    each of its r rows counts 1 / r.
    """

    counts: Float[Tensor, "k"]
    sums: Float[Tensor, "k f"]
    products: Float[Tensor, "f f"]

    @classmethod
    def zero(cls, classes: int, features: int) -> "Moments":
        shapes = ((classes,), (classes, features), (features, features))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, rows: Float[Tensor, "n r f"], labels: Int[Tensor, "n"]) -> None:
        rows = rows.double().cpu()
        labels = labels.cpu()
        self.counts.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        self.sums.index_add_(0, labels, rows.mean(1))
        flat = rows.flatten(0, 1)
        self.products.addmm_(flat.T, flat, alpha=1 / rows.shape[1])

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.counts, self.sums, self.products

    def without(self, other: "Moments") -> "Moments":
        return Moments(*(mine - theirs for mine, theirs in zip(self.parts(), other.parts(), strict=True)))


@dataclass(frozen=True)
class Linear:
    """logits = features · weightᵀ + bias."""

    weight: Float[Tensor, "k f"]
    bias: Float[Tensor, "k"]

    def times(self, factor: float) -> "Linear":
        return Linear(self.weight * factor, self.bias * factor)

    def __call__(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n k"]:
        return features @ self.weight.to(features).T + self.bias.to(features)


def standardisation(moments: Moments) -> tuple[Float[Tensor, "f"], Float[Tensor, "f"]]:
    """The mean of each feature, and one over its deviation (0 where it is constant)."""
    n = moments.counts.sum()
    mean = moments.sums.sum(0) / n
    square = moments.products.diagonal() / n
    variance = (square - mean * mean).clamp(min=0)
    varies = variance > (CONSTANT**2) * square
    return mean, torch.where(varies, variance.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0)


def discriminant(moments: Moments, shrinkage: float, class_weights: Float[Tensor, "k"] | None = None) -> Linear:
    """Linear discriminant analysis on standardised features.

    Σ* = (1 − s) Σ + s I with Σ the common covariance within the classes; I is the covariance of standardised features
    without correlations. w_k = Σ*⁻¹ μ_k, b_k = −½ μ_kᵀ w_k + log π_k (Hastie et al. 2009, section 4.3). π_k: the
    classes' shares of the points, each point counted by the weight of its class.
    """
    mean, scale = standardisation(moments)
    counts, n = moments.counts, moments.counts.sum()
    present = counts > 0
    mu = torch.where(present[:, None], (moments.sums / counts.clamp(min=1)[:, None] - mean) * scale, 0)
    # Σᵢ (xᵢ − μ)(xᵢ − μ)ᵀ = Σᵢ xᵢ xᵢᵀ − n m mᵀ − Σ_k n_k μ_k μ_kᵀ, the last with μ_k from m
    total = (moments.products - n * mean[:, None] * mean) * scale[:, None] * scale
    within = (total - (mu * counts[:, None]).T @ mu) / n
    within.mul_(1 - shrinkage).diagonal().add_(shrinkage)
    weight = torch.linalg.solve(within, mu.T).T
    shares = counts if class_weights is None else counts * class_weights.double().cpu()
    prior = (shares / shares.sum()).clamp(min=torch.finfo(torch.float64).tiny).log()
    bias = torch.where(present, prior - (mu * weight).sum(1) / 2, ABSENT)
    weight = weight * scale
    return Linear(weight.float(), (bias - weight @ mean).float())


def shrinkage(moments: Moments) -> float:
    """How far to shrink where nothing can be held out to choose it by: the root of the oracle approximating shrinkage.

    Chen et al. 2010, equation 23. That is for the ground the points lie on; more is better for other ground, as was
    found on the aerial dataset.
    """
    _, scale = standardisation(moments)
    n, p = float(moments.counts.sum()), int((scale > 0).sum())
    counts = moments.counts.clamp(min=1)[:, None]
    products = moments.products - moments.sums.T @ (moments.sums / counts)
    within = products * scale[:, None] * scale / n
    trace, square = float(within.trace()), float((within * within).sum())
    below = (n + 1 - 2 / max(p, 1)) * (square - trace * trace / max(p, 1))
    found = ((1 - 2 / max(p, 1)) * square + trace * trace) / below if below > 0 else 1.0
    return math.sqrt(min(max(found, 0.0), 1.0))
