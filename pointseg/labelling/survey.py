"""A sparse look at whole scenes: features at every so many pixels, window by window while there is nothing to do.

From it come the map of a view too wide for all of its pixels, class shares and areas, and the next point to label.
The features are those of the map at full zoom, so what is shown of a pixel is what the map will say of it, but for
blending.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Int, UInt8

from pointseg.labelling.features import Features, Imagery, Place
from pointseg.labelling.knowledge import Fit
from pointseg.labelling.records import Pixel
from pointseg.models.frozen import Maps
from pointseg.prediction.windows import cover
from pointseg.types import IGNORE, Window

MOST = 250_000  # samples, which each click gives classes anew
CHUNK = 20_000  # samples whose classes are computed at a time
CHOICES = 20  # random pixels, of which the least sure one is suggested


@dataclass(frozen=True)
class Answer:
    """At the samples of a scene: class (IGNORE where not looked yet, or no data), confidence and margin, 0 to 255."""

    classes: UInt8[np.ndarray, "h w"]
    confidence: UInt8[np.ndarray, "h w"]
    margin: UInt8[np.ndarray, "h w"]


class Samples:
    """Of one scene: features (NaN never; zero where not looked yet) of the pixels step // 2 + i · step."""

    def __init__(self, index: int, raster: Imagery, features: Features, step: int) -> None:
        self.index, self.raster, self.features, self.step = index, raster, features, step
        self.rows, self.cols = (np.arange(min(step // 2, size - 1), size, step) for size in raster.shape)
        shape = (len(self.rows), len(self.cols))
        self.values = torch.zeros(*shape, features.width, dtype=torch.float16)  # memory is taken as it is filled
        self.seen: Bool[np.ndarray, "h w"] = np.zeros(shape, bool)
        down, across = (_owners(size, features) for size in raster.shape)
        side = [min(features.window_size, size) for size in raster.shape]
        self.pieces = {
            Place(index, Window(top, left, *side)): (self._within(self.rows, *rows), self._within(self.cols, *cols))
            for top, *rows in down
            for left, *cols in across
        }
        self.pieces = {place: ranges for place, ranges in self.pieces.items() if all(map(len, ranges))}

    def _within(self, positions: Int[np.ndarray, "n"], first: int, last: int) -> range:
        return range(*np.searchsorted(positions, (first, last)).tolist())

    def look(self, place: Place, maps: Maps) -> None:
        """Take the samples of a window from its maps."""
        down, across = self.pieces[place]
        rows, cols = (axis.ravel() for axis in np.meshgrid(self.rows[down], self.cols[across], indexing="ij"))
        valid = self.raster.valid(place.window)[rows - place.window.row, cols - place.window.col]
        if valid.any():
            found = self.features.read(maps, place.window, rows, cols).view(len(down), len(across), -1)
            self.values[down.start : down.stop, across.start : across.stop] = found
        self.seen[down.start : down.stop, across.start : across.stop] = valid.reshape(len(down), len(across))

    def answer(self, fit: Fit) -> Answer:
        assert fit.linear is not None
        layers = [np.full(self.seen.shape, value, np.uint8) for value in (IGNORE, 0, 0)]
        where = np.flatnonzero(self.seen)
        flat = self.values.view(-1, self.features.width)
        for start in range(0, len(where), CHUNK):
            chosen = where[start : start + CHUNK]
            best, classes = fit.linear(flat[torch.from_numpy(chosen)].float()).softmax(1).topk(2, dim=1)
            for layer, values in zip(
                layers, (classes[:, 0], best[:, 0] * 255, (best[:, 0] - best[:, 1]) * 255), strict=True
            ):
                layer.flat[chosen] = values.round().byte().numpy()
        return Answer(*layers)


class Survey:
    """limit: bytes of features; the samples lie as close as it allows."""

    def __init__(self, features: Features, limit: int) -> None:
        pixels = sum(scene.shape[0] * scene.shape[1] for scene in features.scenes)
        apart = math.sqrt(pixels / min(limit / (2 * features.width), MOST))
        self.step = 2 ** max(math.ceil(math.log2(max(apart, 1))), 2)
        self.samples = [Samples(i, scene, features, self.step) for i, scene in enumerate(features.scenes)]
        places = [place for samples in self.samples for place in samples.pieces]
        # In an order that soon has some of everywhere.
        self.left = [places[i] for i in np.random.default_rng(0).permutation(len(places))]
        self.total = len(places)
        self._answers: dict[int, tuple[tuple[int, int], Answer]] = {}

    @property
    def done(self) -> int:
        return self.total - len(self.left)

    def prefer(self, scene: int, area: Window) -> None:
        """Look next at what a view shows."""
        inside = [place for place in self.left if place.scene == scene and _meet(place.window, area)]
        self.left = [place for place in self.left if place not in set(inside)] + inside  # taken from the end

    def look(self, place: Place, maps: Maps) -> None:
        """Take the samples of one of the windows that are left."""
        self.left.remove(place)
        self.samples[place.scene].look(place, maps)

    def answer(self, scene: int, fit: Fit) -> Answer:
        """As of now; computed once for a fit and what has been looked at."""
        key = (fit.number, self.done)
        if scene not in self._answers or self._answers[scene][0] != key:
            self._answers[scene] = (key, self.samples[scene].answer(fit))
        return self._answers[scene][1]

    def shares(self, fit: Fit) -> dict[str, float]:
        """Of the scenes' pixels with data, as far as they were looked at; empty where there is nothing to say."""
        if fit.linear is None:
            return {}
        counts = np.zeros(256)
        for i in range(len(self.samples)):
            counts += np.bincount(self.answer(i, fit).classes.ravel(), minlength=256)
        total = counts[:IGNORE].sum()
        return {name: float(counts[i] / total) for i, name in enumerate(fit.names)} if total else {}

    def next_point(
        self, fit: Fit, labelled: Mapping[Pixel, str], skipped: Sequence[Pixel], distance: float, seed: int
    ) -> Pixel | None:
        """Of some random pixels of the class that has the fewest points, the one of which the head is least sure.

        So rare classes are sought as a person would, and outlines are not drawn point by point. Where none of a class's
        pixels is left, the class with the next fewest; None where no pixel is. No pixel within `distance` of one
        labelled or skipped is taken.
        """
        pixels = pd.concat(list(self._pixels(fit)), ignore_index=True)
        counts, rng = Counter(labelled.values()), np.random.default_rng(seed)
        taken = np.array([*labelled, *skipped]).reshape(-1, 3)
        for label in sorted(range(len(fit.names)), key=lambda i: counts[fit.names[i]]):
            of_label = pixels[pixels["predicted"] == label]
            shuffled = of_label.iloc[rng.permutation(len(of_label))]
            found = list(islice((pixel for pixel in _tuples(shuffled) if _apart(pixel, taken, distance)), CHOICES))
            if found:
                return Pixel(*min(found, key=lambda pixel: pixel[3])[:3])
        return None

    def _pixels(self, fit: Fit) -> Iterator[pd.DataFrame]:
        for i, samples in enumerate(self.samples):
            answer = self.answer(i, fit)
            rows, cols = np.nonzero(answer.classes != IGNORE)
            columns = {"row": samples.rows[rows], "col": samples.cols[cols], "margin": answer.margin[rows, cols]}
            yield pd.DataFrame({"scene": i, **columns, "predicted": answer.classes[rows, cols]})


def _tuples(pixels: pd.DataFrame) -> Iterator[tuple[int, int, int, int]]:
    """scene, row, col and margin of each."""
    return zip(*(pixels[name].tolist() for name in ("scene", "row", "col", "margin")), strict=True)


def _apart(pixel: Sequence[int], taken: Int[np.ndarray, "n 3"], distance: float) -> bool:
    near = taken[taken[:, 0] == pixel[0], 1:]
    return not (np.hypot(*(near - pixel[1:3]).T) < distance).any()


def _owners(size: int, features: Features) -> list[tuple[int, int, int]]:
    """Along one axis: where each window starts, and its own pixels (from, to): those nearest to its middle."""
    starts, side = cover(size, features.window_size, features.overlap), min(features.window_size, size)
    between = [(before + side + after) // 2 for before, after in pairwise(starts)]
    return list(zip(starts, [0, *between], [*between, size], strict=True))


def _meet(window: Window, area: Window) -> bool:
    return (
        window.row < area.row + area.height
        and area.row < window.row + window.height
        and window.col < area.col + area.width
        and area.col < window.col + window.width
    )
