"""Imagery without masks, and the points that a person labelled on it."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from pointseg.annotation import identity, kept
from pointseg.annotation import names as spelling
from pointseg.annotation.given import Given
from pointseg.annotation.places import in_scene
from pointseg.colours import colours
from pointseg.datasets.held_out import Blocks, hold_out
from pointseg.errors import Faults, InputError, counted
from pointseg.imagery.paths import find, listed
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.types import IGNORE, Dataset, Points, Shape, Window

log = logging.getLogger(__name__)

Name = str | int | float | bool | None
KEPT = ["row", "col", "name", "split"]
SHOWN = 10  # classes that a message lists
FEW = 3  # points of a class, below which it is asked about
HELD_OUT = {"train": "", "val": " (val)", "test": " (test)"}
"""What is added to a scene's id in each split: the points of one scene are divided between them."""


@dataclass(frozen=True)
class PointScene:
    """A raster whose truth is known at some points only."""

    id: str
    raster: Raster
    points: Points

    @property
    def group(self) -> str:
        return self.raster.id

    @property
    def shape(self) -> Shape:
        return self.raster.shape

    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]:
        return self.raster.image(window)

    def mask(self, window: Window) -> UInt8[np.ndarray, "h w"]:
        mask = np.full((window.height, window.width), IGNORE, np.uint8)
        inside = self.points.crop(window)
        mask[inside.rows.astype(int), inside.cols.astype(int)] = inside.labels
        return mask

    def has_truth(self, window: Window) -> bool:
        return len(self.points.crop(window)) > 0


def field(
    images: str | Sequence[str],
    bands: Sequence[int] | None,
    classes: Mapping[Name, str] | Sequence[Name] | None,
    not_land_cover: Sequence[Name],
    val: float,
    test: float,
    block: int,
    split_seed: int,
    annotation: Given,
    points: str | Sequence[str] | None,
    nodata: Sequence[float] | None = None,
) -> Dataset:
    """The images, and the points on them of the files `points` as `annotation` reads them.

    images: see `imagery.paths.find`. bands: numbers of the bands to use, from 1, the RGB bands first
        for pretrained weights; None: all but an alpha band.
    classes: names, or names and their colours on the map as {water: '#0000FF'}; None: those in the file. Names are
        compared as `annotation.names.key` says.
    val, test: about the share of the points held out, in whole blocks of `block` pixels a side (neighbouring
        points are alike: scores at points beside those of training flatter), by split_seed.
    points: files or patterns, or the folder `points` of a run on the same images.
    nodata: values without data beside those that the images declare; None: those that are found to be none.
    Raises InputError for images or points that cannot be used.
    """
    if points is None:
        raise InputError("points: give the file of labelled points, as in points=field.gpkg.")
    blocks = Blocks({"val": val, "test": test}, block, split_seed)
    opened = open_rasters(find(images, "dataset.images"), bands, nodata=nodata)
    rasters, table, split = _labelled(label_files(points), opened, annotation, blocks)
    names = _names(classes) if classes is not None else sorted(set(table["name"]))
    table["name"] = spelling.respelled(table["name"], names)
    other = spelling.respelled(pd.Series(_names(not_land_cover), dtype="string"), names).tolist()
    _check_classes(table, names, other, points)
    by_split = _scenes(table, split, names, rasters)
    return Dataset(
        tuple(names),
        _palette(classes, names),
        tuple(name not in other for name in names),
        by_split,
        leaks=True,  # of the ground between a scene's points, which `block` keeps apart; none of labels
        bands=rasters[0].bands,
        points={scene.id: scene.points for held in by_split.values() for scene in held},
    )


def label_files(points: str | Sequence[str]) -> list[Path]:
    """The files of names and patterns; a name that fits none is left for its reader to refuse."""
    files = []
    for entry in [points] if isinstance(points, str) else points:
        for name in listed(entry, "points"):
            found = [] if Path(name).exists() else sorted(glob(name, recursive=True))
            files += [Path(file) for file in found or [name]]
    return files


