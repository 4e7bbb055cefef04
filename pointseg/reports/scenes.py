"""The confusion matrices of a run's test scenes, and arms compared by them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int

from pointseg.errors import reading
from pointseg.reports.statistics import randomisation

FILE = "test/scenes.csv"  # of a run, see `evaluate`
TEXT = ("scene", "truth")  # even where it looks like numbers


class Scenes(NamedTuple):
    """What a run was tested on, and its confusion (scene, truth, prediction) in pixels."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    land_cover: tuple[bool, ...]
    confusion: Int[np.ndarray, "_ k k"]

    def record(self) -> dict[str, Any]:
        confusion = dict(zip(self.names, self.confusion.tolist(), strict=True))
        return {"classes": self.classes, "land_cover": self.land_cover, "confusion": confusion}


def from_record(record: Mapping[str, Any]) -> Scenes:
    classes, land_cover, confusion = (record[key] for key in ("classes", "land_cover", "confusion"))
    matrices = np.array(list(confusion.values()), np.int64).reshape(len(confusion), len(classes), len(classes))
    return Scenes(tuple(confusion), tuple(classes), tuple(land_cover), matrices)


def read_scenes(run: Path) -> Scenes | None:
    """FILE of the run in this folder; None where it has not been tested. Raises InputError where it is damaged."""
    file = run / FILE
    if not file.exists():
        return None
    with reading(file, "the confusion of scenes", "run pointseg.evaluate again."):
        rows = pd.read_csv(file, dtype=dict.fromkeys(TEXT, str), na_filter=False).set_index([*TEXT, "land_cover"])
        names, classes = tuple(rows.index.unique("scene")), tuple(rows.columns)
        land_cover = rows.index.get_level_values("land_cover")[: len(classes)].tolist()
        confusion = rows.to_numpy(np.int64).reshape(len(names), len(classes), len(classes))
        return Scenes(names, classes, tuple(land_cover), confusion)


def p_value(a: Sequence[Scenes | None], b: Sequence[Scenes | None]) -> float:
    """Of the difference in mIoU between two arms, each a run a seed, paired seed by seed and scene by scene.

    NaN where a run has no scenes, or not those and the classes of its pair.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x and y and x[:3] == y[:3]]
    if not pairs or len(pairs) < len(a):
        return np.nan
    return randomisation([x.confusion for x, _ in pairs], [y.confusion for _, y in pairs], pairs[0][0].land_cover)
