"""A small georeferenced site: imagery, points, and what is true there."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from rasterio.transform import Affine, from_origin

CRS = "EPSG:32640"
ORIGIN = from_origin(300_000, 2_800_000, 0.5, 0.5)
NAMES = ("grass", "sand", "water")


def truth(height: int, width: int) -> np.ndarray:
    """Blocks of 16 pixels of three classes."""
    blocks = np.random.default_rng(3).integers(0, 3, (height // 16 + 1, width // 16 + 1))
    return np.kron(blocks, np.ones((16, 16), int))[:height, :width].astype(np.uint8)


def write_image(file: Path, shape: tuple[int, int] = (96, 128), **options: Any) -> np.ndarray:
    """A GeoTIFF whose bands tell the class apart; its labels. options: bands, dtype, crs, transform, nodata, hole."""
    bands, dtype = options.pop("bands", 3), options.pop("dtype", "uint8")
    hole, offset = options.pop("hole", None), options.pop("offset", 0)
    labels = truth(*shape)
    noise = np.random.default_rng(0).normal(0, 5, (bands, *shape))
    values = np.stack([60 + 70 * ((labels + band) % 3) for band in range(bands)]) + noise
    values = {"uint8": values, "uint16": values * 20 + 1000, "float32": values / 255}[dtype].astype(dtype)
    if hole is not None:
        values[:, hole[0], hole[1]] = options["nodata"]
    profile = {"crs": CRS, "transform": ORIGIN * Affine.translation(offset, 0), **options}
    if profile["crs"] is None:
        profile = {key: value for key, value in profile.items() if key not in ("crs", "transform")}
    profile |= {"height": shape[0], "width": shape[1], "count": bands, "dtype": dtype}
    file.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(file, "w", driver="PNG" if file.suffix == ".png" else "GTiff", **profile) as dataset:
        dataset.write(values)
    return labels


def pixels(labels: np.ndarray, each: int = 12) -> list[tuple[int, int, str]]:
    """(row, col, class name) of `each` random pixels of every class."""
    rng = np.random.default_rng(1)
    chosen = [int(i) for label in range(3) for i in rng.choice(np.flatnonzero(labels == label), each, replace=False)]
    return [(i // labels.shape[1], i % labels.shape[1], NAMES[labels.flat[i]]) for i in chosen]


def frame(points: list[tuple[int, int, str]], transform: Affine = ORIGIN, crs: Any = CRS) -> geopandas.GeoDataFrame:
    """The points at the centres of their pixels, on the map."""
    x, y = zip(*[transform * (col + 0.5, row + 0.5) for row, col, _ in points], strict=True)
    return geopandas.GeoDataFrame(
        {"class": [name for _, _, name in points]}, geometry=geopandas.points_from_xy(x, y), crs=crs
    )
