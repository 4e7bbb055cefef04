"""The head for frozen features: which of the heads that the points allow, by cross-validation over ground held out."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pointseg import metrics
from pointseg.models.frozen import HeadKind
from pointseg.training.closed_form import Linear, Moments, discriminant, shrinkage
from pointseg.training.hidden import Hidden, fit_hidden

log = logging.getLogger(__name__)

FOLDS = 5
SHRINKAGES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95)
SHARES = (0.0, 0.5, 1.0)  # of the hidden layer in the mean of both heads' logits


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
    """Logits are (1 − share) · linear + share · hidden. report: what was chosen, and by which scores."""

    linear: Linear
    hidden: Hidden | None
    share: float
    report: dict[str, Any]


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
    candidates = SHARES if kind == "auto" else (float(kind == "hidden"),)
    report: dict[str, Any] = {"points": int(moments.counts.sum()), "features": moments.sums.shape[1]}
    if len(set(folds)) > 1:
        scores, confusions = _cross_validated(sample, folds, class_weights, land_cover, candidates, seed)
        (amount, share), best = max(scores.items(), key=lambda item: item[1])
        interval = metrics.interval(torch.from_numpy(confusions[amount, share]), land_cover)
        report |= {
            "units_held_out": len(set(sample.units)),
            "folds": len(set(folds)),
            "miou_land_cover": best,
            "interval": [interval[f"miou_land_cover/{end}"] for end in ("low", "high")],
            "tried": [{"shrinkage": s, "hidden": h, "miou_land_cover": score} for (s, h), score in scores.items()],
        }
    else:
        amount, share = shrinkage(moments), 1.0 if kind == "hidden" else 0.0
    report |= {"shrinkage": amount, "hidden": share}
    linear = discriminant(moments, amount, class_weights)
    hidden = fit_hidden(sample.rows, sample.labels, class_weights.float(), seed) if share else None
    return Fitted(linear, hidden, share, report)


def assign(units: Sequence[str]) -> Int[np.ndarray, "n"]:
    """The fold of each point: whole units, shared out so that folds have about equally many points."""
    sizes = Counter(units)
    order = sorted(sizes, key=lambda unit: (-sizes[unit], hashlib.sha256(unit.encode()).digest()))
    filled, fold_of = np.zeros(FOLDS, np.int64), {}
    for unit in order:
        fold_of[unit] = int(filled.argmin())
        filled[fold_of[unit]] += sizes[unit]
    return np.array([fold_of[unit] for unit in units], np.int64)


def _cross_validated(
    sample: Sample,
    folds: Int[np.ndarray, "n"],
    class_weights: Float[Tensor, "k"],
    land_cover: Sequence[bool],
    shares: Sequence[float],
    seed: int,
) -> tuple[dict[tuple[float, float], float], dict[tuple[float, float], Int[np.ndarray, "k k"]]]:
    """The mean IoU over land cover, and the confusion, of each (shrinkage, share) at points of the folds held out."""
    classes = len(class_weights)
    parts = {}
    for fold in sorted(set(folds)):
        parts[fold] = Moments.zero(classes, sample.rows.shape[2])
        held = torch.from_numpy(folds == fold)
        parts[fold].add(sample.rows[held], sample.labels[held])
    total = Moments(*(sum(column) for column in zip(*(part.parts() for part in parts.values()), strict=True)))
    confusions: dict[tuple[float, float], np.ndarray] = {}
    for fold, part in parts.items():
        held = torch.from_numpy(folds == fold)
        rows, truth = sample.rows[held].float(), sample.labels[held]
        bent = None
        if any(shares):
            bent = fit_hidden(sample.rows[~held], sample.labels[~held], class_weights.float(), seed)(rows)
        amounts = SHRINKAGES if min(shares) < 1 else SHRINKAGES[:1]
        without = total.without(part)
        for amount in amounts:
            straight = discriminant(without, amount, class_weights)(rows)
            for share in shares:
                logits = straight if bent is None else (1 - share) * straight + share * bent
                predicted = logits.softmax(2).mean(1).argmax(1)
                counted = torch.bincount(truth * classes + predicted, minlength=classes**2).view(classes, classes)
                key = (amount, share)
                confusions[key] = confusions.get(key, 0) + counted.numpy()
    land = np.array(land_cover)
    scores = {key: float(np.nanmean(metrics.ious(found[None])[0][land])) for key, found in confusions.items()}
    return scores, confusions
