"""What each contender of the benchmark `alternatives` is given of a pixel."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pointseg.files import writing
from pointseg.models.frozen import Frozen
from pointseg.training.each_point import windows_around
from pointseg.training.point_features import features_at, margin
from pointseg.types import Points, Window

CORES = (512, 1024)  # sides of the windows that are read, without their margins


@dataclass(frozen=True)
class Pixels:
    """n pixels of one image. features: those of model=frozen under the eight symmetries."""

    values: Float[np.ndarray, "n c"]
    classic: Float[np.ndarray, "n f"]
    objects: Float[np.ndarray, "n o"]
    features: Float[Tensor, "n 8 g"]
    labels: Int[np.ndarray, "n"]
    places: Int[np.ndarray, "n 2"]

    def __getitem__(self, chosen: Any) -> "Pixels":
        parts = (self.values[chosen], self.classic[chosen], self.objects[chosen], self.features[chosen])
        return Pixels(*parts, self.labels[chosen], self.places[chosen])

    def alone(self) -> "Pixels":
        """Without the memory of those that it was part of."""
        parts = (self.values, self.classic, self.objects, self.features, self.labels, self.places)
        return Pixels(*(part.clone() if isinstance(part, Tensor) else part.copy() for part in parts))

    @classmethod
    def joined(cls, parts: Sequence["Pixels"]) -> "Pixels":
        def column(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        features = torch.cat([part.features for part in parts])
        return cls(column("values"), column("classic"), column("objects"), features, column("labels"), column("places"))


def read(
    file: Path, image: np.ndarray, mask: np.ndarray, parts: Sequence[Int[np.ndarray, "_"]], network: Frozen
) -> list[Pixels]:
    """What is known of the chosen pixels (flat indices), in the parts in which they were chosen.

    Kept in a file, since it takes most of the time: remove the files once features have changed.
    """
    if not file.is_file():
        pixels = _read(image, mask, np.concatenate(parts), network)
        with writing(file) as partial_file:
            partial_file.write_bytes(pickle.dumps(pixels))
    pixels = pickle.loads(file.read_bytes())
    ends = np.cumsum([len(part) for part in parts])
    return [pixels[end - len(part) : end] for end, part in zip(ends, parts, strict=True)]


def _read(image: np.ndarray, mask: np.ndarray, pixels: Int[np.ndarray, "n"], network: Frozen) -> Pixels:
    rows, cols = np.unravel_index(pixels, mask.shape)
    points = Points(rows.astype(float), cols.astype(float), mask[rows, cols].astype(np.int64))
    scene = Array(image, mask)
    features = torch.zeros(len(points), 8, network.classifier.width, dtype=torch.float16)
    classic: np.ndarray | None = None
    for _, window, own in windows_around([mask.shape], [points], margin(network, 512), CORES):
        shown = scene.image(window)
        at = np.stack([np.zeros(len(own)), rows[own] - window.row, cols[own] - window.col], 1)
        with torch.inference_mode():
            batch = torch.from_numpy(shown.copy()).permute(2, 0, 1)[None]
            features[own] = features_at(network, batch, torch.from_numpy(at).float(), 8).half()
        filtered = of_filters(shown)
        classic = np.zeros((len(points), filtered.shape[2]), np.float32) if classic is None else classic
        classic[own] = filtered[rows[own] - window.row, cols[own] - window.col]
    assert classic is not None
    places = np.stack([rows, cols], 1)
    values, objects = image[rows, cols].astype(np.float32), of_objects(image)[rows, cols]
    return Pixels(values, classic, objects, features, points.labels, places)


@dataclass(frozen=True)
class Array:
    """A scene in memory."""

    pixels: np.ndarray
    labels: np.ndarray
    id: str = ""
    group: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.labels.shape
        return height, width

    def image(self, window: Window) -> np.ndarray:
        return self.pixels[window.row : window.row + window.height, window.col : window.col + window.width]

    def mask(self, window: Window) -> np.ndarray:
        return self.labels[window.row : window.row + window.height, window.col : window.col + window.width]

    def has_truth(self, window: Window) -> bool:
        return True


def of_filters(image: np.ndarray) -> np.ndarray:
    from skimage.feature import multiscale_basic_features

    found = multiscale_basic_features(image, channel_axis=-1, sigma_min=1, sigma_max=16)
    return np.asarray(found, np.float32)


def of_objects(image: np.ndarray) -> np.ndarray:
    """Mean and deviation of each band in the pixel's SLIC object of about 400 pixels, at half the resolution."""
    from skimage.segmentation import slic

    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    objects = slic(small, n_segments=max(small.shape[0] * small.shape[1] // 100, 2), compactness=10, start_label=0)
    counts = np.bincount(objects.ravel())
    means = [np.bincount(objects.ravel(), band.ravel()) / counts for band in np.moveaxis(small.astype(float), 2, 0)]
    squares = [
        np.bincount(objects.ravel(), band.ravel() ** 2) / counts for band in np.moveaxis(small.astype(float), 2, 0)
    ]
    deviations = [np.sqrt(np.maximum(s - m * m, 0)) for s, m in zip(squares, means, strict=True)]
    of_pixel = cv2.resize(objects.astype(np.float64), image.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(int)
    return np.stack([*means, *deviations], 1).astype(np.float32)[of_pixel]
