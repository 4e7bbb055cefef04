"""Scores of a segmentation, all from one confusion matrix pooled over scenes.

Pooled first, because classes are absent from many scenes and a mean of per-scene IoUs misleads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.stats import beta
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassCohenKappa, MulticlassConfusionMatrix, MulticlassJaccardIndex

from pointseg.types import IGNORE

TAIL = 0.025  # of a 95 % interval, on either side


def collection(classes: int) -> MetricCollection:
    """torchmetrics that share one (truth, prediction) confusion matrix, summed over processes.

    Pixels whose truth is IGNORE do not count.
    """
    metrics: dict[str, Metric | MetricCollection] = {
        "confusion": MulticlassConfusionMatrix(classes, ignore_index=IGNORE, validate_args=False),
        "iou": MulticlassJaccardIndex(classes, average="none", ignore_index=IGNORE, validate_args=False),
        "kappa": MulticlassCohenKappa(classes, ignore_index=IGNORE, validate_args=False),
    }
    return MetricCollection(metrics, compute_groups=[list(metrics)])


def scores(computed: dict[str, Any], classes: Sequence[str], land_cover: Sequence[bool]) -> dict[str, float]:
    """The computed `collection` as named numbers in [0, 1] (kappa in [-1, 1]).

    miou_all_classes is the mean over every class, miou_land_cover over those that are land cover; both
    over the classes that occur in truth or prediction, as one that occurs in neither has no IoU (NaN).
    """
    confusion: Int[Tensor, "k k"] = computed["confusion"]
    occurs = confusion.sum(0) + confusion.sum(1) > 0
    iou = torch.where(occurs, computed["iou"], torch.nan)
    f1 = 2 * iou / (1 + iou)
    land = torch.tensor(land_cover, device=iou.device)
    means = {
        "accuracy": confusion.diag().sum() / confusion.sum(),
        "miou_all_classes": iou.nanmean(),
        "miou_land_cover": iou[land].nanmean(),
        "f1_all_classes": f1.nanmean(),
        "f1_land_cover": f1[land].nanmean(),
        "kappa": computed["kappa"],
    }
    return (
        {name: float(value) for name, value in means.items()}
        | _per_class("iou", iou, classes)
        | _per_class("f1", f1, classes)
    )


def _per_class(name: str, values: Float[Tensor, "k"], classes: Sequence[str]) -> dict[str, float]:
    return {f"{name}/{label}": float(value) for label, value in zip(classes, values, strict=True)}


def ends(name: str) -> tuple[str, str]:
    """What the ends of a score's interval are called: accuracy/low, accuracy/high; of a class iou_low/Water, …"""
    stem, slash, label = name.partition("/")
    low, high = (f"{stem}_{end}/{label}" if slash else f"{stem}/{end}" for end in ("low", "high"))
    return low, high


