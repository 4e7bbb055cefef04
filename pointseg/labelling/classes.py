"""The classes of the page: names and colours, in their order, kept beside the points."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pointseg.annotation import names
from pointseg.colours import colours
from pointseg.errors import InputError, reading
from pointseg.files import writing

COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
LONGEST = 100  # characters of a name
MOST = 254  # classes that a map can hold


class Classes:
    """Names → colours ('#rrggbb'), in their order. Each change is on the disk when its method returns.

    The file lies beside the points: field.gpkg has field_classes.json. `dataset.classes` takes what it holds.
    """

    def __init__(self, points: Path, given: Mapping[str, str] | Iterable[str] | None = None) -> None:
        self.file = points.with_name(f"{points.stem}_classes.json")
        self.colours: dict[str, str] = {}
        if self.file.exists():
            with reading(self.file, "names and colours of classes", "mend it, or remove it."):
                content = json.loads(self.file.read_text(encoding="utf-8"))
                self.colours = {checked_name(name): checked_colour(colour) for name, colour in content.items()}
        if isinstance(given, Mapping):
            self.colours = {name: checked_colour(colour) for name, colour in given.items()} | self.colours
        elif given is not None:
            self.know(given)

    @property
    def names(self) -> list[str]:
        return list(self.colours)

    def know(self, found: Iterable[str]) -> None:
        """Classes that the points have; nothing is written, as their colours follow from their order."""
        for name in found:
            self.colours.setdefault(name, self._next_colour())

    def add(self, name: str) -> None:
        name = checked_name(name)
        self._refuse_alike(name)
        if len(self.colours) >= MOST:
            raise InputError(f"There are {MOST} classes, as many as a map can hold.")
        self._write({**self.colours, name: self._next_colour()})

    def rename(self, old: str, new: str) -> None:
        new = checked_name(new)
        self._refuse_alike(new, beside=old)
        self._write({new if name == old else name: colour for name, colour in self.colours.items()})

    def recolour(self, name: str, colour: str) -> None:
        self._write({**self.colours, name: checked_colour(colour)})

    def move(self, name: str, by: int) -> None:
        """Up (-1) or down (1) the list; the number keys follow it."""
        order = self.names
        place = order.index(name)
        order.insert(min(max(place + by, 0), len(order) - 1), order.pop(place))
        self._write({each: self.colours[each] for each in order})

    def remove(self, name: str) -> None:
        self._write({each: colour for each, colour in self.colours.items() if each != name})

    def _refuse_alike(self, name: str, beside: str | None = None) -> None:
        # Training takes them for one; so they do not arise here.
        for other in self.colours:
            if other != beside and names.key(other) == names.key(name):
                raise InputError(f"There is a class {other!r} already.")

    def _next_colour(self) -> str:
        taken = set(self.colours.values())
        own = (f"#{colour:06x}" for colour in colours(len(taken) + 1))  # one of these is free
        return next(colour for colour in own if colour not in taken)

    def _write(self, colours: dict[str, str]) -> None:
        with writing(self.file) as partial:
            partial.write_text(json.dumps(colours, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self.colours = colours


def checked_name(name: str) -> str:
    name = names.clean(str(name))
    if not name or len(name) > LONGEST or not name.isprintable():
        raise InputError(f"{name!r}: give the class a name of 1 to {LONGEST} letters.")
    return name


def checked_colour(colour: str) -> str:
    if not COLOUR.fullmatch(str(colour)):
        raise InputError(f"{colour!r} is no colour; write it as '#RRGGBB'.")
    return str(colour).lower()
