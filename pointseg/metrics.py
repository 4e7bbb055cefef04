"""Scores of a segmentation, all from one confusion matrix pooled over scenes.

Pooled first, because classes are absent from many scenes and a mean of per-scene IoUs misleads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassCohenKappa, MulticlassConfusionMatrix, MulticlassJaccardIndex

from pointseg.types import IGNORE


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


def interval(
    confusion: Int[Tensor, "k k"], land_cover: Sequence[bool], draws: int = 1000, seed: int = 0
) -> dict[str, float]:
    """The ends of 95 % bootstrap intervals (percentile method, Efron 1979): accuracy/low, accuracy/high, ….

    Points drawn anew with replacement are cells of the confusion matrix drawn anew, so that matrix is
    all that is needed. Points are taken as independent: where they cluster, the truth is wider.
    """
    rng = np.random.default_rng(seed)
    total, k = int(confusion.sum()), len(confusion)
    cells = confusion.flatten().double().cpu().numpy()
    drawn = rng.multinomial(total, cells / cells.sum(), draws).reshape(draws, k, k)
    iou = ious(drawn)
    values = {
        "accuracy": np.trace(drawn, axis1=1, axis2=2) / total,
        "miou_all_classes": np.nanmean(iou, 1),
        "miou_land_cover": np.nanmean(iou[:, np.array(land_cover)], 1),
    }
    ends = {name: np.nanpercentile(value, (2.5, 97.5)) for name, value in values.items()}
    return {f"{name}/{end}": float(ends[name][i]) for name in ends for i, end in enumerate(("low", "high"))}


def ious(confusion: Shaped[np.ndarray, "n k k"]) -> Float[np.ndarray, "n k"]:
    """The IoU of each class by each of n confusion matrices; NaN where it is in neither truth nor prediction."""
    hits = np.einsum("nkk->nk", confusion)
    union = confusion.sum(1) + confusion.sum(2) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def table(values: dict[str, float], classes: Sequence[str], land_cover: Sequence[bool]) -> str:
    """The scores as lines of text, for a terminal; with their 95 % intervals where they have them."""

    def line(what: str, key: str) -> str:
        ends = [values[f"{key}/{end}"] for end in ("low", "high") if f"{key}/{end}" in values]
        if np.isnan(values[key]):
            return f"  {what:<36}none: it occurs in neither truth nor prediction"
        return f"  {what:<36}{values[key]:.3f}" + (f"  (95 %: {ends[0]:.3f} to {ends[1]:.3f})" if ends else "")

    counted = {"all_classes": f"all {len(classes)} classes", "land_cover": f"{sum(land_cover)} land-cover classes"}
    lines = [line("accuracy", "accuracy")]
    lines += [line(f"mean IoU over {what}", f"miou_{key}") for key, what in counted.items()]
    lines.append(f"  {'mean F1 over ' + counted['all_classes']:<36}{values['f1_all_classes']:.3f}")
    lines.append(f"  {'kappa':<36}{values['kappa']:.3f}")
    lines += [line(f"IoU {label}", f"iou/{label}") for label in classes]
    return "\n".join(lines)
