"""How a camera was held: pictures are shown turned by their EXIF entry, while GDAL reads them as they are stored."""

import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Num
from PIL import Image

from pointseg.types import Shape, Window

EXIF = 0x0112  # CIPA DC-008 (Exif 2.32), 4.6.4: 1 to 8
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}


# It is asked for the header alone.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Orientation(NamedTuple):
    """The stored image becomes the one shown: first transposed, then upside down, then mirrored."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def shape(self, stored: Shape) -> Shape:
        return (stored[1], stored[0]) if self.transposed else stored

    def window(self, shown: Window, shape: Shape) -> Window:
        """A window of the image shown, whose shape this is → of the image stored."""
        row = shape[0] - shown.row - shown.height if self.upside_down else shown.row
        col = shape[1] - shown.col - shown.width if self.mirrored else shown.col
        if self.transposed:
            return Window(col, row, shown.width, shown.height)
        return Window(row, col, shown.height, shown.width)

    def turned(self, stored: Num[np.ndarray, "c h w"]) -> Num[np.ndarray, "c height width"]:
        shown = stored.swapaxes(1, 2) if self.transposed else stored
        return shown[:, :: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


AS_STORED = Orientation()


def of_picture(file: Path) -> Orientation:
    """As its EXIF entry says; of what has none, as it is stored."""
    if file.suffix.lower() not in SUFFIXES:
        return AS_STORED
    try:
        with Image.open(file) as picture:
            value = picture.getexif().get(EXIF, 1)
    except Exception:  # PIL knows fewer kinds than GDAL, whose word on damaged files comes first
        return AS_STORED
    return Orientation(value in (5, 6, 7, 8), value in (3, 4, 7, 8), value in (2, 3, 6, 7))
