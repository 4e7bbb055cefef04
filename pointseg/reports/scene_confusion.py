"""The confusion matrices of single test scenes in a sweep, and arms compared by them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from pointseg.errors import reading
from pointseg.reports.statistics import randomisation

FILE = "test/scenes.csv"  # of a run
TEXT = ("scene", "truth")  # even where it looks like numbers


class Scenes(NamedTuple):
    """What a run was tested on, and its confusion (scene, truth, prediction)."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    land_cover: tuple[bool, ...]
    confusion: Int[np.ndarray, "_ k k"]


def load(records: Path) -> dict[str, Scenes]:
    """FILE of every run below `records` that has been tested (see `evaluate`), by the run's name."""
    found = {}
    for file in sorted(records.rglob(FILE)):
        with reading(file, "the confusion of scenes", "run pointseg.evaluate and pointseg.report again."):
            rows = pd.read_csv(file, dtype=dict.fromkeys(TEXT, str), na_filter=False)
            found[file.parents[1].relative_to(records).as_posix()] = _scenes(rows.set_index([*TEXT, "land_cover"]))
    return found


def _scenes(rows: pd.DataFrame) -> Scenes:
    names, classes = tuple(rows.index.unique("scene")), tuple(rows.columns)
    land_cover = rows.index.get_level_values("land_cover")[: len(classes)].tolist()
    confusion = rows.to_numpy(np.int64).reshape(len(names), len(classes), len(classes))
    return Scenes(names, classes, tuple(land_cover), confusion)


def p_value(a: Sequence[str], b: Sequence[str], scenes: Mapping[str, Scenes]) -> float:
    """Of the difference in mIoU between the runs `a` and `b`, paired seed by seed and scene by scene.

    NaN where a run has no scenes, or not those and the classes of its pair.
    """
    if not {*a, *b} <= scenes.keys():
        return np.nan
    pairs = [(scenes[x], scenes[y]) for x, y in zip(a, b, strict=True)]
    if any(x[:3] != y[:3] for x, y in pairs):
        return np.nan
    return randomisation([x.confusion for x, _ in pairs], [y.confusion for _, y in pairs], pairs[0][0].land_cover)
