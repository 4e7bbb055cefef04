"""Windows: where tiles lie in a scene, and reading them."""

import cv2
import numpy as np
from jaxtyping import UInt8

from pointseg.types import Scene, Shape, Window


def partition(shape: Shape, tile: int, rng: np.random.Generator) -> list[Window]:
    """The fewest tile×tile windows that hold every pixel of `shape` exactly once, at a random offset.

    The slack (⌈size / tile⌉·tile − size) is divided at random between the two ends of each axis, so
    the outer windows overhang the scene (see `read`); where it is zero there is one such grid.
    """
    rows, cols = (_starts(size, tile, rng) for size in shape)
    return [Window(row, col, tile, tile) for row in rows for col in cols]


def _starts(size: int, tile: int, rng: np.random.Generator) -> list[int]:
    count = -(-size // tile)
    offset = int(rng.integers(0, count * tile - size, endpoint=True))
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
