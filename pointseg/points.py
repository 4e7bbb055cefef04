"""The annotation of a run: drawn once per scene, kept as files that a person can read."""

import csv
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.scenes import whole
from pointseg.types import IGNORE, Points, Sampler, Scene

DENSE = 0.1  # share of a scene's pixels above which drawn points are kept as a mask


def draw(scene: Scene, sampler: Sampler, budget: int | float, seed: int) -> Points:
    """The points of one scene. They depend on the scene, the sampler, the budget and the seed alone."""
    mask = scene.mask(whole(scene))
    digest = hashlib.sha256(scene.id.encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])
    return sampler(mask, count(budget, int((mask != IGNORE).sum()), scene.id), rng)


def count(budget: int | float, labelled: int, scene: str) -> int:
    """The number of points that `budget` buys in a scene of `labelled` pixels.

    A whole number is a count, a float in (0, 1] a fraction, rounded and at least one point.
    Raises InputError for anything else, and for a count above `labelled`.
    """
    if isinstance(budget, float):
        if not 0 < budget <= 1:
            raise InputError(
                f"budget={budget}: a fraction of the labelled pixels lies in (0, 1]; for a number of points per scene "
                "give a whole number, as in budget=100."
            )
        return min(max(round(budget * labelled), 1), labelled)
    if budget <= 0:
        raise InputError(f"budget={budget}: give at least 1 point per scene, or a fraction such as budget=0.01.")
    if budget > labelled:
        raise InputError(
            f"budget={budget}: scene {scene!r} has only {labelled:,} labelled pixels; give a smaller budget or a "
            "fraction."
        )
    return budget


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
    with file.open(newline="") as stream:
        lines = csv.reader(stream)
        if next(lines, None) != ["row", "col", "class"]:
            raise InputError(f"{file}: its first line must be row,col,class.")
        try:
            table = [(int(row), int(col), label_of[name]) for row, col, name in lines]
        except KeyError as error:
            raise InputError(
                f"{file}, line {lines.line_num}: unknown class {error}; the classes are {', '.join(classes)}."
            ) from error
        except (ValueError, csv.Error) as error:
            raise InputError(f"{file}, line {lines.line_num}: not a row, a column and a class ({error}).") from error
    rows, cols, labels = np.array(table, np.int64).reshape(-1, 3).T
    outside = (rows < 0) | (rows >= scene.shape[0]) | (cols < 0) | (cols >= scene.shape[1])
    if outside.any():
        line = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{file}, line {line + 2}: row {rows[line]}, col {cols[line]} lies outside the scene of "
            f"{scene.shape[0]}×{scene.shape[1]} pixels (rows × columns)."
        )
    return Points(rows.astype(np.float64), cols.astype(np.float64), labels)


def _load_dense(file: Path, scene: Scene, classes: Sequence[str]) -> Points:
    try:
        with np.load(file) as content:
            mask, names = content["mask"], content["classes"].tolist()
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove it, and the points are drawn again.") from error
    if mask.shape != scene.shape or names != list(classes):
        raise InputError(
            f"{file}: {mask.shape[0]}×{mask.shape[1]} pixels (rows × columns) of the classes {', '.join(names)}; "
            f"the scene has {scene.shape[0]}×{scene.shape[1]}, and the classes are {', '.join(classes)}."
        )
    return Points.of_pixels(mask, np.flatnonzero(mask != IGNORE))
