"""A user's own images and masks: PNG, JPEG or TIFF, dense or sparse, by colours or by integers."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pointseg.colours import colours
from pointseg.errors import Faults, InputError, reading
from pointseg.imagery.decoded import Legend, Scale, Source, check_pairs, check_place, decode
from pointseg.types import IGNORE, SPLITS, Dataset, Scene

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}

Share = float | Sequence[str]
"""Of the groups: a fraction, drawn by seed, or their names."""


def folder(
    images: str,
    masks: str,
    classes: Mapping[str, str | int],
    ignore: Sequence[str | int],
    not_land_cover: Sequence[str],
    scale: Scale,
    group_depth: int,
    groups: str | None,
    group_column: str,
    val: Share,
    test: Share,
    split_seed: int,
) -> Dataset:
    """Every image below `images` with the mask of the same relative path and stem below `masks`.

    classes: name → its value in the masks, all colours ("#RRGGBB") or all integers; their order is that
        of the class indices.
    ignore: values of pixels that carry no label; a value in neither is an error.
    not_land_cover: names of classes left out of the mean over land-cover classes.
    scale: `native`, or the side of the square every image is resized to.
    group_depth: how many leading folders of an image's path name its group; 0: each image is its own.
    groups: a CSV file that names the group of each image instead: the image's path below `images` without its suffix in
        the first column, the group in `group_column`.
    val, test: groups held out.
    Raises InputError where files are missing, damaged or do not fit.
    """
    legend = _legend(classes, ignore)
    if unknown := set(not_land_cover) - set(classes):
        raise InputError(f"dataset.not_land_cover: {', '.join(sorted(unknown))} is no class; {', '.join(classes)} are.")
    image_of, mask_of = _files(Path(images), "dataset.images"), _files(Path(masks), "dataset.masks")
    with Faults() as faults:
        with faults.step():
            check_pairs(image_of, mask_of)
        with faults.step():
            group_of = _groups(image_of, group_depth) if groups is None else _listed(image_of, groups, group_column)
            sources = _sources(image_of, mask_of, group_of)
            for source in sources:
                with faults.step():
                    check_place(source)
            scenes = decode(sources, legend, scale)
    splits = _split(scenes, val, test, split_seed)
    drawn = (list(legend.labels) if legend.colours else colours(len(classes)))[: len(classes)]
    palette = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in drawn], np.uint8)
    return Dataset(tuple(classes), palette, tuple(name not in not_land_cover for name in classes), splits)


def _legend(classes: Mapping[str, str | int], ignore: Sequence[str | int]) -> Legend:
    if not 0 < len(classes) < 254:
        raise InputError(f"dataset.classes: {len(classes)} classes; give 1 to 253, as in {{water: '#0000FF', …}}.")
    values = [*classes.values(), *ignore]
    if len(set(values)) < len(values):
        raise InputError("dataset.classes, dataset.ignore: a value stands twice; each means one thing.")
    colours = {isinstance(value, str) for value in values}
    if len(colours) > 1:
        raise InputError("dataset.classes, dataset.ignore: give all values as colours ('#RRGGBB') or all as integers.")
    keys = [_colour(value) if isinstance(value, str) else value for value in values]
    labels = [*range(len(classes)), *[IGNORE] * len(ignore)]
    return Legend(dict(zip(keys, labels, strict=True)), colours=colours == {True})


def _colour(text: str) -> int:
    try:
        if len(text) != 7 or text[0] != "#":
            raise ValueError
        return int(text[1:], 16)
    except ValueError:
        raise InputError(f"dataset.classes, dataset.ignore: {text!r} is not a colour; write '#RRGGBB'.") from None


def _groups(images: Iterable[str], depth: int) -> dict[str, str]:
    return {key: "/".join(Path(key).parts[:depth]) if depth else key for key in images}


def _listed(images: Iterable[str], file: str, column: str) -> dict[str, str]:
    """The groups that a CSV file gives the images."""
    with reading(Path(file), "a table of groups", "give a CSV file whose first column names the images."):
        table = pd.read_csv(file, dtype=str, index_col=0)
    if column not in table:
        raise InputError(
            f"dataset.groups={file}: has no column {column}; name one of {', '.join(table)} in dataset.group_column."
        )
    of_image = table[column].dropna().groupby(level=0).unique()
    group_of: dict[str, str] = of_image[of_image.map(len) == 1].str[0].to_dict()
    if left := sorted(set(images) - group_of.keys()):
        raise InputError(
            f"dataset.groups={file}: gives {len(left)} of the images no group, or several, as {', '.join(left[:5])}."
        )
    return group_of


def _sources(image_of: Mapping[str, Path], mask_of: Mapping[str, Path], group_of: Mapping[str, str]) -> list[Source]:
    """Every image that has its mask, with it, by name."""
    keys = sorted(image_of.keys() & mask_of.keys())
    return [Source(key, group_of[key], image_of[key], mask_of[key]) for key in keys]


def _files(root: Path, key: str) -> dict[str, Path]:
    """Relative path without suffix → file."""
    if not root.is_dir():
        raise InputError(f"{key}={root}: no such folder.")
    files: dict[str, Path] = {}
    with Faults() as faults:
        for file in sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES):
            name = os.fspath(file.relative_to(root).with_suffix("").as_posix())
            if name in files:
                faults.add(f"{files[name]} and {file} share a name; which is meant? Remove one.")
            files[name] = file
    if not files:
        raise InputError(f"{key}={root}: holds no {', '.join(sorted(SUFFIXES))} file.")
    return files


def _split(scenes: Sequence[Scene], val: Share, test: Share, seed: int) -> dict[str, list[Scene]]:
    groups = sorted({scene.group for scene in scenes})
    left = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    held: dict[str, Sequence[str]] = {}
    for name, share in (("val", val), ("test", test)):
        held[name] = _held_out(f"dataset.{name}", share, groups, left)
        left = [group for group in left if group not in held[name]]
    held["train"] = left
    return {name: [scene for scene in scenes if scene.group in held[name]] for name in SPLITS}


def _held_out(key: str, share: Share, groups: Sequence[str], left: Sequence[str]) -> Sequence[str]:
    """The groups named, or as many of those that are `left` as the share of all asks for, one at least."""
    if isinstance(share, int | float):
        if not 0 < share < 1:
            raise InputError(f"{key}={share}: give a fraction of the groups between 0 and 1, or their names.")
        number = min(max(round(share * len(groups)), 1), len(left))
        return left[len(left) - number :]
    if absent := sorted(set(share) - set(groups)):
        raise InputError(f"{key}: no group {', '.join(absent)}; there are: {', '.join(groups[:20])}.")
    return share
