"""The points that a run keeps in its folder, as files that a person can read."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.types import IGNORE, Dataset, Points, Scene

DENSE = 0.1  # share of a scene's pixels above which drawn points are kept as a mask


@dataclass(frozen=True)
class Kept:
    """The points in the folder `points` of a run on the same scenes."""

    folder: Path

    def annotate(self, dataset: Dataset, scenes: Sequence[Scene]) -> Iterator[Points]:
        return (load(file_of(self.folder, scene), scene, dataset.classes) for scene in scenes)


def file_of(folder: Path, scene: Scene) -> Path:
    """Where `save` has put the points of a scene, or would put a few."""
    dense = folder / f"{scene.id}.npz"
    return dense if dense.exists() else folder / f"{scene.id}.csv"


def save(points: Points, folder: Path, scene: Scene, classes: Sequence[str], drawn: bool) -> None:
    """Write <scene>.csv: row, col (whole pixels) and class name, a point a line.

    Points that were drawn, so that no two lie on one pixel, on more than DENSE of the pixels become <scene>.npz: `mask`
    (h, w), IGNORE where there is none, and the names of its `classes`. As lines, 512×512 are 4 MB.
    """
    pixels = points.rows.astype(int), points.cols.astype(int)
    if drawn and len(points) > DENSE * scene.shape[0] * scene.shape[1]:
        mask = np.full(scene.shape, IGNORE, np.uint8)
        mask[pixels] = points.labels
        with writing(folder / f"{scene.id}.npz") as partial:
            np.savez_compressed(partial, mask=mask, classes=np.array(classes))
        return
    with writing(folder / f"{scene.id}.csv") as partial, partial.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["row", "col", "class"])
        writer.writerows(zip(*pixels, [classes[label] for label in points.labels], strict=True))


def load(file: Path, scene: Scene, classes: Sequence[str]) -> Points:
    """Read what `save` wrote. Raises InputError naming what does not fit the scene, a point by its line."""
    if not file.is_file():
        raise InputError(
            f"{file}: no such file; the folder of points needs one for each scene, {scene.id!r} among them."
        )
    if file.suffix == ".npz":
        return _load_dense(file, scene, classes)
    label_of = {name: label for label, name in enumerate(classes)}
    table = read(file)
    for line, (row, col, name) in enumerate(table, 2):
        if name not in label_of:
            raise InputError(f"{file}, line {line}: unknown class {name!r}; the classes are {', '.join(classes)}.")
        if not (0 <= row < scene.shape[0] and 0 <= col < scene.shape[1]):
            raise InputError(
                f"{file}, line {line}: row {row}, col {col} lies outside the scene of "
                f"{scene.shape[0]}×{scene.shape[1]} pixels (rows × columns)."
            )
    rows, cols = np.array([(row, col) for row, col, _ in table], np.float64).reshape(-1, 2).T
    return Points(rows, cols, np.array([label_of[name] for _, _, name in table], np.int64))


def read(file: Path) -> list[tuple[int, int, str]]:
    """Row, col and class name of each point that `save` wrote. Raises InputError naming a line that is none."""
    with reading(file, "points", "restore the file, or draw the points anew."), file.open(newline="") as stream:
        lines = list(csv.reader(stream))
    if lines[:1] != [["row", "col", "class"]]:
        raise InputError(f"{file}: its first line must be row,col,class.")
    table = []
    for number, line in enumerate(lines[1:], 2):
        try:
            row, col, name = line
            table.append((int(row), int(col), name))
        except ValueError as error:
            raise InputError(f"{file}, line {number}: not a row, a column and a class ({error}).") from error
    return table


def _load_dense(file: Path, scene: Scene, classes: Sequence[str]) -> Points:
    with reading(file, "points", "remove it, and the points are drawn again."), np.load(file) as content:
        mask, names = content["mask"], content["classes"].tolist()
    if mask.shape != scene.shape or names != list(classes):
        size = "×".join(map(str, mask.shape))
        raise InputError(
            f"{file}: {size} pixels (rows × columns) of the classes {', '.join(map(str, names))}; the scene has "
            f"{scene.shape[0]}×{scene.shape[1]}, and the classes are {', '.join(classes)}."
        )
    return Points.of_pixels(mask, np.flatnonzero(mask != IGNORE))
