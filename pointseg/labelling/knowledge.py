"""What is known of the labelled points: their features, the sums over them, and the heads that follow from these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pointseg import metrics
from pointseg.labelling.features import Imagery
from pointseg.labelling.records import Pixel
from pointseg.models.encoders import Level
from pointseg.models.frozen import Head, set_layer
from pointseg.training.closed_form import Linear, Moments, discriminant, shrinkage
from pointseg.training.frozen import blocks
from pointseg.training.head import FOLDS, Sample, fit_head

JUDGED = 2000  # rows of features that are cross-validated: with few points under several symmetries


@dataclass(frozen=True)
class Fit:
    """A head, of the classes `names` that have points. number: counts the fits, 0 for none.

    head: None where fewer than two classes have points.
    """

    number: int
    names: tuple[str, ...]
    linear: Linear | None
    head: Head | None

    @classmethod
    def of(cls, number: int, names: Sequence[str], linear: Linear, levels: Sequence[Level]) -> "Fit":
        head = Head(levels, len(names)).eval().requires_grad_(False)
        set_layer(head.linear, linear.weight, linear.bias)
        return cls(number, tuple(names), linear, head)


NOTHING = Fit(0, (), None, None)


@dataclass(frozen=True)
class Quality:
    """The head's scores at points on ground held out in turn. shares: of points; [low, high]: 95 % intervals.

    points: how many were judged. amount, temperature: what the scores chose.
    """

    points: int
    accuracy: tuple[float, float, float]
    miou: tuple[float, float, float]
    iou: Mapping[str, float]
    amount: float
    temperature: float


class Knowledge:
    """Features of labelled pixels under r ways each, and the sum of their products, kept up to date."""

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = levels
        self.width = sum(level.channels for level in levels)
        self.rows: dict[Pixel, Float[Tensor, "r f"]] = {}
        self.means: dict[Pixel, Float[Tensor, f]] = {}
        self.products = torch.zeros(self.width, self.width, dtype=torch.float64)
        self.amount: float | None = None  # of shrinkage; None: by the number of points alone
        self.temperature = 1.0

    def learn(self, pixel: Pixel, rows: Float[Tensor, "r f"]) -> None:
        self.forget(pixel)
        self.rows[pixel] = rows.clone()
        self.means[pixel] = rows.double().mean(0)
        self._count(rows, 1)

    def forget(self, pixel: Pixel) -> None:
        rows = self.rows.pop(pixel, None)
        if rows is not None:
            del self.means[pixel]
            self._count(rows, -1)

    def _count(self, rows: Float[Tensor, "r f"], sign: int) -> None:
        rows = rows.double()
        self.products.addmm_(rows.T, rows, alpha=sign / len(rows))

    def fit(self, number: int, labelled: Mapping[Pixel, str], order: Sequence[str]) -> Fit:
        """The head of those labelled pixels whose features are known, of the classes that have some, in that order."""
        known = {pixel: name for pixel, name in labelled.items() if pixel in self.rows}
        names = [name for name in order if name in set(known.values())]
        if len(names) < 2:
            return Fit(number, tuple(names), None, None)
        moments = self._moments(known, names)
        amount = shrinkage(moments) if self.amount is None else self.amount
        linear = discriminant(moments, amount).times(1 / self.temperature)
        return Fit.of(number, names, linear, self.levels)

    def _moments(self, known: Mapping[Pixel, str], names: Sequence[str]) -> Moments:
        labels = torch.tensor([names.index(name) for name in known.values()])
        means = torch.stack([self.means[pixel] for pixel in known])
        sums = torch.zeros(len(names), self.width, dtype=torch.float64).index_add_(0, labels, means)
        return Moments(torch.bincount(labels, minlength=len(names)).double(), sums, self.products.clone())

    def sample(self, labelled: Mapping[Pixel, str], scenes: Sequence[Imagery]) -> tuple[Sample, list[str]]:
        """The known points for cross-validation, with the pieces of ground that are held out, and their classes."""
        known = [pixel for pixel in labelled if pixel in self.rows]
        names = sorted({labelled[pixel] for pixel in known})
        ways = min(*(len(self.rows[pixel]) for pixel in known), max(JUDGED // len(known), 1))
        rows = torch.stack([self.rows[pixel][:ways] for pixel in known]).half()
        ids = [scenes[pixel.scene].id for pixel in known]
        units = ids
        if len(set(ids)) < FOLDS:
            units = blocks(ids, [scenes[pixel.scene].shape for pixel in known], [pixel[1:] for pixel in known])
        return Sample(rows, torch.tensor([names.index(labelled[pixel]) for pixel in known]), units), names


def judge(sample: Sample, names: Sequence[str]) -> Quality | None:
    """By cross-validation over ground held out; None where too few pieces of ground have points of a class."""
    moments = Moments.zero(len(names), sample.rows.shape[2])
    moments.add(sample.rows, sample.labels)
    land = [True] * len(names)
    report = fit_head(sample, moments, torch.ones(len(names)), land, "linear", seed=0).report
    if "confusion" not in report:
        return None
    confusion: Int[Tensor, "k k"] = torch.tensor(report["confusion"])
    ends = metrics.interval(confusion, land)
    iou = metrics.ious(confusion[None].numpy())[0]
    return Quality(
        int(confusion.sum()),
        (float(confusion.diag().sum() / confusion.sum()), ends["accuracy/low"], ends["accuracy/high"]),
        (report["miou_land_cover"], ends["miou_all_classes/low"], ends["miou_all_classes/high"]),
        dict(zip(names, iou.tolist(), strict=True)),
        report["shrinkage"],
        report["temperature"],
    )
