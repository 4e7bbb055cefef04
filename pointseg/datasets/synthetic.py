"""Procedural scenes for trying things without a download, written in exactly Kaggle's layout.

Land, water, vegetation, a road network, buildings along the roads with their shadows, sensor noise
and a colour shift between tiles. Roofs share the colours of roads and of land, shadows those of
water, so that colour alone does not tell the classes apart; shape and surroundings do.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from pointseg import progress
from pointseg.datasets.aerial import COLOURS, CUTS, INNER, aerial
from pointseg.errors import InputError
from pointseg.imagery.decoded import cache_folder
from pointseg.types import Dataset

_FORMAT = 1  # raise it when the scenes of a seed change
_CLASS = {name: label for label, name in enumerate(COLOURS)}
_BLACK = len(COLOURS)
# Means of the materials in RGB; several classes draw from the same ones.
_SAND, _EARTH, _ASPHALT, _TILE = (196, 174, 138), (164, 138, 106), (128, 126, 124), (158, 96, 74)
_LEAF, _GRASS, _DEEP, _SHALLOW = (74, 92, 58), (120, 126, 78), (62, 82, 92), (104, 118, 112)
_ROOFS = (_ASPHALT, _SAND, _TILE, (206, 202, 194), _EARTH)

Rgb = tuple[int, int, int]


def synthetic(tiles: int, size: int, seed: int, split: dict[str, list[int]]) -> Dataset:
    """`tiles` scenes of size×size pixels, each cut 3×3, read as the aerial dataset is.

    seed: decides every pixel. split: the tiles (from 1) of train, val and test.
    """
    if size < 96 or size % CUTS:
        raise InputError(f"dataset.size={size}: give a multiple of {CUTS} from 96 on; each tile is cut {CUTS}×{CUTS}.")
    root = write(tiles, size, seed)
    return aerial(str(root), "native", "class", "tiles", fold=0, folds=[split], split_seed=0)


def write(tiles: int, size: int, seed: int) -> Path:
    """The folder of the scenes, in Kaggle's layout; written once into the cache."""
    key = hashlib.sha256(repr((_FORMAT, tiles, size, seed)).encode()).hexdigest()[:16]
    folder = cache_folder() / "synthetic" / key
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        (partial / INNER).mkdir()
        classes = [{"title": name, "color": f"#{colour:06X}"} for name, colour in COLOURS.items()]
        (partial / INNER / "classes.json").write_text(json.dumps({"classes": classes}, indent=2))
        for tile in progress.over(range(1, tiles + 1), "drawing scenes, once", "scene"):
            image, labels = draw(size, np.random.default_rng([seed, tile]))
            _write_tile(partial / INNER / f"Tile {tile}", image, labels, palette=tile % 4 == 2)
        try:
            partial.rename(folder)
        except OSError:  # another process was first; its scenes are the same
            shutil.rmtree(partial)
    return folder


