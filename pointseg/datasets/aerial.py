"""Semantic segmentation of aerial imagery: Kaggle's 72 images of Dubai, in Kaggle's own layout.

    Semantic segmentation dataset/Tile 1..8/images/image_part_001..009.jpg
    Semantic segmentation dataset/Tile 1..8/masks/image_part_001..009.png

Each tile is one scene cut 3×3, so its nine images are one group. The colours of the masks are those
below, not those of the dataset's classes.json; black (0.56 % of the pixels) is no class at all; the
masks of tiles 2 and 4 are palette images.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pointseg.errors import Faults, InputError
from pointseg.imagery.decoded import Legend, Scale, Source, cache_folder, check_pairs, decode
from pointseg.types import IGNORE, SPLITS, Dataset, Scene

log = logging.getLogger(__name__)

KAGGLE = "humansintheloop/semantic-segmentation-of-aerial-imagery"
PAGE = f"https://www.kaggle.com/datasets/{KAGGLE}"
INNER = "Semantic segmentation dataset"
CUTS = 3  # of a tile, along each side
COLOURS = {
    "Water": 0xE2A929,
    "Land": 0x8429F6,
    "Road": 0x6EC1E4,
    "Building": 0x3C1098,
    "Vegetation": 0xFEDD3A,
    "Unlabeled": 0x9B9B9B,
}
TRAIN_SHARE, VAL_SHARE = 45 / 72, 18 / 72  # of the split by images: the report's sizes; 9 are left to test


def aerial(
    root: str | None,
    scale: Scale,
    unlabeled: Literal["class", "ignore"],
    split: Literal["tiles", "images"],
    fold: int,
    folds: Sequence[Mapping[str, Sequence[int]]],
    split_seed: int,
) -> Dataset:
    """The dataset, decoded once.

    root: the folder that holds it; None looks in $POINTSEG_DATA, then in the cache folder, then asks Kaggle.
    scale: `native`, or the side of the square every image is resized to.
    unlabeled: whether "Unlabeled" is a class like the others or is ignored.
    split: `tiles` holds out the whole tiles that `folds[fold]` names; `images` divides the images at
        random by `split_seed`, although neighbours from one tile then stand on both sides.
    Raises InputError where the dataset is not found, incomplete or damaged.
    """
    folder = find(root)
    kept = {name: colour for name, colour in COLOURS.items() if unlabeled == "class" or name != "Unlabeled"}
    labels = {0x000000: IGNORE, COLOURS["Unlabeled"]: IGNORE}
    labels |= {colour: label for label, colour in enumerate(kept.values())}
    with Faults() as faults:
        found = _sources(folder, faults)
        with faults.step():
            scenes = decode(found, Legend(labels, colours=True), scale)
    if split == "images":
        log.warning("dataset.split=images: images cut from one tile stand in training and evaluation; scores leak.")
        by_split = _by_image(scenes, split_seed)
    else:
        by_split = _by_tile(scenes, folds, fold)
    palette = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in kept.values()], np.uint8)
    land_cover = tuple(name != "Unlabeled" for name in kept)
    return Dataset(tuple(kept), palette, land_cover, by_split, leaks=split == "images", cuts=CUTS)


def _by_tile(
    scenes: Sequence[Scene], folds: Sequence[Mapping[str, Sequence[int]]], fold: int
) -> dict[str, list[Scene]]:
    if not 0 <= fold < len(folds):
        raise InputError(f"dataset.fold={fold}: the yaml names {len(folds)} folds, 0 to {len(folds) - 1}.")
    named = {f"Tile {tile}" for tiles in folds[fold].values() for tile in tiles}
    if absent := named - {scene.group for scene in scenes}:
        raise InputError(f"dataset.folds[{fold}]: {', '.join(sorted(absent))} named, but not in the dataset.")
    return {
        split: [scene for tile in folds[fold].get(split, ()) for scene in scenes if scene.group == f"Tile {tile}"]
        for split in SPLITS
    }


def _by_image(scenes: Sequence[Scene], seed: int) -> dict[str, list[Scene]]:
    order = np.random.default_rng(seed).permutation(len(scenes))
    train = round(TRAIN_SHARE * len(scenes))
    val = train + round(VAL_SHARE * len(scenes))
    parts = np.split(order, [train, val])
    return {split: [scenes[i] for i in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)}


def find(root: str | None) -> Path:
    """The folder of the tiles, from `root`, $POINTSEG_DATA, the cache folder or Kaggle, in that order.

    A place that is named must hold the dataset: the next one is never tried in its stead.
    """
    named = {"dataset.root": root, "$POINTSEG_DATA": os.environ.get("POINTSEG_DATA")}
    for origin, place in named.items():
        if place:
            if found := _tiles_in(Path(place)):
                return found
            what = "no dataset there" if Path(place).is_dir() else "no such folder"
            raise InputError(_not_found(f"{origin}={place}: {what}.", Path(place)))
    cached = cache_folder() / KAGGLE.rpartition("/")[2]
    return _tiles_in(cached) or _download(cached)


def _tiles_in(folder: Path) -> Path | None:
    candidates = (folder, folder / INNER)
    return next((place for place in candidates if any(place.glob("Tile */images"))), None)


def _download(cached: Path) -> Path:
    import kagglehub  # needs a second to import, and only here

    try:
        folder = Path(kagglehub.dataset_download(KAGGLE))
    except Exception as error:  # requests, kagglehub and the operating system each raise their own
        raise InputError(_not_found(f"The dataset could not be downloaded ({error}).", cached)) from error
    if found := _tiles_in(folder):
        return found
    raise InputError(_not_found(f"{folder}: what was downloaded is not the dataset.", folder))


def _not_found(what: str, folder: Path) -> str:
    return (
        f"{what}\n"
        f"  looked in: {folder.absolute()}\n"
        f"  page:      {PAGE}\n"
        f"  layout:    {INNER}/Tile 1..8/images/image_part_001.jpg … and masks/image_part_001.png …\n"
        "Unpack it and give its folder with dataset.root=<folder> or $POINTSEG_DATA; "
        "to try pointseg without it: dataset=synthetic."
    )


def _sources(folder: Path, faults: Faults) -> list[Source]:
    """Every image that has its mask, with it, by tile and part; `faults` learns of those that stand alone."""
    images, masks = (
        {(file.parts[-3], file.stem): file for file in folder.glob(f"Tile */{pattern}")}
        for pattern in ("images/*.jpg", "masks/*.png")
    )
    with faults.step():
        check_pairs(images, masks)
    keys = sorted(images.keys() & masks.keys(), key=lambda key: (len(key[0]), *key))  # Tile 10 after Tile 9
    return [Source(f"{tile}/{part}", tile, images[tile, part], masks[tile, part]) for tile, part in keys]
