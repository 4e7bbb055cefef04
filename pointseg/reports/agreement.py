"""How noisy the masks are that runs are scored against: see pointseg/evaluation/agreement.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pointseg.config import parse
from pointseg.config import read as read_config
from pointseg.evaluation.agreement import BorderPairs, Pairs, agreement, border_pairs
from pointseg.metrics import ious
from pointseg.reports.sweeps import Run
from pointseg.training.runs import build_dataset
from pointseg.types import Dataset

MEASURES = ("pairs", "agreement", "beside", "miou_land_cover", "miou_land_cover_beside")


def table(of: list[Run]) -> pd.DataFrame:
    """A row for each split of each dataset of the sweep; empty where no scenes are images of cut tiles."""
    keys = sorted({key for run in of for key in run.config if key.startswith("dataset.")})
    factors = [key for key in keys if len({run.value(key) for run in of}) > 1]
    first = {", ".join(f"{key} {run.value(key)}" for key in factors): run for run in reversed(of)}
    rows: list[dict[str, Any]] = []
    for setting, run in sorted(first.items()):
        dataset, _ = build_dataset(parse(read_config(run.folder / "config.yaml")))
        rows += [{"setting": setting, "split": split} | row for split, row in _rows(dataset)]
    return pd.DataFrame(rows)


def _rows(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    for split, scenes in dataset.splits.items():
        if dataset.cuts and (tiles := border_pairs(scenes, len(dataset.classes), dataset.cuts)):
            across, beside = BorderPairs(*np.sum(list(tiles.values()), 0))
            both = agreement(across), agreement(beside), _miou(across, dataset), _miou(beside, dataset)
            yield split, dict(zip(MEASURES, (int(across.sum() // 2), *both), strict=True))


def _miou(pairs: Pairs, dataset: Dataset) -> float:
    return float(np.nanmean(ious(pairs[None])[0, np.array(dataset.land_cover)]))