def _write_tile(
    folder: Path, image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"], palette: bool
) -> None:
    side = len(labels) // CUTS
    colours = [channel for colour in [*COLOURS.values(), 0] for channel in colour.to_bytes(3, "big")]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for part in range(CUTS * CUTS):
        row, col = side * (part // CUTS), side * (part % CUTS)
        cut = np.s_[row : row + side, col : col + side]
        mask = Image.fromarray(labels[cut])
        mask.putpalette(colours)
        (mask if palette else mask.convert("RGB")).save(folder / "masks" / f"image_part_{part + 1:03}.png")
        Image.fromarray(image[cut]).save(folder / "images" / f"image_part_{part + 1:03}.jpg", quality=92)


def draw(size: int, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"]]:
    """One scene and its labels (classes in the order of COLOURS, then black)."""
    canvas = _Canvas(size, rng)
    canvas.cover("Land", np.ones((size, size), bool), [_SAND, _EARTH])
    canvas.cover("Vegetation", canvas.noise(size / 12) > 0.75, [_LEAF, _GRASS, _EARTH])
    canvas.cover("Water", canvas.noise(size / 5) > 0.95, [_DEEP, _SHALLOW])
    districts = canvas.noise(size / 6) > -0.2
    for road in _roads(size, rng):
        _street(canvas, districts, *road)
    canvas.cover("Unlabeled", canvas.noise(size / 10) > 2.3, [_SAND, _ASPHALT, _EARTH])
    image = _sensor(canvas.image, rng)
    labels = canvas.labels
    if rng.random() < 0.5:  # a corner that nobody annotated, as in the real tiles
        labels[: size // 24, : size // 16] = _BLACK
    return image, labels


class _Canvas:
    """An image and its labels, painted together."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.image = np.zeros((size, size, 3), np.float32)
        self.labels = np.zeros((size, size), np.uint8)

    def noise(self, scale: float) -> Float[np.ndarray, "h w"]:
        """Smooth noise of mean 0 and deviation 1 whose features measure about `scale` pixels."""
        size = len(self.labels)
        coarse = min(size, max(8, round(8 * size / scale)))  # a wide blur costs less on a coarse grid
        white = self.rng.standard_normal((coarse, coarse)).astype(np.float32)
        smooth = cv2.GaussianBlur(white, (0, 0), scale / 2 * coarse / size, borderType=cv2.BORDER_REFLECT)
        smooth = cv2.resize(smooth, (size, size), interpolation=cv2.INTER_CUBIC)
        return np.asarray((smooth - smooth.mean()) / smooth.std())

    def cover(self, name: str, where: Bool[np.ndarray, "h w"], materials: list[Rgb]) -> None:
        """Label `where` and fill it with a mottled mixture of the materials."""
        mixture = np.clip(self.noise(18) * 0.35 + self.noise(4) * 0.25 + 0.5, 0, 1) * (len(materials) - 1)
        stops = np.arange(len(materials))
        for band in range(3):
            values = np.interp(mixture, stops, [material[band] for material in materials])
            self.image[..., band][where] = values[where]
        self.labels[where] = _CLASS[name]

    def paint(self, name: str, draw: Callable[[np.ndarray], object], colour: Rgb) -> None:
        """Label and colour what `draw` draws with value 1 on an empty mask."""
        stencil = np.zeros(self.labels.shape, np.uint8)
        draw(stencil)
        where = stencil > 0
        self.image[where] = np.array(colour) + self.rng.normal(0, 7, (int(where.sum()), 3))
        self.labels[where] = _CLASS[name]

    def shade(self, polygon: np.ndarray) -> None:
        stencil = np.zeros(self.labels.shape, np.uint8)
        cv2.fillConvexPoly(stencil, polygon, (1,))
        self.image[stencil > 0] *= 0.5


Road = tuple[np.ndarray, np.ndarray, int]


def _roads(size: int, rng: np.random.Generator) -> list[Road]:
    """Two families of nearly parallel streets, crossing at an angle: (start, end, width)."""
    angle, roads = rng.uniform(0, np.pi), []
    for turn in (0.0, np.pi / 2 + rng.normal(0, 0.15)):
        forward = np.array([np.cos(angle + turn), np.sin(angle + turn)])
        sideways = np.array([-forward[1], forward[0]])
        offset = -0.7 * size
        while offset < 0.7 * size:
            offset += rng.uniform(0.13, 0.24) * size
            middle = np.full(2, size / 2) + offset * sideways
            tilt = rng.normal(0, 0.06) * sideways
            width = int(rng.choice([5, 7, 11])) * size // 480 + 1
            roads.append((middle - size * (forward + tilt), middle + size * (forward - tilt), width))
    return roads


def _street(
    canvas: _Canvas, districts: Bool[np.ndarray, "h w"], start: np.ndarray, end: np.ndarray, width: int
) -> None:
    """A street, and buildings on both its sides where it runs through a district."""
    rng, size = canvas.rng, len(canvas.labels)
    first, last = (tuple(int(v) for v in point) for point in (start, end))
    shade = int(rng.normal(0, 10))
    colour = tuple(channel + shade for channel in (_ASPHALT if rng.random() < 0.75 else _SAND))
    canvas.paint("Road", lambda stencil: cv2.line(stencil, first, last, (1,), width), colour)  # type: ignore[arg-type]
    length = float(np.hypot(*(end - start)))
    forward = (end - start) / length
    sideways = np.array([-forward[1], forward[0]])
    position = 0.0
    while position < length:
        depth, front = rng.uniform(0.025, 0.05, 2) * size
        for side in (-1, 1):
            centre = start + position * forward + side * (width / 2 + depth / 2 + 0.008 * size) * sideways
            _building(canvas, districts, centre, forward * front / 2, sideways * depth / 2)
        position += front + rng.uniform(0.01, 0.05) * size


def _building(
    canvas: _Canvas, districts: Bool[np.ndarray, "h w"], centre: np.ndarray, half: np.ndarray, deep: np.ndarray
) -> None:
    """A rectangle of the given half axes and its shadow, where the ground is still free."""
    col, row = (int(v) for v in centre)
    size = len(districts)
    if not (0 <= row < size and 0 <= col < size) or not districts[row, col]:
        return
    corners = np.array([centre + a * half + b * deep for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]).astype(np.int32)
    ground = [canvas.labels[y, x] for x, y in [*np.clip(corners, 0, size - 1), (col, row)]]
    if not set(ground) <= {_CLASS["Land"], _CLASS["Vegetation"]}:
        return
    canvas.shade(corners + np.int32(max(size // 120, 2)))
    roof = _ROOFS[canvas.rng.integers(len(_ROOFS))]
    canvas.paint("Building", lambda stencil: cv2.fillConvexPoly(stencil, corners, (1,)), roof)


def _sensor(image: Float[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Blur, a tile's own light and colour, and noise."""
    seen = cv2.GaussianBlur(image, (0, 0), 0.7) * rng.normal(1, 0.07, 3) + rng.normal(0, 8)
    contrast = rng.uniform(0.8, 1.2)
    seen = (seen - seen.mean()) * contrast + seen.mean() + rng.normal(0, 5, image.shape)
    return np.asarray(np.clip(seen, 0, 255), np.uint8)
