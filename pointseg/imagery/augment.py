"""Augmentation of an image and its points together: the only module that knows albumentations.

Points travel as coordinates, never as a warped mask: nearest-neighbour warping drops and doubles
isolated pixels (albumentations PR #2245). Two of the library's conventions are corrected here:

- `Resize` multiplies coordinates by the scale, which is right for coordinates counted from the
  pixel's edge; its flips and turns count from the pixel's centre, as pointseg does.
- `remove_invisible` drops points between −0.5 and 0, which lie on the first pixel: not used.
  (`Affine` with a reflected border is not used either: it doubles every point.)
"""

import os

import numpy as np
from jaxtyping import UInt8

from pointseg.errors import InputError
from pointseg.types import Points, Shape, Window

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # importing it must not ask the network for news
import albumentations as A


class Augment:
    """Random scale, symmetries (flips and quarter turns) and colour.

    scale: a window's side is multiplied by a factor between 1/scale and scale, log-uniform, and what
        it shows is resized to the crop; 1 switches it off.
    symmetries: one of the eight symmetries of the square, uniformly.
    colour: strength in [0, 1] of the jitter of brightness, contrast and saturation; hue a fifth of it. Bands
        other than RGB have brightness and contrast alone.
    crop_size: side of the crops in pixels.
    """

    def __init__(self, crop_size: int, scale: float = 1.5, symmetries: bool = True, colour: float = 0.3) -> None:
        if scale < 1 or not 0 <= colour <= 1:
            raise InputError(f"augment.scale={scale}, augment.colour={colour}: give a factor from 1 on, and 0 to 1.")
        self.scale = scale
        self._crop = Window(0, 0, crop_size, crop_size)
        points = A.KeypointParams(format="xy", remove_invisible=False, label_fields=["labels"])
        often = 0.8 * (colour > 0)
        rgb = A.ColorJitter(*[(1 - colour, 1 + colour)] * 3, hue=(-colour / 5, colour / 5), p=often)
        bands = A.RandomBrightnessContrast((-colour, colour), (-colour, colour), p=often)
        self._resize = A.Compose([A.Resize(crop_size, crop_size)], keypoint_params=points)
        self._change, self._change_bands = (
            A.Compose([A.D4(p=symmetries), jitter], keypoint_params=points) for jitter in (rgb, bands)
        )

    def window(
        self, window: Window, shape: Shape, rng: np.random.Generator, anchor: tuple[float, float] | None = None
    ) -> Window:
        """`window` enlarged or shrunk by the random scale about the position `anchor`, or a random pixel of the scene.

        About its centre would not do: that of an overhanging window may lie outside the scene.
        """
        factor = float(self.scale ** rng.uniform(-1, 1))
        side = round(window.height * factor)
        row, col = anchor or (
            rng.uniform(max(window.row, 0), min(window.row + window.height, shape[0])),
            rng.uniform(max(window.col, 0), min(window.col + window.width, shape[1])),
        )
        start_row = round(row - (row - window.row) * side / window.height)
        start_col = round(col - (col - window.col) * side / window.width)
        return Window(start_row, start_col, side, side)

    def __call__(
        self, image: UInt8[np.ndarray, "h w c"], points: Points, rng: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "crop crop c"], Points]:
        """A square image and the points in its frame → the crop and the points in the crop's frame."""
        xy = np.stack([points.cols, points.rows], axis=1)
        labels = points.labels
        if image.shape[:2] != self._crop[2:]:
            resized = self._resize(image=image, keypoints=xy + 0.5, labels=labels)
            image, xy = resized["image"], resized["keypoints"] - 0.5
        change = self._change if image.shape[2] == 3 else self._change_bands
        change.set_random_seed(int(rng.integers(2**31)))
        changed = change(image=image, keypoints=xy, labels=labels)
        cols, rows = np.asarray(changed["keypoints"], np.float64).reshape(-1, 2).T
        moved = Points(rows, cols, np.asarray(changed["labels"], np.int64).reshape(-1))
        return changed["image"], moved.crop(self._crop)