def _names(classes: Mapping[Name, str] | Sequence[Name]) -> list[str]:
    """Numbers, truth values and null are names as well, as written. Raises InputError for one that stands twice."""
    names = [spelling.clean(name if isinstance(name, str) else json.dumps(name)) for name in classes]
    if double := spelling.alike(names):
        raise InputError(f"dataset.classes: {double[0][0]!r} and {double[0][1]!r} are one name; leave one out.")
    return names


def _labelled(
    files: Sequence[Path], rasters: Sequence[Raster], annotation: Given, blocks: Blocks
) -> tuple[Sequence[Raster], pd.DataFrame, np.ndarray]:
    """The rasters, the labelled pixels of the files or of a run's folder (see `Given.read`), and the split of each."""
    if len(files) == 1 and files[0].is_dir() and files[0].suffix != ".gdb":
        # Under the names that they have there, whatever else lies beside them now.
        kept_as = [identity.scene_of(files[0], raster) or raster.id for raster in rasters]
        rasters = [replace(raster, id=name) for raster, name in zip(rasters, kept_as, strict=True)]
        return rasters, *_reloaded(files[0], rasters)
    table = annotation.read(files, rasters)
    split = hold_out(table, [raster.id for raster in rasters], blocks)
    _warn(table, split)
    return rasters, table, split


def _check_classes(
    table: pd.DataFrame, names: Sequence[str], not_land_cover: Sequence[str], points: str | Sequence[str]
) -> None:
    """Raises InputError where the points have other classes than these, or where these make no map."""
    others = table["name"][~table["name"].isin(names)]
    if len(others):
        counts = ", ".join(f"{name} ({n})" for name, n in others.value_counts().sort_index().items())
        raise InputError(
            f"points={points}: there are classes that dataset.classes does not name: {counts}; add them there, or mend "
            "the file."
        )
    if len(names) < 2:
        raise InputError(f"points={points}: has only one class ({', '.join(names)}); label points of at least two.")
    if wrong := set(not_land_cover) - set(names):
        raise InputError(f"dataset.not_land_cover: {', '.join(sorted(wrong))} is no class; {', '.join(names)} are.")


def _scenes(
    table: pd.DataFrame, split: np.ndarray, names: Sequence[str], rasters: Sequence[Raster]
) -> dict[str, list[PointScene]]:
    """The scenes of each split: the rasters with points of it, each with these points."""
    labels = table["name"].map({name: label for label, name in enumerate(names)}).to_numpy(np.int64)
    by_split: dict[str, list[PointScene]] = {}
    for name in ("train", "val", *(["test"] if (split == "test").any() else [])):
        chosen = split == name
        by_split[name] = [
            PointScene(f"{rasters[i].id}{HELD_OUT[name]}", rasters[i], _points(rows, labels[chosen][rows.index]))
            for i, rows in table[chosen].reset_index(drop=True).groupby("scene")
        ]
    return by_split


def _points(rows: pd.DataFrame, labels: np.ndarray) -> Points:
    return Points(rows["row"].to_numpy(np.float64), rows["col"].to_numpy(np.float64), labels)


def _palette(classes: Mapping[Name, str] | Sequence[Name] | None, names: Sequence[str]) -> UInt8[np.ndarray, "k 3"]:
    drawn: Sequence[int] = colours(len(names))
    if isinstance(classes, Mapping):
        try:
            drawn = [int(colour.removeprefix("#"), 16) for colour in classes.values()]
        except ValueError as error:
            raise InputError(f"dataset.classes={dict(classes)}: write colours as '#RRGGBB'.") from error
    return np.array([[c >> 16 & 255, c >> 8 & 255, c & 255] for c in drawn], np.uint8)


