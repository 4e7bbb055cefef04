"""Crops: where they lie in a scene, and reading them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import UInt8

from pointseg.errors import InputError
from pointseg.types import Points, Scene, Shape, Window


class Crop(NamedTuple):
    """A window of a scene (by index) and the (row, col) in the scene that scaling it must keep inside.

    None: any.
    """

    scene: int
    window: Window
    anchor: tuple[float, float] | None


@runtime_checkable
class Cropping(Protocol):
    """Which crops an epoch has: always `count` of them."""

    def count(self, shapes: Sequence[Shape], side: int) -> int: ...
    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], side: int, rng: np.random.Generator
    ) -> Iterator[Crop]: ...


@dataclass(frozen=True)
class Grid:
    """Every scene once, by a grid at a random offset (see `partition`)."""

    def count(self, shapes: Sequence[Shape], side: int) -> int:
        return sum(-(-height // side) * -(-width // side) for height, width in shapes)

    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], side: int, rng: np.random.Generator
    ) -> Iterator[Crop]:
        for scene, shape in enumerate(shapes):
            for window in partition(shape, side, rng):
                yield Crop(scene, window, None)


@dataclass(frozen=True)
class AroundPoints:
    """`number` crops, each about a labelled point, for points that are too few for every crop of a grid to hold some.

    Every point is chosen equally often (but for one); where it lies in its crop is random.
    """

    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            raise InputError(f"crops.number={self.number}: give the number of crops in an epoch, 1 at least.")

    def count(self, shapes: Sequence[Shape], side: int) -> int:
        return self.number

    def __call__(
        self, shapes: Sequence[Shape], points: Sequence[Points], side: int, rng: np.random.Generator
    ) -> Iterator[Crop]:
        scenes = np.repeat(np.arange(len(points)), [len(of_scene) for of_scene in points])
        rows, cols = (np.concatenate([getattr(of_scene, axis) for of_scene in points]) for axis in ("rows", "cols"))
        rounds = -(-self.number // len(scenes))
        chosen = np.concatenate([rng.permutation(len(scenes)) for _ in range(rounds)])[: self.number]
        for i in chosen:
            (height, width), row, col = shapes[scenes[i]], float(rows[i]), float(cols[i])
            window = Window(_start(row, height, side, rng), _start(col, width, side, rng), side, side)
            yield Crop(int(scenes[i]), window, (row, col))


def _start(position: float, size: int, side: int, rng: np.random.Generator) -> int:
    """Where a crop begins that holds `position` at random, inside 0..size or, if that is shorter, about its middle."""
    if size <= side:
        return (size - side) // 2
    return int(np.clip(round(position) - rng.integers(side), 0, size - side))


def partition(shape: Shape, side: int, rng: np.random.Generator) -> list[Window]:
    """The fewest side×side windows that hold every pixel of `shape` exactly once, at a random offset.

    The slack (⌈size / side⌉·side − size) is divided at random between the two ends of each axis, so
    the outer windows overhang the scene (see `read`); where it is zero there is one such grid.
    """
    rows, cols = (_starts(size, side, rng) for size in shape)
    return [Window(row, col, side, side) for row in rows for col in cols]


def _starts(size: int, side: int, rng: np.random.Generator) -> list[int]:
    count = -(-size // side)
    offset = int(rng.integers(count * side - size, endpoint=True))
    return [i * side - offset for i in range(count)]


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
