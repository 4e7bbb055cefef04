"""The colours of classes that nobody has given one."""

from functools import cache

import cv2
import numpy as np

# Safe for the colour-blind (Okabe and Ito 2008); grey takes the place of black.
FIRST = (0x0072B2, 0xE69F00, 0x999999, 0xD55E00, 0x009E73, 0xF0E442, 0x56B4E9, 0xCC79A7)
STEPS = 10  # of each of red, green and blue, in the colours that are tried


@cache
def colours(count: int) -> tuple[int, ...]:
    """`count` colours as 0xRRGGBB, no two alike (up to about 900): FIRST, and then each as far as can be from those
    before it, from white and from black (CIELAB; the greedy choice of Glasbey et al. 2007).
    """
    levels = np.linspace(0, 255, STEPS).round().astype(int)
    tried = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    chosen = [(colour >> 16, colour >> 8 & 255, colour & 255) for colour in FIRST]
    distance = np.full(len(tried), np.inf)
    for colour in ((0, 0, 0), (255, 255, 255), *chosen):
        distance = np.minimum(distance, _difference(tried, colour))
    while len(chosen) < count:
        chosen.append(tuple(tried[distance.argmax()].tolist()))
        distance = np.minimum(distance, _difference(tried, chosen[-1]))
    return tuple(red << 16 | green << 8 | blue for red, green, blue in chosen[:count])


def _difference(tried: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.linalg.norm(_lab(tried) - _lab(np.array([colour])), axis=1))


def _lab(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(rgb[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0])
