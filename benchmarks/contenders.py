"""What the benchmark `alternatives` compares: each is fitted to labelled pixels and gives those of any other pixels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import RandomForestClassifier

from benchmarks.pixels import Pixels
from pointseg import metrics
from pointseg.models.frozen import Frozen
from pointseg.training import head
from pointseg.training.closed_form import Moments

BOTH = ("both, linear head", "both, `head=auto`")
FLIPS = [0, 1, 4, 5]  # of the symmetries, those that flips=true averages over

Predict = Callable[[Pixels], Float[np.ndarray, "n k"]]


def forest(part: str, points: Pixels, classes: int, units: Sequence[str], seed: int) -> Predict:
    model = RandomForestClassifier(200, random_state=seed, n_jobs=-1)
    model.fit(getattr(points, part), points.labels)

    def predict(pixels: Pixels) -> np.ndarray:
        found = np.zeros((len(pixels.labels), classes))
        found[:, model.classes_] = model.predict_proba(getattr(pixels, part))
        return found

    return predict


def fitted(
    chosen: slice, kind: Any, power: float, points: Pixels, classes: int, units: Sequence[str], seed: int
) -> Predict:
    """A head of model=frozen. power: of the inverse frequency by which classes are weighted."""
    ways = min(max(240_000 // len(points.labels), 1), 8)
    rows, labels = points.features[:, :ways, chosen], torch.from_numpy(points.labels)
    moments = Moments.zero(classes, rows.shape[2])
    for part in torch.arange(len(labels)).split(4096):
        moments.add(rows[part], labels[part])
    kept = max(min(60_000 // len(labels), ways), 1)
    some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:60_000]
    sample = head.Sample(rows[some, :kept], labels[some], [units[i] for i in some.tolist()])
    counts = moments.counts.clamp(min=1)
    weights = (counts.sum() / counts).clamp(max=100) ** power
    land = [True] * min(classes, 5) + [False] * max(classes - 5, 0) if classes == 6 else [True] * classes
    found = head.fit_head(sample, moments, weights.float(), land, kind, seed)

    def predict(pixels: Pixels) -> np.ndarray:
        total = 0
        for way in FLIPS:
            total = total + found(pixels.features[:, way, chosen].float()).softmax(1)
        return (total / len(FLIPS)).numpy()

    return predict


def contenders(network: Frozen, power: float) -> dict[str, Any]:
    """power: of the inverse frequency by which the heads weight the classes."""
    filters = slice(0, sum(level.channels for level in network.filters.levels))
    encoder, everything = slice(filters.stop, None), slice(None)
    return {
        "random forest, pixel values": partial(forest, "values"),
        "random forest, scikit-image's features": partial(forest, "classic"),
        "random forest, SLIC objects": partial(forest, "objects"),
        "filters, linear head": partial(fitted, filters, "linear", power),
        "filters, `head=auto`": partial(fitted, filters, "auto", power),
        "encoder, linear head": partial(fitted, encoder, "linear", power),
        BOTH[0]: partial(fitted, everything, "linear", power),
        BOTH[1]: partial(fitted, everything, "auto", power),
    }


def miou(predicted: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Over land cover: the first five classes of the aerial dataset, all of other sets."""
    counted = np.bincount(labels * classes + predicted.argmax(1), minlength=classes**2).reshape(1, classes, classes)
    found = metrics.ious(counted)[0]
    return float(np.nanmean(found[:5] if classes == 6 else found))
