"""Scenes of two classes that are easy to tell apart, on imagery of any kind, and what a user's commands make of them.

A case builds its scene in a folder (`Site`), and `journey` goes the user's way: train, predict, and the map against the
truth, by place and class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from rasterio.transform import Affine

from pointseg.config import CONF
from tests.site import CRS, ORIGIN

SHAPE = (96, 128)
CLASSES = ("bare", "crop")


def truth(shape: tuple[int, int] = SHAPE, seed: int = 3) -> np.ndarray:
    """Blocks of 16 pixels of two classes."""
    blocks = np.random.default_rng(seed).integers(0, 2, (shape[0] // 16 + 1, shape[1] // 16 + 1))
    return np.kron(blocks, np.ones((16, 16), int))[: shape[0], : shape[1]].astype(np.uint8)


def values(
    labels: np.ndarray, bands: int = 3, levels: Sequence[float] = (300, 500), noise: float = 0.05, seed: int = 0
) -> np.ndarray:
    """(bands, h, w): every second band has the first class bright. noise: in parts of the levels' difference."""
    rng = np.random.default_rng(seed)
    low, high = levels
    share = np.stack([labels if band % 2 == 0 else 1 - labels for band in range(bands)])
    return low + (high - low) * (share + rng.normal(0, noise, share.shape))


def write(file: Path, bands: np.ndarray, dtype: str = "uint16", **profile: Any) -> None:
    """profile: of rasterio; those of `after` are set on the open dataset. crs=None: without any place."""
    after = profile.pop("after", None)
    options = {"crs": CRS, "transform": ORIGIN, **profile}
    options = {key: value for key, value in options.items() if value is not None}
    drivers = {".png": "PNG", ".jpg": "JPEG"}
    file.parent.mkdir(parents=True, exist_ok=True)
    if np.dtype(dtype).kind in "ui":
        bands = np.round(bands)
    count, height, width = bands.shape
    with rasterio.open(
        file,
        "w",
        driver=drivers.get(file.suffix, "GTiff"),
        count=count,
        height=height,
        width=width,
        dtype=dtype,
        **options,
    ) as dataset:
        dataset.write(bands.astype(dtype))
        if after is not None:
            after(dataset)


def clicks(labels: np.ndarray, each: int = 20, seed: int = 1) -> pd.DataFrame:
    """row, col and class of `each` random pixels of both classes; labels of 255 are of none."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == label), each, replace=False) for label in (0, 1)])
    rows, cols = np.unravel_index(chosen, labels.shape)
    return pd.DataFrame({"row": rows, "col": cols, "class": np.array(CLASSES)[labels.flat[chosen]]})


def on_map(points: pd.DataFrame, transform: Affine = ORIGIN) -> pd.DataFrame:
    x, y = transform * (points["col"].to_numpy() + 0.5, points["row"].to_numpy() + 0.5)
    return pd.DataFrame({"x": x, "y": y, "class": points["class"]})


@dataclass
class Site:
    """A folder with images, points and options, and what is true of each image that is to be mapped.

    truths: image → its classes, 255 where the map must have no data, 254 where anything may be.
    """

    folder: Path
    truths: dict[str, np.ndarray] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    points: str = "points.csv"

    def image(self, name: str, labels: np.ndarray, bands: np.ndarray, dtype: str = "uint16", **profile: Any) -> None:
        write(self.folder / name, bands, dtype, **profile)
        self.truths[name] = labels

    def click(self, labels: np.ndarray, **options: Any) -> None:
        clicks(labels, **options).to_csv(self.folder / self.points, index=False)


Build = Callable[[Site], None]


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, list(overrides))


def quoted(path: Path) -> str:
    """For Hydra's grammar."""
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"


def train_on(site: Site, *overrides: str, run: str = "run") -> Path:
    """The folder of a run on the site's first image."""
    from pointseg.training.train import train

    first = next(iter(site.truths))
    given = [option.split("=")[0] for option in (*site.options, *overrides)]
    basic = {
        "dataset.images": quoted(site.folder / first),
        "points": quoted(site.folder / site.points),
        "model.encoder": "null",
        "model.head": "linear",
        "dataset.block": "8",
        "trainer.accelerator": "cpu",
        "+trainer.enable_progress_bar": "false",
    }
    defaults = [f"{key}={value}" for key, value in basic.items() if key not in given]
    train(composed("train", "experiment=field", *defaults, *site.options, *overrides), site.folder / run, {})
    return site.folder / run


def map_of(site: Site, run: Path, image: str, *overrides: str) -> np.ndarray:
    """The classes of the map, by their number in CLASSES; 255 where it has no data."""
    from pointseg.maps.predict import predict

    output, listed = site.folder / f"{run.stem}_{len(list(site.folder.iterdir()))}.tif", site.folder / "input.txt"
    listed.write_text(str(site.folder / image))  # names may be such as Hydra refuses
    predict(composed("predict", f"run={quoted(run)}", f"input='@{listed}'", f"output={output}", *overrides))
    with rasterio.open(output) as dataset:
        return np.asarray(dataset.read(1))


def accuracy(classes: np.ndarray, labels: np.ndarray) -> float:
    """The worse class's share of pixels that are right; where there must be no data, it counts as a class."""
    if classes.shape != labels.shape:
        return 0.0
    return min(float((classes[labels == label] == label).mean()) for label in np.unique(labels[labels != 254]))


def journey(site: Site, *overrides: str) -> dict[str, float]:
    """Train on the first image, map all; the accuracy of each map."""
    run = train_on(site, *overrides)
    return {image: accuracy(map_of(site, run, image), labels) for image, labels in site.truths.items()}
