"""What tests share with those of augment."""

import numpy as np

from pointseg.types import Points

SIDE = 48


def coordinates(side: int) -> np.ndarray:
    """An image whose bands are its own rows and columns, so that it tells where a pixel came from."""
    rows, cols = np.mgrid[0:side, 0:side]
    return np.stack([rows, cols, np.zeros_like(rows)], -1).astype(np.uint8)


def every_pixel(side: int) -> Points:
    rows, cols = np.mgrid[0:side, 0:side].reshape(2, -1).astype(float)
    return Points(rows, cols, np.arange(side * side))
