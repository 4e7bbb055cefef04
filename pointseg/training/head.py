"""The head for frozen features: which of the heads that the points allow, by cross-validation over ground held out."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor

from pointseg import metrics
from pointseg.models.frozen import HeadKind
from pointseg.training.closed_form import Linear, Moments, discriminant, shrinkage
from pointseg.training.hidden import Hidden, fit_hidden

log = logging.getLogger(__name__)

FOLDS = 5
SHRINKAGES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95)
TEMPERATURES = (1.0, 20.0)
SHARES = (0.0, 0.8)  # of the hidden layer in the mean of both heads' logits; those of the linear head are larger
HIDDEN_FROM = 100  # points; of fewer, cross-validation chose it where it was worse (benchmarks/README.md)


@dataclass(frozen=True)
class Sample:
    """Points with their features in r ways, for what needs more than sums.

    units: the piece of ground of each, which is held out as a whole.
    """

    rows: Float[Tensor, "n r f"]
    labels: Int[Tensor, "n"]
    units: Sequence[str]


@dataclass(frozen=True)
class Fitted:
    """Logits are the sum of both. report: what was chosen, and by which scores."""

    linear: Linear
    hidden: Hidden | None
    report: dict[str, Any]

    def __call__(self, features: Float[Tensor, "*n f"]) -> Float[Tensor, "*n k"]:
        logits = self.linear(features)
        return logits + self.hidden(features) if self.hidden else logits


def fit_head(
    sample: Sample,
    moments: Moments,
    class_weights: Float[Tensor, "k"],
    land_cover: Sequence[bool],
    kind: HeadKind,
    seed: int,
) -> Fitted:
    """moments: of all points, of which the sample may be a part.

    kind: "linear" and "hidden" for one of the heads, "auto" for what predicts points on ground held out best, by
    mean IoU over land cover. Where no ground can be held out, "auto" is linear, shrunken by its points alone.
    """
    folds = assign(sample.units)
    candidates = {"linear": (0.0,), "hidden": (1.0,), "auto": SHARES if len(sample.labels) >= HIDDEN_FROM else (0.0,)}[
        kind
    ]
    report: dict[str, Any] = {"points": int(moments.counts.sum()), "features": moments.sums.shape[1]}
    judged = _learnable(folds, sample.labels)
    if len(set(sample.labels[judged].tolist())) > 1:
        log.info("Choosing the head by points on ground held out in turn (%d folds) …", len(set(folds)))
        found = _of_held_out(sample, folds, class_weights, candidates, seed)
        logits = {key: values[judged] for key, values in found.items()}
        labels = sample.labels[judged]
        confusions = {key: _confusion(values, labels) for key, values in logits.items()}
        land = np.array(land_cover)
        scores = {key: float(np.nanmean(metrics.ious(c[None])[0][land])) for key, c in confusions.items()}
        # Of those that few points cannot tell apart, the one that is shrunken most, and the linear head.
        amount, share = max(scores, key=lambda key: (scores[key], key[0], -key[1]))
        temperature = _temperature(logits[amount, share], labels, class_weights)
        interval = metrics.interval(torch.from_numpy(confusions[amount, share]), land_cover)
        report |= {
            "units_held_out": len(set(sample.units)),
            "folds": len(set(folds)),
            "miou_land_cover": scores[amount, share],
            "interval": [interval[f"miou_land_cover/{end}"] for end in ("low", "high")],
            "confusion": confusions[amount, share].tolist(),
            "tried": [{"shrinkage": s, "hidden": h, "miou_land_cover": score} for (s, h), score in scores.items()],
        }
    else:
        log.info("Too few pieces of ground have points to hold one out: the head is shrunken by their number alone")
        amount, share, temperature = shrinkage(moments), float(kind == "hidden"), 1.0
    report |= {"shrinkage": amount, "hidden": share, "temperature": temperature}
    linear = discriminant(moments, amount, class_weights).times((1 - share) / temperature)
    if not share:
        return Fitted(linear, None, report)
    hidden = fit_hidden(sample.rows, sample.labels, class_weights.float(), seed)
    return Fitted(linear, hidden.times(share / temperature), report)


def _learnable(folds: Int[np.ndarray, "n"], labels: Int[Tensor, "n"]) -> Bool[Tensor, "n"]:
    """Whether a point's class has points in another fold: a head fitted without its own cannot know others."""
    folds_of = [{int(fold) for fold in folds[labels.numpy() == label]} for label in range(int(labels.max()) + 1)]
    return torch.tensor([len(folds_of[label]) > 1 for label in labels.tolist()])


def assign(units: Sequence[str]) -> Int[np.ndarray, "n"]:
    """The fold of each point: whole units, shared out so that folds have about equally many points."""
    sizes = Counter(units)
    order = sorted(sizes, key=lambda unit: (-sizes[unit], hashlib.sha256(unit.encode()).digest()))
    filled, fold_of = np.zeros(FOLDS, np.int64), {}
    for unit in order:
        fold_of[unit] = int(filled.argmin())
        filled[fold_of[unit]] += sizes[unit]
    return np.array([fold_of[unit] for unit in units], np.int64)


def _of_held_out(
    sample: Sample,
    folds: Int[np.ndarray, "n"],
    class_weights: Float[Tensor, "k"],
    shares: Sequence[float],
    seed: int,
) -> dict[tuple[float, float], Float[Tensor, "n r k"]]:
    """The logits that each (shrinkage, share) gives the points, fitted to the other folds."""
    classes = len(class_weights)
    parts = {fold: Moments.zero(classes, sample.rows.shape[2]) for fold in sorted(set(folds))}
    for fold, part in parts.items():
        held = torch.from_numpy(folds == fold)
        part.add(sample.rows[held], sample.labels[held])
    total = Moments(*(sum(column) for column in zip(*(part.parts() for part in parts.values()), strict=True)))
    amounts = SHRINKAGES if min(shares) < 1 else SHRINKAGES[:1]
    shape = (*sample.rows.shape[:2], classes)
    logits = {(amount, share): torch.empty(shape) for amount in amounts for share in shares}
    for fold, part in parts.items():
        held = torch.from_numpy(folds == fold)
        rows = sample.rows[held].float()
        bent: Tensor | float = 0.0
        if any(shares):
            bent = fit_hidden(sample.rows[~held], sample.labels[~held], class_weights.float(), seed)(rows)
        for amount in amounts:
            straight = discriminant(total.without(part), amount, class_weights)(rows)
            for share in shares:
                logits[amount, share][held] = (1 - share) * straight + share * bent
    return logits


def _confusion(logits: Float[Tensor, "n r k"], labels: Int[Tensor, "n"]) -> Int[np.ndarray, "k k"]:
    classes = logits.shape[2]
    predicted = logits.softmax(2).mean(1).argmax(1)
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes).numpy()


def _temperature(logits: Float[Tensor, "n r k"], labels: Int[Tensor, "n"], class_weights: Float[Tensor, "k"]) -> float:
    """What the logits are divided by, so that probabilities at points held out are the most likely (Guo et al. 2017).

    A head fitted to few points is surer of itself than it is right.
    """
    weights = class_weights[labels]

    def loss(logarithm: float) -> float:
        found = (logits / np.exp(logarithm)).softmax(2).mean(1).gather(1, labels[:, None])[:, 0]
        return float(-(weights * found.clamp(min=torch.finfo(torch.float32).tiny).log()).sum() / weights.sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))