def _warn(table: pd.DataFrame, split: np.ndarray) -> None:
    """Say what was held out, and name classes with so few points that they may be slips of the pen."""
    counts = table["name"][split == "val"].value_counts()
    listed = _shown([f"{name}: {n}" for name, n in counts.items()])
    held = counted(int(counts.sum()), "labelled pixel", "labelled pixels")
    log.info("Held out for validation: %s (%s)", held, listed)
    totals = table["name"].value_counts()
    if absent := _shown(sorted(set(totals.index) - set(counts.index))):
        log.warning(
            "No point of %s is held out, so its IoU cannot be measured: it is 0 if the map shows the class at any "
            "held-out point, and missing otherwise.",
            absent,
        )
    if weak := _shown([f"{name} ({n})" for name, n in counts.items() if 0 < n < FEW]):
        log.warning("For validation there are only few points of %s: the scores of these classes say little.", weak)
    if few := _shown([f"{name} ({n})" for name, n in totals.items() if n < FEW]):
        log.warning(
            "Classes of fewer than %d points: %s. Slips of the pen? Name the classes meant in dataset.classes.",
            *(FEW, few),
        )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def kept_points(folder: Path, raster: Raster) -> pd.DataFrame:
    """row, col, name and split of the points that a run keeps in `folder` of this raster; there may be none.

    They are in the raster's pixels, whatever extent or grid its file had when they were kept (see `identity.placed`).
    """
    scene = identity.scene_of(folder, raster)
    if scene is None:
        return pd.DataFrame(columns=KEPT)
    return identity.placed(_kept(folder, scene), scene, folder, raster)


def _kept(folder: Path, scene: str) -> pd.DataFrame:
    files = {split: folder / f"{scene}{suffix}.csv" for split, suffix in HELD_OUT.items()}
    parts = [
        pd.DataFrame(kept.read(file), columns=KEPT[:-1]).assign(split=split)
        for split, file in files.items()
        if file.is_file()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=KEPT)


def labelled_ground(folder: Path, raster: Raster) -> pd.DataFrame:
    """row and col in this raster of all points that a run keeps in `folder`, whichever of its images they lie in."""
    own = identity.scene_of(folder, raster)
    others = [scene for scene in identity.known(folder) if scene != own]
    moved = [identity.on_ground(_kept(folder, scene), scene, folder, raster) for scene in others]
    return pd.concat([kept_points(folder, raster), *moved], ignore_index=True)[["row", "col"]]


def _known(folder: Path) -> str:
    files = [str(facts["file"]) for facts in identity.known(folder).values()]
    return _shown(files or sorted(file.stem for file in folder.glob("*.csv"))) or "none"


def _check_same(folder: Path, rasters: Sequence[Raster]) -> None:
    """Raises InputError for other images under the names of a run's own, where points have no place."""
    with Faults() as faults:
        for raster in rasters:
            if identity.scene_of(folder, raster) is None and identity.holds_file(folder, raster.file):
                faults.add(
                    f"{raster.file}: is not the image that the points in {folder} were kept of: it has "
                    f"{raster.shape[0]}×{raster.shape[1]} pixels (rows × columns), other than then, and no map "
                    "coordinates join the two. Restore the image, or label the new one."
                )


def _reloaded(folder: Path, rasters: Sequence[Raster]) -> tuple[pd.DataFrame, np.ndarray]:
    """The points that a run kept, and the split that it made of them."""
    _check_same(folder, rasters)
    parts = [kept_points(folder, raster).assign(scene=i) for i, raster in enumerate(rasters)]
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise InputError(
            f"points={folder}: holds no points on these images. Its own are {_known(folder)}; give those, as they "
            "were when the points were kept, or copies of them under their names."
        )
    if len(beyond := table[~in_scene(table, rasters)]):
        listed = ", ".join(f"{rasters[row.scene].id}: row {row.row}, col {row.col}" for row in beyond[:5].itertuples())
        raise InputError(
            f"points={folder}: {counted(len(beyond), 'point lies', 'points lie')} outside their scenes ({listed}, …); "
            "restore the file."
        )
    return table, np.asarray(table["split"], str)
