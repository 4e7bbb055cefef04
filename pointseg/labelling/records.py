"""What a file of labels holds, as the labelling page changes it: records, and changes of records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pointseg.errors import InputError

POINTS_ALONE = "holds points alone; lines and polygons need a .gpkg, and images on the map."


class Pixel(NamedTuple):
    """A pixel of a scene (its index), in the scene's own frame: rows downwards, (0, 0) the top-left one."""

    scene: int
    row: int
    col: int


@dataclass(frozen=True)
class Record:
    """One label of a file.

    name: its class; None where it has none yet. place: as the file has it: of a point x, y on the map or scene, row,
    col; else the line or polygon. rest: its other columns, which the page keeps as they are.
    """

    id: int
    name: str | None
    place: Any
    rest: Mapping[str, Any] = field(default_factory=dict)


class Outline(NamedTuple):
    """A line or polygon in a scene (its index): in pixels from the corner, x counting columns and y rows."""

    scene: int
    geometry: Any


def middle(outline: Outline) -> Pixel:
    """A pixel on the line, or in the polygon."""
    point = outline.geometry.point_on_surface()
    return Pixel(outline.scene, int(point.y // 1), int(point.x // 1))


class Change(NamedTuple):
    """A record before and after; None where there is none: a record added, or removed."""

    before: Record | None
    after: Record | None

    def reversed(self) -> "Change":
        return Change(self.after, self.before)


class ConflictError(InputError):
    """Somebody else changed the file; nothing was written."""


@runtime_checkable
class PointsFile(Protocol):
    """A file of points that is written at each change. Its methods are called by one thread at a time."""

    file: Path
    shapes: bool
    """Whether it can hold lines and polygons."""

    @property
    def layers(self) -> list[str] | None:
        """Those that hold the records, where they have to be named."""
        ...

    def read(self) -> list[Record]:
        """All records, as they are now."""
        ...

    def foreign(self) -> bool:
        """Whether somebody else has changed the file since it was last read or written here."""
        ...

    def apply(self, changes: Sequence[Change]) -> list[Change]:
        """Write all changes or none; they are on the disk when this returns, with the ids of records that are new.

        Raises ConflictError where a record is not as it was before, InputError where the system refuses.
        """
        ...

    def place_of(self, pixel: Pixel) -> tuple[Any, ...]:
        """The place of a pixel's centre."""
        ...

    def shape_of(self, scene: int, vertices: Sequence[tuple[float, float]], closed: bool) -> Any:
        """The polygon, if closed, or line through these places of a scene (row, col, from its corner).

        Raises InputError where it is none, or the file cannot hold it.
        """
        ...

    def pixels_of(self, records: Sequence[Record]) -> list[list[Pixel]]:
        """The pixels in which each point lies: of one scene, of several that overlap, or of none."""
        ...

    def outlines_of(self, records: Sequence[Record]) -> list[list[Outline]]:
        """Where each line and polygon lies, in the scenes that it touches."""
        ...
