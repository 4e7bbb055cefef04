"""From labelled points to the map of a whole scene: Tile 7 of the aerial dataset, its nine images put together.

python -m benchmarks.field --weights mobilenet_v2-imagenet.pth    # 6 minutes of one core; again: goes on

The points are drawn from the masks, equally many of each class, as a person would look for each; nothing else of the
masks is used before the map is scored against them. Writes benchmarks/field.md.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import rasterio
import torch
from omegaconf import OmegaConf
from rasterio.transform import Affine, from_origin

from benchmarks.common import table
from pointseg import metrics
from pointseg.config import CONF, construct
from pointseg.prediction.windows import cover
from pointseg.types import IGNORE, Dataset, whole

TILE = 7
CRS = "EPSG:32640"  # UTM zone 40 north, where Dubai lies; the dataset says neither place nor scale
TRANSFORM = from_origin(325_000, 2_785_000, 0.5, 0.5)
TILE_SIZE, OVERLAP = 256, 64  # of the windows: experiment=trained_field's


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("outputs/field"), help="where scene, run and maps lie")
    parser.add_argument("--weights", required=True, help="the encoder's, for model.weights")
    parser.add_argument("--points", type=int, default=40, help="of each class")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    dataset, image, mask = put_together()
    write_scene(folder / "scene.tif", image)
    draw(mask, dataset.classes, arguments.points, arguments.seed).to_file(folder / "points.gpkg")
    run, scene = f"run={folder}/run", f"input={folder}/scene.tif"
    points = [f"dataset.images={folder}/scene.tif", f"points={folder}/points.gpkg", "annotation.column=class"]
    seeded = [f"seed={arguments.seed}", f"model.weights={arguments.weights}"]
    command("train", "experiment=trained_field", *points, *seeded, f"hydra.run.dir={folder}/run", "resume=true")
    command("predict", run, scene, f"output={folder}/map.tif", "probabilities=true", "calibrated=false")
    command("calibrate", run, scene, "prior=estimate")
    command("predict", run, scene, f"output={folder}/calibrated.tif")
    (Path(__file__).parent / "field.md").write_text(report(folder, arguments, dataset, mask))


def put_together(tile: int = TILE) -> tuple[Dataset, np.ndarray, np.ndarray]:
    """The dataset without "Unlabeled", and the image (h, w, 3) and mask (h, w) of the whole tile."""
    content = OmegaConf.load(CONF / "dataset/aerial.yaml")
    dataset: Dataset = construct(dict(OmegaConf.merge(content, {"unlabeled": "ignore"})))
    scenes = {scene.id: scene for split in dataset.splits.values() for scene in split}
    parts = [scenes[f"Tile {tile}/image_part_{part:03}"] for part in range(1, 10)]
    images, masks = zip(*((part.image(whole(part)), part.mask(whole(part))) for part in parts), strict=True)
    return dataset, _joined(images), _joined(masks)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.concatenate(parts[row : row + 3], axis=1) for row in (0, 3, 6)])


def write_scene(file: Path, image: np.ndarray) -> None:
    if file.exists():
        return  # a map of a file that is younger than it would be made anew
    height, width, bands = image.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "tiled": True, "compress": "DEFLATE"}
    with rasterio.open(
        file, "w", **profile, height=height, width=width, count=bands, crs=CRS, transform=TRANSFORM
    ) as f:
        f.write(np.moveaxis(image, -1, 0))


def draw(mask: np.ndarray, classes: Sequence[str], count: int, seed: int) -> geopandas.GeoDataFrame:
    """`count` pixels of each class that the scene has, in degrees as a receiver in the field gives them."""
    rng = np.random.default_rng(seed)
    found = [(name, np.flatnonzero(mask == label)) for label, name in enumerate(classes)]
    drawn = [(name, rng.choice(pixels, min(count, len(pixels)), replace=False)) for name, pixels in found]
    rows, cols = np.unravel_index(np.concatenate([pixels for _, pixels in drawn]), mask.shape)
    x, y = TRANSFORM @ Affine.translation(0.5, 0.5) @ (cols, rows)
    names = np.repeat([name for name, _ in drawn], [len(pixels) for _, pixels in drawn])
    frame = geopandas.GeoDataFrame({"class": names}, geometry=geopandas.points_from_xy(x, y), crs=CRS)
    return frame.to_crs("EPSG:4326")


def command(name: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", f"pointseg.{name}", *arguments], check=True)


def report(folder: Path, arguments: argparse.Namespace, dataset: Dataset, mask: np.ndarray) -> str:
    held_out = json.loads((folder / "run/scores.json").read_text())["val"]["final"]
    low, high = (held_out[f"accuracy/{end}"] for end in ("low", "high"))
    rows = {
        "the network's own": scores(folder / "map.tif", mask, dataset),
        "class shares estimated (`calibrate prior=estimate`)": scores(folder / "calibrated.tif", mask, dataset),
    }
    lines = [[name, f"{s['accuracy']:.3f}", f"{s['miou_all_classes']:.3f}"] for name, s in rows.items()]
    edges = [
        [axis, f"{at:.3f}", f"{low:.3f} to {high:.3f}"]
        for axis, at, low, high in window_edges(folder / "map_probabilities.tif")
    ]
    return "\n".join(
        [
            "# From points to a map\n",
            f"`python -m benchmarks.field --weights {Path(arguments.weights).name} --points {arguments.points} --seed "
            f"{arguments.seed}`; {platform.machine()}, torch {torch.__version__}. Tile {TILE}: {mask.shape[0]:,} × "
            f"{mask.shape[1]:,} pixels, {arguments.points} points of each class.\n",
            f"At the held-out points: accuracy {held_out['accuracy']:.3f} ({low:.3f} to {high:.3f}). On the "
            f"{int((mask != IGNORE).sum()):,} labelled pixels of the scene:\n",
            table(["map", "accuracy", "mean IoU"], lines),
            "Window edges: the mean difference of probabilities between neighbouring pixels across the edges of "
            "windows, as a multiple of that across all other lines; beside it the same of lines 4 to 60 pixels from "
            "the edges, by multiples of the network's stride of 4, whose pattern every window shows: the lowest "
            "and the highest.\n",
            table(["across", "at window edges", "elsewhere"], edges),
        ]
    )


def scores(file: Path, mask: np.ndarray, dataset: Dataset) -> dict[str, float]:
    """Of the class map `file` against the mask, pixels without a class left out."""
    collection = metrics.collection(len(dataset.classes))
    with rasterio.open(file) as f:
        label_of = np.full(IGNORE + 1, IGNORE, np.uint8)  # a run has its classes in an order of its own
        for key, name in f.tags().items():
            if key.startswith("CLASS_"):
                label_of[int(key.removeprefix("CLASS_"))] = dataset.classes.index(name)
        predicted = label_of[f.read(1)]
    collection.update(*(torch.from_numpy(labels.ravel()) for labels in (predicted, mask)))
    return metrics.scores(collection.compute(), dataset.classes, dataset.land_cover)


def window_edges(file: Path) -> list[tuple[str, float, float, float]]:
    """For rows and columns: the ratio at window edges, and the lowest and highest at lines shifted from them."""
    with rasterio.open(file) as f:
        layers = f.read()
    found = []
    for axis, name in ((1, "rows"), (2, "columns")):
        profile = _profile(layers, axis)
        size = len(profile) + 1
        starts = cover(size, TILE_SIZE, OVERLAP)
        edges = np.array(sorted({edge for start in starts for edge in (start, start + TILE_SIZE)} - {0, size}))
        shifted = [_ratio(profile, edges[edges + shift < size] + shift) for shift in range(4, 64, 4)]
        found.append((name, _ratio(profile, edges), min(shifted), max(shifted)))
    return found


def _profile(layers: np.ndarray, axis: int) -> np.ndarray:
    """The mean absolute difference between each line and the next."""
    lines = np.moveaxis(layers, axis, 0)
    return np.array([np.abs(after.astype(np.int16) - line).mean() for line, after in pairwise(lines)])


def _ratio(profile: np.ndarray, edges: np.ndarray) -> float:
    at = np.zeros(len(profile), bool)
    at[edges - 1] = True
    return float(profile[at].mean() / profile[~at].mean())


if __name__ == "__main__":
    main()
