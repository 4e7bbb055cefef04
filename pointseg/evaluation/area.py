"""The area of each class and the accuracy of a map, estimated from a probability sample of its pixels.

Pixels are drawn at random from each stratum, a part of the map. Every figure is then a ratio of two totals over the
map, for instance the area where map and truth are water over the area where the truth is water (Stehman 2014,
International Journal of Remote Sensing 35: 4923 to 4939). Where the strata are the map's classes, the same formulas
give the estimates of Olofsson et al. 2014 (Remote Sensing of Environment 148: 42 to 57), equations 1 to 11.

Values and standard errors are those of the papers. Their intervals, 1.96 errors to either side, are too short where a
stratum has shown few mistakes or none, as its variance is then estimated as next to nothing (docs/accuracy.md has
how often). So intervals are those of a binomial proportion (Clopper and Pearson 1934) of as many independent pixels as
would give the same variance (Korn and Graubard 1998, Survey Methodology 24: 193 to 201). That variance has one imagined
pixel added to each stratum, mapped as those that were drawn from it, its truth spread evenly over the classes (in the
spirit of Agresti and Coull 1998), and so is never nothing. Of 20 pixels that are all right, the interval is that of 20
independent trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pointseg.metrics import share_interval

Classes = Int[np.ndarray, "n"]
Pair = tuple[Float[np.ndarray, "_n m"], Float[np.ndarray, "_n m"]]
"""What m ratios have above and below the line, at each pixel and per unit of area."""


@dataclass(frozen=True)
class Estimate:
    """m figures, their standard errors, and their 95 % intervals; NaN where the sample says nothing (0 / 0)."""

    value: Float[np.ndarray, "m"]
    error: Float[np.ndarray, "m"]
    low: Float[np.ndarray, "m"]
    high: Float[np.ndarray, "m"]

    def times(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.error * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True)
class Sample:
    """n pixels, drawn from h strata at random without replacement.

    strata: that of each pixel, 0..h-1; every stratum has two pixels at least, or all it holds.
    pixels, areas: of each whole stratum, in pixels and in any unit of area.
    sizes: the area of each sampled pixel, in that unit.
    """

    strata: Classes
    pixels: Float[np.ndarray, "h"]
    areas: Float[np.ndarray, "h"]
    sizes: Float[np.ndarray, "n"]

    def total(self, values: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "m"]:
        """Over the map, of values of each pixel per unit of area."""
        members = self._members()
        return np.asarray(self.areas @ (members @ (values * self._scale()) / members.sum(1, keepdims=True)))

    def ratio(self, real: Pair, imagined: Pair) -> Estimate:
        """imagined: k possible truths of each pixel, those of the first pixel first. Above the line, values are between
        0 and those below it, so that the ratio is a share.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            value, variance = self._ratio([real])
            likely, doubt = self._ratio([real, imagined])
            return Estimate(value, np.sqrt(variance), *share_interval(value, likely * (1 - likely) / doubt))

    def _ratio(self, pairs: Sequence[Pair]) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
        """Ratios and their variances, strata apart, with the correction for finite strata.

        pairs: of the pixels, and perhaps of imagined ones, which weigh as much as one pixel in each stratum.
        """
        members = self._members()
        counts = members.sum(1, keepdims=True)
        weights, scales = [members], [self._scale()]
        for above, _ in pairs[1:]:
            each = len(above) // len(self.strata)
            weights.append(members.repeat(each, 1) / (counts * each))
            scales.append(self._scale().repeat(each, 0))
        weight, scale = np.concatenate(weights, 1), np.concatenate(scales)
        sizes = weight.sum(1, keepdims=True)
        means = weight / sizes
        above, below = (scale * np.concatenate(part) for part in zip(*pairs, strict=True))
        total = self.areas @ (means @ below)
        value = self.areas @ (means @ above) / total
        off = above - value * below
        spread = (means @ off**2 - (means @ off) ** 2).clip(0) / np.maximum(sizes - 1, 1)
        unseen = 1 - counts / self.pixels[:, None]
        return np.asarray(value), np.asarray(((self.areas[:, None] ** 2) * unseen * spread).sum(0) / total**2)

    def _members(self) -> Float[np.ndarray, "h n"]:
        return np.asarray(np.arange(len(self.pixels))[:, None] == self.strata, float)

    def _scale(self) -> Float[np.ndarray, "n 1"]:
        """Of each pixel, its area over its stratum's mean."""
        return np.asarray(self.sizes / (self.areas / self.pixels)[self.strata])[:, None]


@dataclass(frozen=True)
class Assessment:
    """Of k classes: shares of the whole area, user's and producer's accuracy and F1 of each, in [0, 1].

    overall: one figure, the overall accuracy. matrix: shares of the whole area, mapped class × true class.
    """

    shares: Estimate
    users: Estimate
    producers: Estimate
    f1: Estimate
    overall: Estimate
    matrix: Float[np.ndarray, "k k"]


def assess(sample: Sample, mapped: Classes, truth: Classes, classes: int) -> Assessment:
    """mapped, truth: the class of each sampled pixel on the map and on the ground, 0..classes-1."""
    one = np.eye(classes)
    real = _ratios(one[mapped], one[truth])
    imagined = _ratios(one[mapped.repeat(classes)], np.tile(one, (len(mapped), 1)))
    figures = {name: sample.ratio(real[name], imagined[name]) for name in real}
    cells = (one[mapped][:, :, None] * one[truth][:, None, :]).reshape(len(mapped), -1)
    whole = sample.total(np.ones((len(mapped), 1)))
    return Assessment(**figures, matrix=(sample.total(cells) / whole).reshape(classes, classes))


def _ratios(mapped: Float[np.ndarray, "n k"], truth: Float[np.ndarray, "n k"]) -> dict[str, Pair]:
    both = mapped * truth
    return {
        "shares": (truth, np.ones_like(truth)),
        "users": (both, mapped),
        "producers": (both, truth),
        "f1": (2 * both, mapped + truth),
        "overall": (both.sum(1, keepdims=True), np.ones((len(both), 1))),
    }
