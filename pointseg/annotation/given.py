"""Labels that a person gave: points, lines and polygons in files of any origin (see `readers`)."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pointseg.annotation import identity, names, places, shapes, wording
from pointseg.annotation.readers import files
from pointseg.annotation.readers.labels import Columns, Labels
from pointseg.errors import Faults, InputError, counted
from pointseg.imagery.rasters import Raster
from pointseg.types import Dataset, Points, Scene

log = logging.getLogger(__name__)

Rule = Literal["skip", "refuse"]


@dataclass(frozen=True)
class Given:
    """The labels of files, as pixels of scenes. Which of them are held out: see `datasets.held_out`.

    A table (CSV) has the columns x and y (map coordinates; also lon, lat or longitude, latitude) or row and
    col (whole pixels from the top left, and scene, where there are several). A scene is named by its id, the
    name of its file or the end of its path.

    column: the one that names the class; None: the name of the file does. A point without a class is not labelled yet
        and left out.
    layer: of a GeoPackage that has several; one of these or more.
    crs: of the coordinates, as EPSG:32640, where the file does not say it.
    outside, nodata, contradicting: what becomes of points in no scene, on pixels without data, and of
        pixels that are given two classes: left out and counted, or an error. Points that repeat
        a pixel and its class are one.
    scene: the column that names the scene of a label on the map, in full or by a part such as its date; None: it
        counts in all scenes of its ground, of which
    several: says whether to use all or the first, by their names.
    per_shape: pixels drawn at random of each line and polygon.
    """

    column: str | None
    layer: str | Sequence[str] | None
    crs: str | None
    outside: Rule
    nodata: Rule
    contradicting: Rule
    scene: str | None = None  # runs kept before there were these keys have none
    several: Literal["all", "first", "refuse"] = "all"
    per_shape: int = 50

    def __post_init__(self) -> None:
        if self.per_shape < 1:
            raise InputError(f"annotation.per_shape={self.per_shape}: give 1 pixel at least of each line and polygon.")

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterator[Points]:
        """The points that the dataset was read with. Raises InputError for a dataset that has none."""
        if dataset.points is None:
            raise InputError("annotation=given: this dataset has masks and no points of a person; use dataset=field.")
        points = dataset.points
        return (points[scene.id] for scene in scenes)

    def read(self, paths: Sequence[Path], scenes: Sequence[Raster]) -> pd.DataFrame:
        """The labelled pixels: scene (index into `scenes`), row, col, name (of the class), one line a pixel.

        point is the same for what one point or shape labels, in however many scenes it lies.
        Raises InputError where a file cannot be read, lacks what is needed, or has what a rule refuses.
        """
        listed = ", ".join(map(str, paths))
        labels = self._labels(paths)
        total = sum(len(part.frame) for part in labels)
        named = [replace(part, frame=part.frame[part.frame["name"].notna()]) for part in labels]
        table = pd.concat([_plain(part) for part in named], ignore_index=True)
        table["name"] = names.unified(table["name"], table["raw"])
        placed = self._placed(named, table["name"].to_numpy(object), scenes)
        outside = table.drop(placed["line"].unique())
        drawn = self._of_shapes(placed.assign(valid=places.valid(placed, scenes)))
        _check_found(drawn, scenes)
        why = wording.elsewhere(outside, places.exchanged(named, outside.index.to_numpy(), scenes), scenes)
        used = self._by_rules(listed, outside, why, drawn, scenes)
        unnamed = total - len(table)
        if used.empty:
            advice = f"Is the CRS right? {why}." if len(outside) else "Fill in their column of classes."
            raise InputError(
                f"{listed}: none of its {total} labels can be used: {unnamed} have no class, {len(outside)} lie in no "
                f"scene. {advice}"
            )
        log.info(
            "%s: %s, %d without a class, %d outside; %s in %d of %s",
            *(listed, counted(total, "label", "labels"), unnamed, len(outside)),
            *(counted(len(used), "labelled pixel", "labelled pixels"), used["scene"].nunique()),
            counted(len(scenes), "scene", "scenes"),
        )
        return used.rename(columns={"line": "point"})[["point", "scene", "row", "col", "name"]]

    def _labels(self, paths: Sequence[Path]) -> list[Labels]:
        labels = []
        columns = Columns(self.column, self.layer, self.crs, self.scene)
        with Faults() as faults:
            for path in paths:
                with faults.step():
                    labels.append(files.read(path, columns))
        return labels

    def _placed(self, labels: Sequence[Labels], spelled: np.ndarray, scenes: Sequence[Raster]) -> pd.DataFrame:
        """The pixels (see `places.pixels`) of all labels, each line counted through all files."""
        found, first = [], 0
        with Faults() as faults:
            for part in labels:
                with faults.step():
                    found += [replace(place, lines=place.lines + first) for place in places.find(part, scenes)]
                first += len(part.frame)
        placed = places.pixels(found, spelled, scenes, self.per_shape)
        return self._once(placed[places.in_scene(placed, scenes)].reset_index(drop=True), scenes)

    def _once(self, placed: pd.DataFrame, scenes: Sequence[Raster]) -> pd.DataFrame:
        """Says of labels whose ground several scenes show, and leaves them in those that `several` allows."""
        again = identity.shown_before(placed, scenes)
        labels = placed["line"][again].nunique()
        if not labels:
            return placed
        message = f"{labels} of {placed['line'].nunique()} labels lie on ground that several scenes show"
        if self.several == "refuse":
            raise InputError(f"{message}; choose annotation.several=first or all, or a column in annotation.scene.")
        if self.several == "first":
            log.info("%s; they are used in the first of these.", message)
            return placed[~again].reset_index(drop=True)
        log.warning(
            "%s, and are used in each. If what they name has changed between images, choose with "
            "annotation.several=first or annotation.scene.",
            message,
        )
        return placed

    def _of_shapes(self, placed: pd.DataFrame) -> pd.DataFrame:
        """All points, and of each line and polygon `per_shape` pixels that can be used.

        Of one whose pixels all lack data, one stays, to be counted; where another class's shape lies, none.
        """
        usable = placed["valid"] & ~placed["contested"]
        drawn = shapes.drawn(placed, self.per_shape)
        if count := placed["line"][placed["shape"]].nunique():
            pixels = counted(int((drawn & usable & placed["shape"]).sum()), "pixel", "pixels")
            log.info("%s drawn in %s", pixels, counted(count, "line or polygon", "lines and polygons"))
        kept = placed[drawn]
        if placed["contested"].any():
            _tell_of_overlaps(placed, kept)
        return kept

    def _by_rules(
        self, files: str, outside: pd.DataFrame, why: str, placed: pd.DataFrame, scenes: Sequence[Raster]
    ) -> pd.DataFrame:
        """The pixels that can be used, each once; the others are left out or refused, as the rules say."""
        valid = placed["valid"].to_numpy()
        unique = placed[valid].drop_duplicates(["scene", "row", "col", "name"], ignore_index=True)
        contradicting = unique.duplicated(["scene", "row", "col"], keep=False)
        without, contrary = placed[~valid], unique[contradicting]
        with Faults() as faults:
            for rule, found, where, listing in (
                ("outside", outside, "in no scene", f"{wording.labels(outside)}. {why}"),
                ("nodata", without, "on pixels without data", wording.pixels(without, scenes)),
                ("contradicting", contrary, "where another class is given too", wording.pixels(contrary, scenes)),
            ):
                number = counted(len(found), "label lies", "labels lie")
                with faults.step():
                    self._apply(rule, len(found), f"{files}: {number} {where}: {listing}")
        return unique[~contradicting]

    def _apply(self, rule: str, count: int, found: str) -> None:
        """Leave these points out, or raise InputError, as the rule says."""
        if count and getattr(self, rule) == "refuse":
            raise InputError(f"{found}. Mend the file, or leave them out with annotation.{rule}=skip.")
        if count:
            log.warning("%s. Left out.", found)


def _tell_of_overlaps(placed: pd.DataFrame, kept: pd.DataFrame) -> None:
    """placed: pixels of labels, before those on which shapes of several classes lie were left out; kept: after it."""
    tried = placed[placed["line"].isin(placed["line"][placed["contested"]])]
    message = (
        "Where labels of several classes lie, lines and polygons give no pixels: %s of the %s drawn in %s left out"
    )
    counts = [counted(int(tried["contested"].sum()), "pixel", "pixels"), f"{len(tried):,}"]
    counts.append(counted(tried["line"].nunique(), "shape", "shapes"))
    lost = tried[~tried["line"].isin(kept["line"])].drop_duplicates("line")
    if len(lost):
        names = ", ".join(f"{name} {count}" for name, count in lost["name"].value_counts().items())
        message += "; nothing is left of {} ({})".format(
            counted(len(lost), "shape", "shapes"), names.replace("%", "%%")
        )
    log.warning("%s.", message % tuple(counts))


def _check_found(placed: pd.DataFrame, scenes: Sequence[Raster]) -> None:
    """Raises InputError where most labels of a class lie on values that only seem to hold no data."""
    found = sorted({value for scene in scenes if scene.bands.sought for value in scene.bands.nodata})
    shares = placed.groupby("name")["valid"].mean()
    lost = shares[shares < 0.5].index.tolist()
    if found and lost:
        raise InputError(
            f"Most labels of {', '.join(lost)} lie on pixels without data. No header says that the values "
            f"{', '.join(f'{value:g}' for value in found)} hold none; they were taken so, as they lie far from the "
            "others. If they are data, give dataset.nodata=[]; if not, remove these labels."
        )


def _plain(labels: Labels) -> pd.DataFrame:
    """The frame with geometries of no CRS, so that those of several files can stand in one table."""
    columns = {**labels.frame.drop(columns="geometry"), "geometry": labels.frame.geometry.to_numpy()}
    return pd.DataFrame(columns, labels.frame.index).assign(pixels=labels.pixels)
