"""Windows: where tiles lie in a scene, and reading them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8

from pointseg.errors import InputError
from pointseg.types import Points, Scene, Shape, Window


class Tile(NamedTuple):
    """A window of a scene (by index) and the (row, col) in the scene that scaling it must keep inside.

    None: any.
    """

    scene: int
    window: Window
    kept: tuple[float, float] | None


@runtime_checkable
class Tiling(Protocol):
    """Which tiles an epoch has: always `count` of them."""

    def count(self, shapes: Sequence[Shape], tile: int) -> int: ...
    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], tile: int, rng: np.random.Generator
    ) -> Iterator[Tile]: ...


@dataclass(frozen=True)
class Grid:
    """Every scene once, by a grid at a random offset (see `partition`)."""

    def count(self, shapes: Sequence[Shape], tile: int) -> int:
        return sum(-(-height // tile) * -(-width // tile) for height, width in shapes)

    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], tile: int, rng: np.random.Generator
    ) -> Iterator[Tile]:
        for scene, shape in enumerate(shapes):
            for window in partition(shape, tile, rng):
                yield Tile(scene, window, None)


@dataclass(frozen=True)
class AroundPoints:
    """`tiles` tiles, each about a labelled point, for points that are too few for every tile of a grid to hold some.

    Every point is chosen equally often (but for one); where it lies in its tile is random.
    """

    tiles: int

    def __post_init__(self) -> None:
        if self.tiles < 1:
            raise InputError(f"tiles.tiles={self.tiles}: give the number of tiles in an epoch, 1 at least.")

    def count(self, shapes: Sequence[Shape], tile: int) -> int:
        return self.tiles

    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], tile: int, rng: np.random.Generator
    ) -> Iterator[Tile]:
        scenes = np.repeat(np.arange(len(points)), [len(of_scene) for of_scene in points])
        rows, cols = (np.concatenate([getattr(of_scene, axis) for of_scene in points]) for axis in ("rows", "cols"))
        rounds = -(-self.tiles // len(scenes))
        chosen = np.concatenate([rng.permutation(len(scenes)) for _ in range(rounds)])[: self.tiles]
        for i in chosen:
            (height, width), row, col = shapes[scenes[i]], float(rows[i]), float(cols[i])
            window = Window(_start(row, height, tile, rng), _start(col, width, tile, rng), tile, tile)
            yield Tile(int(scenes[i]), window, (row, col))


def _start(position: float, size: int, tile: int, rng: np.random.Generator) -> int:
    """Where a tile begins that holds `position` at random, inside 0..size or, if that is shorter, about its middle."""
    if size <= tile:
        return (size - tile) // 2
    return int(np.clip(round(position) - rng.integers(tile), 0, size - tile))


def partition(shape: Shape, tile: int, rng: np.random.Generator) -> list[Window]:
    """The fewest tile×tile windows that hold every pixel of `shape` exactly once, at a random offset.

    The slack (⌈size / tile⌉·tile − size) is divided at random between the two ends of each axis, so
    the outer windows overhang the scene (see `read`); where it is zero there is one such grid.
    """
    rows, cols = (_starts(size, tile, rng) for size in shape)
    return [Window(row, col, tile, tile) for row in rows for col in cols]


def _starts(size: int, tile: int, rng: np.random.Generator) -> list[int]:
    count = -(-size // tile)
    offset = int(rng.integers(count * tile - size, endpoint=True))
    return [i * tile - offset for i in range(count)]


def cover(size: int, tile: int, overlap: int) -> list[int]:
    """Starts of the windows of `min(tile, size)` pixels that cover 0..size, evenly spaced.

    Neighbours share at least `overlap` pixels and every window lies inside.
    """
    tile = min(tile, size)
    count = 1 if size == tile else -(-(size - overlap) // (tile - overlap))
    return [round(i * (size - tile) / max(count - 1, 1)) for i in range(count)]


def read(scene: Scene, window: Window) -> UInt8[np.ndarray, "h w c"]:
    """The image in `window`; what overhangs the scene is its mirror image (which holds no points)."""
    height, width = scene.shape
    top, left = max(window.row, 0), max(window.col, 0)
    bottom, right = min(window.row + window.height, height), min(window.col + window.width, width)
    inside = scene.image(Window(top, left, bottom - top, right - left))
    above, below = top - window.row, window.row + window.height - bottom
    before, after = left - window.col, window.col + window.width - right
    if not (above or below or before or after):
        return inside
    return np.asarray(cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REFLECT_101))
