"""The model beside the session: a thread that learns each click, draws what the page shows, and looks around.

Steps are short and in this order: learn, draw, and while no page asks for tiles, refine, compare, survey. So a click
waits for one window at most, and a view is drawn before anything else is begun.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pointseg.labelling.drawing import GRACE, Drawing, TileKey, Wish
from pointseg.labelling.features import Features, Place
from pointseg.labelling.knowledge import NOTHING, Knowledge, Quality, judge
from pointseg.labelling.others import Difference
from pointseg.labelling.records import Pixel
from pointseg.labelling.session import Session
from pointseg.labelling.survey import Survey
from pointseg.models.frozen import Maps
from pointseg.training.frozen import ROWS
from pointseg.types import Window

log = logging.getLogger(__name__)

COMPARED, EACH = 20_000, 10  # pixels of others' labels that are held against the map: in all, and of each
SLICE = 0.2  # seconds of a step that can be cut short
PAUSE = 1.0  # seconds after a fit in which the page gets its tiles, before what would make another fit is done


class Looking(NamedTuple):
    """A window that is being looked at: what is still to come of its maps, and what is there."""

    place: Place
    parts: Iterator[Maps]
    maps: list[Tensor]


class Learner:
    """What it says: fit, quality, progress; `listeners` are called (by its threads) when any of it changes.

    Raises nothing once it runs; what goes wrong in its threads is a note of the session.
    """

    def __init__(self, session: Session, features: Features, survey_limit: int) -> None:
        self.session, self.features = session, features
        self.survey = Survey(features, survey_limit)
        self.knowledge = Knowledge(features.network.levels)
        self.fit = NOTHING
        self.quality: Quality | None = None
        self.history: list[Quality] = []
        self.compared: dict[Pixel, Tensor] = {}  # features of pixels of others' labels
        self.unread = 0  # labelled pixels whose features are not known yet
        self.listeners: list[Callable[[], None]] = []
        self.drawing = Drawing(features, self.survey)
        self.preferred: tuple[int, Window] | None = None
        self.lock = threading.RLock()  # of what both threads use; held for as long as a window takes
        self._fitted = time.monotonic()
        self._judged = self._learned = -1
        self._looking: Looking | None = None
        self._comparing: list[tuple[int, Pixel]] = []
        self._compared_of: object = None
        self._stop = False
        self._work, self._judging = threading.Event(), threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._run, self._judge)]
        session.listeners.append(self._work.set)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        self._work.set()

    def stop(self) -> None:
        self._stop = True
        self._work.set()
        self._judging.set()
        for thread in self._threads:
            thread.join()

    def wish(self, key: TileKey, number: int) -> Wish:
        """Ask for a tile of the fit of that number."""
        wish = self.drawing.wish(key, number)
        self._work.set()
        return wish

    def view(self, scene: int, area: Window) -> None:
        """What a page shows now: the survey looks there first."""
        self.preferred = (scene, area)
        self.drawing.view(scene, area)
        self._work.set()

    def suggest(self, skipped: list[Pixel], distance: float) -> Pixel | None:
        """The pixel most worth labelling next."""
        with self.lock:
            fit, labelled = self.fit, self.session.labelled()
            if fit.linear is None:
                return None
            return self.survey.next_point(fit, labelled, skipped, distance, seed=len(labelled) + len(skipped))

    def shares(self) -> dict[str, float]:
        with self.lock:
            return self.survey.shares(self.fit)

    @torch.inference_mode()
    def against_map(self) -> list[Difference]:
        """The labels of others that the map contradicts, those that it is most sure of first.

        A line or polygon is held against it at some of its pixels: what most of them are.
        """
        fit, others = self.fit, self.session.others
        if fit.linear is None or others is None:
            return []
        known = [(number, pixel) for number, pixel in self.to_compare() if pixel in self.compared]
        if not known:
            return []
        sure = fit.linear(torch.stack([self.compared[pixel] for _, pixel in known]).float()).softmax(1)
        own: dict[int, list[int]] = {}
        for i, (number, _) in enumerate(known):
            own.setdefault(number, []).append(i)
        found = []
        for number, rows in own.items():
            certainty, best = (float(value) for value in sure[rows].mean(0).max(0))
            theirs, ours = others.name(number), fit.names[int(best)]
            if theirs != ours:
                where = rows[int(sure[rows, int(best)].argmax())]
                found.append(Difference(number, known[where][1], theirs, ours, certainty))
        return sorted(found, key=lambda difference: -(difference.certainty or 0))

    def to_compare(self) -> list[tuple[int, Pixel]]:
        """The numbers of others' labels, and pixels of them."""
        others = self.session.others
        if others is None:
            return []
        if self._compared_of is not others.points:  # read anew
            each = [(n, pixel) for n, pixels in others.pixels().items() for pixel in pixels[:EACH]]
            self._comparing, self._compared_of = each[:COMPARED], others.points
        return self._comparing

    def _compare(self) -> bool:
        """Read the ground under the labels of others."""
        missing = [pixel for _, pixel in self.to_compare() if pixel not in self.compared]
        if not missing:
            return False
        end = time.monotonic() + SLICE
        for place, own in self.features.around(missing):
            if time.monotonic() > end:
                break
            self.compared |= dict(zip(own, self.features.at(place, own, 1)[:, 0].half(), strict=True))
        self._tell()
        return True

    @torch.inference_mode()
    def _run(self) -> None:
        while not self._stop:
            self._work.clear()
            try:
                while not self._stop and self._step():
                    pass
            except Exception as error:  # a damaged file, no memory: the page says it and goes on
                log.exception("The model's thread")
                self.session.say(f"The map cannot be drawn here: {error}", bad=True)
                self.drawing.give_up()
            self._work.wait(GRACE)

    def _step(self) -> bool:
        """Do what is most urgent; whether there was anything."""
        if self._learn() or self._draw():
            return True
        return not self.drawing.expecting and (self._refine() or self._compare() or self._look())

    def _draw(self) -> bool:
        return self.drawing.step(self.fit)

    def _learn(self) -> bool:
        """Take in what was clicked; the head is fitted when all of it is."""
        version = self.session.version
        if version == self._learned:
            return False
        labelled = self.session.labelled()
        with self.lock:
            for pixel in self.knowledge.rows.keys() - labelled.keys():
                self.knowledge.forget(pixel)
        missing = [pixel for pixel in labelled if pixel not in self.knowledge.rows]
        self.unread = len(missing)
        if self._take_in(missing, ways=1):
            self.unread = 0
            self._learned = version
            self._fit()
        self._tell()
        return True

    def _take_in(self, pixels: list[Pixel], ways: int) -> bool:
        """Read features for a while; whether that was all of them."""
        end = time.monotonic() + SLICE
        for place, own in self.features.around(pixels):
            if time.monotonic() > end:
                return False
            rows = self.features.at(place, own, ways)
            with self.lock:
                for pixel, of_pixel in zip(own, rows, strict=True):
                    self.knowledge.learn(pixel, of_pixel)
        return True

    def _fit(self) -> None:
        with self.lock:
            labelled = self.session.labelled()
            fit = self.knowledge.fit(self.fit.number + 1, labelled, self.session.classes.names)
            self.fit, self._fitted = fit, time.monotonic()
            self.drawing.expect()

    def _refine(self) -> bool:
        """Read the points under the other symmetries too, as training does."""
        if time.monotonic() < self._fitted + PAUSE:
            return False
        rows = self.knowledge.rows
        ways = min(max(ROWS // max(len(rows), 1), 1), 8) if self.features.network.scales else 1
        pixels = [pixel for pixel, known in rows.items() if len(known) < ways]
        if not pixels:
            if self._judged != self._learned and not self._judging.is_set():
                self._judging.set()
            return False
        if self._take_in(pixels, ways):
            self._fit()
            self._tell()
        return True

    def _look(self) -> bool:
        """At a part of one window more, for the survey."""
        if self._looking is None:
            if self.preferred is not None:
                with self.lock:
                    self.survey.prefer(*self.preferred)
                self.preferred = None
            if not self.survey.left:
                return False
            place = self.survey.left[-1]
            self._looking = Looking(place, self.features.parts(place), [])
        looking, self._looking = self._looking, None
        try:
            part = next(looking.parts, None)
        except Exception:  # a damaged place is not looked at again
            self.survey.left.remove(looking.place)
            raise
        if part is not None:
            looking.maps.extend(part)
            self._looking = looking
            return True
        with self.lock:
            self.survey.look(looking.place, looking.maps)
        if self.survey.done % 8 == 0 or not self.survey.left:
            self._tell()
        return True

    def _judge(self) -> None:
        """The other thread: cross-validation, which takes a second with many points."""
        while not self._stop:
            self._judging.wait()
            if not self._stop:
                self._cross_validate()
            self._judging.clear()  # before the look at `_stop`, which is set first: so no waking is lost
            self._work.set()

    def _cross_validate(self) -> None:
        with self.lock:
            self._judged = self._learned
            labelled = self.session.labelled()
            enough = self.fit.head is not None
            sample = self.knowledge.sample(labelled, self.session.scenes) if enough else None
        try:
            self._judged_to_be(judge(*sample) if sample else None)
        except Exception as error:
            log.exception("Cross-validation")
            self.session.say(f"The quality cannot be told: {error}", bad=True)

    def _judged_to_be(self, quality: Quality | None) -> None:
        with self.lock:
            self.quality = quality
            known = self.knowledge
            amount, temperature = (quality.amount, quality.temperature) if quality else (None, 1.0)
            changed = amount != known.amount or not 0.9 < temperature / known.temperature < 1.1
            if quality and self.history[-1:] != [quality]:
                self.history = [*self.history[-199:], quality]
            if changed:
                known.amount, known.temperature = amount, temperature
        if changed:
            self._fit()
        self._tell()

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()