def interval(
    confusion: Int[Tensor, "k k"], land_cover: Sequence[bool], draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """The `ends` of 95 % intervals of the accuracy, the means and kappa.

    The accuracy is a share of the points (see `share_interval`). The others are taken for shares of as many points as
    would give the variance that they have among confusion matrices drawn anew (Efron 1979); kappa, in [-1, 1], by
    its place in this range. Matrices are drawn with one imagined point of each class besides, its prediction spread
    evenly over the classes: otherwise points that are all right would leave no doubt.

    Points are taken as independent: where they cluster, the truth is wider.
    """
    counts = confusion.double().cpu().numpy()[None]
    total = int(counts.sum())
    likely = counts + _imagined(counts[0])
    drawn = np.random.default_rng(seed).multinomial(total, (likely / likely.sum()).ravel(), draws)
    values, middles, spreads = (
        _means(part, land_cover) for part in (counts, likely, drawn.reshape(-1, *likely[0].shape))
    )
    found = {"accuracy": share_interval(np.trace(counts[0]) / total, total)}
    for name, value in values.items():
        middle, variance = middles[name][0], np.nanvar(spreads[name])
        with np.errstate(divide="ignore", invalid="ignore"):
            found[name] = share_interval(value[0], middle * (1 - middle) / variance)
    found["kappa"] = tuple(2 * end - 1 for end in found["kappa"])
    return _by_end(found)


def class_intervals(confusion: Int[Tensor, "k k"], classes: Sequence[str]) -> dict[str, float]:
    """The `ends` of 95 % intervals of each class's IoU and F1, for those that occur.

    An IoU is the share of hits among the points whose truth or prediction is the class (see `share_interval`); F1
    grows with it.
    """
    counts = confusion.double().cpu().numpy()
    hits = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hits
    there = {label: i for i, label in enumerate(classes) if union[i]}
    iou = {label: share_interval(hits[i] / union[i], union[i]) for label, i in there.items()}
    f1 = {f"f1/{label}": tuple(2 * end / (1 + end) for end in pair) for label, pair in iou.items()}
    return _by_end({f"iou/{label}": pair for label, pair in iou.items()} | f1)


def share_interval(value: Any, size: Any) -> tuple[Any, Any]:
    """The 95 % interval of a share among so many independent points (Clopper and Pearson 1934; numbers or arrays).

    size: need not be whole; of infinitely many, or 0 / 0 (nothing in doubt), the share itself is known. NaN has none.
    """
    hits, misses = size * value, size * (1 - value)
    with np.errstate(invalid="ignore"):
        low = np.where(value > 0, beta.ppf(TAIL, hits, misses + 1), 0.0)
        high = np.where(value < 1, beta.ppf(1 - TAIL, hits + 1, misses), 1.0)
    known = ~np.isfinite(size) | np.isnan(value)
    return np.where(known, value, low), np.where(known, value, high)


def _by_end(intervals: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    return {
        end: float(number) for name, pair in intervals.items() for end, number in zip(ends(name), pair, strict=True)
    }


def _imagined(counts: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    """A point of each class that occurs, or of all if only one does, its prediction spread evenly over them."""
    occurs = counts.sum(0) + counts.sum(1) > 0
    occurs = occurs if occurs.sum() > 1 else np.ones_like(occurs)
    return np.asarray(np.outer(occurs, occurs) / occurs.sum())


def _means(confusions: Shaped[np.ndarray, "n k k"], land_cover: Sequence[bool]) -> dict[str, Float[np.ndarray, "n"]]:
    """Of each matrix the scores but the accuracy; kappa as (1 + kappa) / 2, a number in [0, 1]."""
    iou = ious(confusions)
    parts = {"all_classes": iou, "land_cover": iou[:, np.array(land_cover)]}
    means = {f"miou_{key}": _mean(part) for key, part in parts.items()}
    means |= {f"f1_{key}": _mean(2 * part / (1 + part)) for key, part in parts.items()}
    total = confusions.sum((1, 2))
    agreed = np.einsum("nkk->n", confusions) / total
    chance = (confusions.sum(1) * confusions.sum(2)).sum(1) / total**2
    kappa = np.where(chance < 1, (agreed - chance) / np.where(chance < 1, 1 - chance, 1), np.nan)
    return means | {"kappa": (1 + kappa) / 2}


def _mean(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """Over those that are there; NaN where none is."""
    there = np.isfinite(values)
    count = there.sum(1)
    return np.where(count > 0, np.where(there, values, 0).sum(1) / np.maximum(count, 1), np.nan)


def ious(confusion: Shaped[np.ndarray, "n k k"]) -> Float[np.ndarray, "n k"]:
    """The IoU of each class by each of n confusion matrices; NaN where it is in neither truth nor prediction."""
    hits = np.einsum("nkk->nk", confusion)
    union = confusion.sum(1) + confusion.sum(2) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def table(values: dict[str, float], classes: Sequence[str], land_cover: Sequence[bool]) -> str:
    """The scores as lines of text, for a terminal; with their 95 % intervals where they have them."""

    def line(what: str, key: str, none: str = "it occurs in neither truth nor prediction") -> str:
        if np.isnan(values[key]):
            return f"  {what:<36}none: {none}"
        low, high = (values.get(end, np.nan) for end in ends(key))
        return f"  {what:<36}{values[key]:.3f}" + ("" if np.isnan(low) else f"  (95 %: {low:.3f} to {high:.3f})")

    counted = {"all_classes": f"all {len(classes)} classes", "land_cover": f"{sum(land_cover)} land-cover classes"}
    lines = [line("accuracy", "accuracy")]
    lines += [line(f"mean IoU over {what}", f"miou_{key}") for key, what in counted.items()]
    lines.append(line(f"mean F1 over {counted['all_classes']}", "f1_all_classes"))
    lines.append(line("kappa", "kappa", "truth and prediction are of one class"))
    lines += [line(f"IoU {label}", f"iou/{label}") for label in classes]
    return "\n".join(lines)
