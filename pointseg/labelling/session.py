"""What one person labels: scenes, their file of labels, classes, and what can be undone. It knows no browser."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec

from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster
from pointseg.labelling.classes import Classes
from pointseg.labelling.geopackage import GeoPackage
from pointseg.labelling.others import Others
from pointseg.labelling.records import Change, ConflictError, Outline, Pixel, PointsFile, Record
from pointseg.labelling.sampled import Sampled
from pointseg.labelling.table import Table
from pointseg.types import Window

log = logging.getLogger(__name__)

NEW = -1  # the id of a record that is not written yet

P = ParamSpec("P")


@dataclass(frozen=True)
class Note:
    """Something the page is to say once. number: counts them."""

    number: int
    text: str
    bad: bool


def open_points(file: Path, scenes: Sequence[Raster], column: str, layer: str | None) -> PointsFile:
    """The file of points, made where it is not there. Raises InputError where it holds none."""
    if file.suffix.lower() == ".gpkg":
        return GeoPackage(file, scenes, column, layer)
    if file.suffix.lower() == ".csv":
        return Table(file, scenes, column)
    raise InputError(
        f"points={file}: the page writes a GeoPackage (.gpkg), or a .csv of rows and columns for plain pictures; turn "
        "another file into one of these first, as with ogr2ogr field.gpkg field.geojson."
    )


class Session:
    """Points and classes, each change of which is on the disk before its method returns.

    version: counts the changes of points and classes, whoever made them. Methods may be called by any thread.
    """

    def __init__(
        self,
        scenes: Sequence[Raster],
        points: PointsFile,
        classes: Mapping[str, str] | Iterable[str] | None = None,
        per_shape: int = 50,
        others: Others | None = None,
    ) -> None:
        self.scenes, self.points, self.others = list(scenes), points, others
        self.trusting = False  # whether the others' labels count as one's own
        self.sampled = Sampled(self.scenes, per_shape)
        self.classes = Classes(points.file, classes)
        self.lock = threading.RLock()
        self.records: dict[int, Record] = {}
        self.pixels: dict[int, list[Pixel]] = {}
        self.at: dict[Pixel, list[int]] = {}
        self.undoable: list[list[Change]] = []
        self.redoable: list[list[Change]] = []
        self.notes: list[Note] = []
        self.version = 0
        # These are replaced as a whole, to be read without waiting for a write:
        self.shown: list[tuple[Record, list[Pixel]]] = []  # points
        self.outlined: list[tuple[Record, list[Outline]]] = []  # lines and polygons
        self._labelled: dict[Pixel, str] = {}
        self._silent: set[int] = set()  # shapes of which no pixel is left
        self.listeners: list[Callable[[], None]] = []
        self._load()

    def place(self, pixel: Pixel, name: str | None) -> int:
        """The id of a new point there. A point that lies on this pixel already gets the class instead."""
        with self.lock:
            self._check_pixel(pixel)
            if standing := self.at.get(pixel):
                number = standing[0]
                self.classify(number, name)
                return number
            done = self._do([Change(None, Record(NEW, name, self.points.place_of(pixel)))])
            assert done[0].after is not None
            return done[0].after.id

    def outline(self, scene: int, vertices: Sequence[tuple[float, float]], closed: bool, name: str | None) -> int:
        """The id of a new polygon, if closed, or line through these places of a scene (row, col, from its corner)."""
        with self.lock:
            shape = self.points.shape_of(scene, vertices, closed)
            (there,) = self.points.outlines_of([Record(NEW, name, shape)])
            self.sampled.know(NEW, there)
            usable = self.sampled.usable(NEW)
            self.sampled.forget(NEW)
            if not usable:
                raise InputError("No pixel of it holds data, so it labels nothing.")
            (done,) = self._do([Change(None, Record(NEW, name, shape))])
            assert done.after is not None
            return done.after.id

    def classify(self, number: int, name: str | None) -> None:
        with self.lock:
            record = self._known(number)
            if record.name != name:
                self._do([Change(record, replace(record, name=name))])

    def move(self, number: int, pixel: Pixel) -> None:
        with self.lock:
            record = self._known(number)
            if number not in self.pixels:
                raise InputError("Points alone can be moved; draw a line or polygon anew.")
            self._check_pixel(pixel)
            if standing := [other for other in self.at.get(pixel, []) if other != number]:
                raise InputError(f"Another point ({self.records[standing[0]].name}) lies on this pixel already.")
            if pixel not in self.pixels[number]:
                self._do([Change(record, replace(record, place=self.points.place_of(pixel)))])

    def remove(self, number: int) -> None:
        with self.lock:
            self._do([Change(self._known(number), None)])

    def undo(self) -> bool:
        """Whether there was anything to undo."""
        with self.lock:
            return self._again(self.undoable, self.redoable)

    def redo(self) -> bool:
        with self.lock:
            return self._again(self.redoable, self.undoable)

    def trust(self, others: bool) -> None:
        """Whether to learn from the others' labels too."""
        with self.lock:
            self.trusting = others
            self._changed()

    def training(self) -> dict[str, Any]:
        """What `train` is given, to learn from the same labels; see conf/train.yaml and conf/annotation/given.yaml."""
        files = [str(self.points.file.absolute())]
        if self.others is None or not self.trusting:
            return {"points": files, "annotation": {"layer": self.points.layers}}
        theirs = [str(path.absolute()) for path in self.others.paths]
        # Where they contradict each other, the page leaves both out.
        return {"points": files + theirs, "annotation": {"layer": self.points.layers, "contradicting": "skip"}}

    def rename_class(self, old: str, new: str) -> None:
        """In the list and at all of its points."""
        with self.lock:
            self.classes.rename(old, new)
            if self.others is not None:
                self.others.rename(old, new)
            # The list came first: killed between the two, the points still have a class, the old one.
            changes = [Change(r, replace(r, name=new)) for r in self.records.values() if r.name == old]
            if changes:
                self._write(changes)
            for kept in (self.undoable, self.redoable):
                kept[:] = [[Change(*(_renamed(r, old, new) for r in change)) for change in done] for done in kept]
            self._changed()

    def remove_class(self, name: str) -> None:
        with self.lock:
            if count := self.counts()[name]:
                raise InputError(f"{name}: has {count} labels; give them another class first.")
            self.classes.remove(name)
            self._changed()

    def change_classes(self, change: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """Call a method of `classes` that changes no points."""
        with self.lock:
            change(*arguments, **named)
            self._changed()

    def counts(self) -> Counter[str]:
        """One's own labels of each class that has some."""
        return Counter(record.name for record, _ in [*self.shown, *self.outlined] if record.name is not None)

    def labelled(self) -> dict[Pixel, str]:
        """The class of each labelled pixel; those with labels of two classes are left out."""
        return self._labelled

    def labelled_counts(self) -> Counter[str]:
        """The labelled pixels of each class that has some."""
        return Counter(self._labelled.values())

    def poll(self) -> None:
        """Look whether somebody else has changed the file, and take in what he did. To be called now and then."""
        with self.lock:
            try:
                if self.points.foreign():
                    before = len(self.records)
                    self._load()
                    self.say(
                        f"{self.points.file.name} was changed by another program: {before} points before, "
                        f"{len(self.records)} now. The page shows the file as it is."
                    )
                if self.others is not None and self.others.poll():
                    self._know_others()
                    self._changed()
                    self.say("The labels beside yours were changed; the page shows them as they are.")
            except InputError as error:
                if not self.notes or self.notes[-1].text != str(error):
                    self.say(str(error), bad=True)

    def say(self, text: str, bad: bool = False) -> None:
        with self.lock:
            self.notes = [*self.notes[-49:], Note(self.notes[-1].number + 1 if self.notes else 1, text, bad)]

    def _load(self) -> None:
        records = self.points.read()
        self.records = {record.id: record for record in records}
        self.pixels = {}
        self.sampled.clear()
        self._know(records)
        if isinstance(self.points, Table):  # whose ids are others now
            self.undoable, self.redoable = [], []
        self._index()
        self.classes.know(sorted({record.name for record in records if record.name is not None}))
        self._know_others()
        self._complain()
        self._changed()

    def _index(self) -> None:
        self.at = {}
        for number, pixels in self.pixels.items():
            for pixel in pixels:
                self.at.setdefault(pixel, []).append(number)

    def _know(self, records: Sequence[Record]) -> None:
        """Where they lie."""
        places = zip(records, self.points.pixels_of(records), self.points.outlines_of(records), strict=True)
        for record, pixels, outlines in places:
            if isinstance(record.place, tuple):
                self.pixels[record.id] = pixels
            else:
                self.sampled.know(record.id, outlines)

    def _know_others(self) -> None:
        if self.others is not None:
            self.others.spell(self.classes.names)
            self.classes.know(self.others.classes)

    def _complain(self) -> None:
        outside = sum(not found for found in (*self.pixels.values(), *self.sampled.outlines.values()))
        if outside:
            self.say(f"{outside} labels of {self.points.file.name} lie in no scene; they stay in the file, unused.")
        torn = [
            pixel for pixel, numbers in self.at.items() if len({self.records[n].name for n in numbers} - {None}) > 1
        ]
        if torn:
            first = torn[0]
            self.say(
                f"{len(torn)} pixels have points of two classes, the first in {self.scenes[first.scene].id} at row "
                f"{first.row}, col {first.col}; the map leaves them out until one is removed.",
                bad=True,
            )

    def _do(self, changes: Sequence[Change]) -> list[Change]:
        """Write the changes, and keep them to be undone."""
        done = self._write(changes)
        self.undoable.append(done)
        self.redoable.clear()
        return done

    def _again(self, source: list[list[Change]], target: list[list[Change]]) -> bool:
        if not source:
            return False
        changes = [change.reversed() for change in reversed(source.pop())]
        target.append(self._write(changes))
        return True

    def _write(self, changes: Sequence[Change]) -> list[Change]:
        try:
            done = self.points.apply(changes)
        except ConflictError:
            self._load()
            raise
        for before, after in done:
            if before is not None:
                self._forget(before.id)
            if after is not None:
                self.records[after.id] = after
                self._know([after])
                for pixel in self.pixels.get(after.id, []):
                    self.at.setdefault(pixel, []).append(after.id)
                if after.name is not None:
                    self.classes.know([after.name])
        self._changed()
        return done

    def _forget(self, number: int) -> None:
        del self.records[number]
        if number in self.sampled.outlines:
            self.sampled.forget(number)
            return
        for pixel in self.pixels.pop(number):
            self.at[pixel].remove(number)
            if not self.at[pixel]:
                del self.at[pixel]

    def _changed(self) -> None:
        self.shown = [(self.records[number], list(pixels)) for number, pixels in self.pixels.items()]
        self.outlined = [(self.records[number], found) for number, found in self.sampled.outlines.items()]
        self._labelled, silent = self._label()
        if silent - self._silent:
            self.say(
                f"{len(silent)} lines or polygons lie wholly under labels of other classes, so they label nothing, and "
                "training refuses them; remove them, or the others.",
                bad=True,
            )
        self._silent = silent
        self.version += 1
        for listener in self.listeners:
            listener()

    def _label(self) -> tuple[dict[Pixel, str], set[int]]:
        """The class of each labelled pixel, and the shapes of which none is left."""
        points = [(pixel, record.name) for record, pixels in self.shown for pixel in pixels if record.name is not None]
        named = {record.id: record.name for record, _ in self.outlined if record.name is not None}
        sampled = self.sampled
        if self.others is not None and self.trusting:
            points, named = points + self.others.placed(), named | self.others.shapes
            sampled = sampled.beside(self.others.sampled)
        found: dict[Pixel, str] = {}
        torn = {pixel for pixel, name in points if found.setdefault(pixel, name) != name}
        found = {pixel: name for pixel, name in found.items() if pixel not in torn}
        drawn = sampled.pixels(named, points)
        for number, pixels in drawn.items():
            found |= dict.fromkeys(pixels, named[number])
        return found, {number for number in named if sampled.usable(number)} - drawn.keys()

    def _known(self, number: int) -> Record:
        if number not in self.records:
            raise InputError("This label is no longer there.")
        return self.records[number]

    def _check_pixel(self, pixel: Pixel) -> None:
        """Raise InputError where no point can be."""
        if not 0 <= pixel.scene < len(self.scenes):
            raise InputError("There is no such scene.")
        scene = self.scenes[pixel.scene]
        if not (0 <= pixel.row < scene.shape[0] and 0 <= pixel.col < scene.shape[1]):
            raise InputError("Outside of the image there is nothing to label.")
        if not scene.valid(Window(pixel.row, pixel.col, 1, 1))[0, 0]:
            raise InputError("This pixel holds no data, so it cannot be labelled.")


def _renamed(record: Record | None, old: str, new: str) -> Record | None:
    return replace(record, name=new) if record is not None and record.name == old else record
