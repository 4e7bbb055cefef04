"""Labels of other people beside one's own: read, shown, compared; never written."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd
import shapely

from pointseg.annotation import names, places
from pointseg.annotation.readers import files
from pointseg.annotation.readers.labels import Columns
from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster
from pointseg.labelling.records import Outline, Pixel, Record
from pointseg.labelling.sampled import Sampled

NEAR = 2  # pixels between two points, up to which they are taken for one place
FIRST = -2  # their numbers, downwards: those of one's own count up from 0


@dataclass(frozen=True)
class Difference:
    """A label of theirs (its number) that says something else than one's own label, or than the map.

    place: where to look. certainty: of the map there, 0 to 1; None where it is one's own label.
    """

    number: int
    place: Pixel
    theirs: str
    ours: str
    certainty: float | None


class Others:
    """The labels of files of any kind that training reads. Raises InputError for files that hold none of the scenes.

    Each has a number. points: number → the pixels in which the point lies. sampled: knows the lines and polygons.
    """

    def __init__(self, paths: Sequence[Path], scenes: Sequence[Raster], columns: Columns, per_shape: int) -> None:
        self.paths, self.scenes, self.columns, self.per_shape = list(paths), list(scenes), columns, per_shape
        self.spelling: dict[str, str] = {}
        self._read()

    def poll(self) -> bool:
        """Whether a file was changed; then it was read again. Raises InputError where it cannot be read any more."""
        if self._stamps() == self._read_as:
            return False
        self._read()
        return True

    def spell(self, wanted: Iterable[str]) -> None:
        """Call their classes by one's own names for them."""
        self.spelling |= {names.key(name): name for name in wanted}

    def rename(self, old: str, new: str) -> None:
        self.spelling = {key: new if name == old else name for key, name in self.spelling.items()}
        self.spelling[names.key(old)] = new

    def name(self, number: int) -> str:
        return self.spelling.get(names.key(self._names[number]), self._names[number])

    @property
    def classes(self) -> list[str]:
        return sorted({self.name(number) for number in self._names})

    @property
    def shapes(self) -> dict[int, str]:
        """The class of each line and polygon."""
        return {number: self.name(number) for number in self.sampled.outlines}

    def placed(self) -> list[tuple[Pixel, str]]:
        """Pixels of points, and their classes."""
        return [(pixel, self.name(number)) for number, pixels in self.points.items() for pixel in pixels]

    def pixels(self) -> dict[int, list[Pixel]]:
        """Those that each label labels, if there are no labels but theirs."""
        return self.points | self.sampled.pixels(self.shapes, self.placed())

    def against(
        self, shown: Iterable[tuple[Record, list[Pixel]]], outlined: Iterable[tuple[Record, list[Outline]]]
    ) -> list[Difference]:
        """From one's own points and shapes: where a point lies on or beside another's, or either's in a polygon."""
        theirs = [(pixel, number) for number, pixels in self.pixels().items() for pixel in pixels]
        of_points = [(pixel, number) for number, pixels in self.points.items() for pixel in pixels]
        ours = [(pixel, record.name) for record, pixels in shown for pixel in pixels if record.name]
        found = [(number, pixel, name) for pixel, number, name in _near(of_points, ours)]
        for record, outlines in outlined:
            found += [(number, pixel, record.name) for pixel, number in _within(outlines, theirs) if record.name]
        for number, outlines in self.sampled.outlines.items():
            found += [(number, pixel, name) for pixel, name in _within(outlines, ours)]
        first = {(number, name): pixel for number, pixel, name in reversed(found) if name != self.name(number)}
        return [Difference(number, pixel, self.name(number), name, None) for (number, name), pixel in first.items()]

    def _stamps(self) -> list[tuple[int, int]]:
        try:
            return [(status.st_mtime_ns, status.st_size) for status in map(Path.stat, self.paths)]
        except OSError as error:
            raise InputError(f"{error.filename}: the labels beside yours cannot be read ({error.strerror}).") from error

    def _read(self) -> None:
        stamps = self._stamps() if all(path.exists() for path in self.paths) else []  # else the reader says it
        found = [label for path in self.paths for label in self._labels(path)]
        if not found:
            raise InputError(f"others={', '.join(map(str, self.paths))}: no label with a class lies in the scenes.")
        self._names = {FIRST - i: name for i, (name, _) in enumerate(found)}
        for name in self._names.values():
            self.spelling.setdefault(names.key(name), name)
        self.points: dict[int, list[Pixel]] = {}
        self.sampled = Sampled(self.scenes, self.per_shape)
        for i, (_, outlines) in enumerate(found):
            if outlines[0].geometry.geom_type == "Point":
                self.points[FIRST - i] = self._pixels(outlines)
            else:
                self.sampled.know(FIRST - i, outlines)
        self._read_as = stamps

    def _labels(self, path: Path) -> list[tuple[str, list[Outline]]]:
        """The class of each label of a file that has one, and where it lies in the scenes."""
        labels = files.read(path, self.columns)
        outlines: dict[int, list[Outline]] = {}
        for place in places.find(labels, self.scenes):
            for line, geometry in zip(place.lines.tolist(), place.geometries, strict=True):
                outlines.setdefault(line, []).append(Outline(place.scene, geometry))
        classes = labels.frame["name"]
        return [(str(classes.iloc[line]), found) for line, found in outlines.items() if pd.notna(classes.iloc[line])]

    def _pixels(self, found: Sequence[Outline]) -> list[Pixel]:
        pixels = [Pixel(scene, int(point.y // 1), int(point.x // 1)) for scene, point in found]
        shapes = [self.scenes[pixel.scene].shape for pixel in pixels]
        return [p for p, (h, w) in zip(pixels, shapes, strict=True) if 0 <= p.row < h and 0 <= p.col < w]


T = TypeVar("T")


def _near(theirs: Iterable[tuple[Pixel, T]], ours: Iterable[tuple[Pixel, str]]) -> Iterator[tuple[Pixel, T, str]]:
    """Those of theirs that lie up to NEAR pixels from one of ours."""
    squares: dict[tuple[int, int, int], list[tuple[Pixel, str]]] = {}
    for own, name in ours:
        squares.setdefault((own.scene, own.row // NEAR, own.col // NEAR), []).append((own, name))
    for pixel, value in theirs:
        for down, across in itertools.product((-1, 0, 1), repeat=2):
            for own, name in squares.get((pixel.scene, pixel.row // NEAR + down, pixel.col // NEAR + across), []):
                if max(abs(own.row - pixel.row), abs(own.col - pixel.col)) <= NEAR:
                    yield pixel, value, name


def _within(outlines: Iterable[Outline], pixels: Sequence[tuple[Pixel, T]]) -> list[tuple[Pixel, T]]:
    """Those whose centres lie in a polygon."""
    found = []
    for scene, geometry in outlines:
        if shapely.get_dimensions(geometry) == 2:
            here = [(pixel, value) for pixel, value in pixels if pixel.scene == scene]
            inside = shapely.contains_xy(geometry, [p.col + 0.5 for p, _ in here], [p.row + 0.5 for p, _ in here])
            found += [one for one, is_in in zip(here, inside, strict=True) if is_in]
    return found
