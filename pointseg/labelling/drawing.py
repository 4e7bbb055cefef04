"""The tiles of the map that pages wait for, drawn one after the other by the model's thread."""

import math
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from pointseg.labelling.features import Features, Imagery, Place
from pointseg.labelling.knowledge import Fit
from pointseg.labelling.survey import Survey
from pointseg.types import IGNORE, Window

TILE = 256  # pixels of the screen
KEPT = 256  # tiles
GRACE = 0.2  # seconds in which a page that has got a tile, a new view or a new fit asks for its next tiles


class TileKey(NamedTuple):
    """A tile of the screen. halvings: the scene's pixels are seen at every 2 to that power."""

    scene: int
    halvings: int
    row: int
    col: int

    def area(self, raster: Imagery) -> Window:
        """The pixels of the scene in it; of no height or width outside."""
        side = TILE << self.halvings
        top, left = self.row * side, self.col * side
        return Window(top, left, min(side, raster.shape[0] - top), min(side, raster.shape[1] - left))


@dataclass(frozen=True)
class Drawn:
    """Of a tile, at the screen's pixels: class (an index of the fit's, IGNORE for none) and confidence, 0 to 255.

    looked: windows that the survey had looked at.
    """

    fit: Fit
    looked: int
    classes: UInt8[np.ndarray, "h w"]
    confidence: UInt8[np.ndarray, "h w"]


@dataclass
class Wish:
    """A tile that a page waits for. Its result is None where a newer fit has made it pointless."""

    key: TileKey
    number: int
    future: "Future[Drawn | None]" = field(default_factory=Future)


class Drawing:
    """Wishes come from any thread; `step` belongs to the model's."""

    def __init__(self, features: Features, survey: Survey) -> None:
        self.features, self.survey = features, survey
        self.wishes: list[Wish] = []
        self.kept: OrderedDict[TileKey, Drawn] = OrderedDict()
        self.room = 1.0  # of the features that may be kept, to those of the view
        self._expecting_from = -math.inf
        self._lock = threading.Lock()  # of the wishes; held for no time, as the page's thread waits for it

    @property
    def detail(self) -> int:
        """How often a view may be halved and still be drawn from every pixel; beyond, it is from the survey."""
        return 1 if self.room >= 1 else 0

    def view(self, scene: int, area: Window) -> None:
        """What a page shows now."""
        self.expect()
        self.room = self.features.limit / self.features.needed(scene, area)

    @property
    def expecting(self) -> bool:
        """Whether wishes are about to come: a page asks for a few tiles, and for the next when it has these."""
        return time.monotonic() < self._expecting_from + GRACE

    def expect(self) -> None:
        """A page is about to ask for tiles."""
        self._expecting_from = time.monotonic()

    def wish(self, key: TileKey, number: int) -> Wish:
        wish = Wish(key, number)
        with self._lock:
            self.wishes.append(wish)
        return wish

    def give_up(self) -> None:
        with self._lock:
            wishes, self.wishes = self.wishes, []
        for wish in wishes:
            wish.future.set_result(None)

    def step(self, fit: Fit) -> bool:
        """Draw one wish, or compute one window that it needs; whether there was one."""
        with self._lock:
            self.wishes = [wish for wish in self.wishes if not wish.future.cancelled()]
            if not self.wishes:
                return False
            wish = self.wishes[0]
        drawn = None
        if wish.number == fit.number and fit.head is not None:
            if missing := self._missing(wish.key):
                self.features.of_window(missing[0])
                return True
            drawn = self._tile(wish.key, fit)
        with self._lock:
            self.wishes.remove(wish)
        self.expect()
        if wish.future.set_running_or_notify_cancel():
            wish.future.set_result(drawn)
        return True

    def _missing(self, key: TileKey) -> list[Place]:
        if key.halvings > self.detail:
            return []
        return self.features.missing(key.scene, key.area(self.features.scenes[key.scene]))

    def _tile(self, key: TileKey, fit: Fit) -> Drawn:
        far = key.halvings > self.detail
        drawn = self.kept.get(key)
        if drawn is None or drawn.fit is not fit or (far and drawn.looked != self.survey.done):
            area = key.area(self.features.scenes[key.scene])
            self.kept[key] = drawn = self._overview(key, area, fit) if far else self._every_pixel(key, area, fit)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return drawn

    def _every_pixel(self, key: TileKey, area: Window, fit: Fit) -> Drawn:
        assert fit.head is not None
        step = 1 << key.halvings
        confidence, classes = self.features.probabilities(fit.head, key.scene, area)[:, ::step, ::step].max(0)
        found = classes.byte().numpy()
        found[~self.features.scenes[key.scene].valid(area)[::step, ::step]] = IGNORE
        return Drawn(fit, self.survey.done, found, (confidence * 255).round().byte().numpy())

    def _overview(self, key: TileKey, area: Window, fit: Fit) -> Drawn:
        """From the survey: each pixel of the screen as the sample nearest to it."""
        looked, samples = self.survey.done, self.survey.samples[key.scene]
        answer = self.survey.answer(key.scene, fit)
        apart = 1 << key.halvings
        down, across = (
            np.minimum(np.arange(start, start + size, apart) // samples.step, count - 1)
            for start, size, count in zip(area[:2], area[2:], answer.classes.shape, strict=True)
        )
        return Drawn(fit, looked, answer.classes[np.ix_(down, across)], answer.confidence[np.ix_(down, across)])
