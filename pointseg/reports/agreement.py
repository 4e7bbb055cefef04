"""How far the masks agree that runs are scored against: see pointseg/evaluation/agreement.py."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pointseg.config import parse
from pointseg.config import read as read_config
from pointseg.evaluation.agreement import BorderPairs, Pairs, agreement, border_pairs
from pointseg.metrics import ious
from pointseg.reports.sweeps import Masks, Run
from pointseg.training.runs import build_dataset
from pointseg.types import Dataset

SPLIT_OF = {"validation": "val", "test": "test"}
PAIRS = 5000  # the agreement of fewer says little of a whole split
MEASURES = ("pairs", "agreement", "beside", "miou_land_cover", "miou_land_cover_beside")
"""Of the masks of a split, both across the cuts and beside them; pairs: of pixels across the cuts."""


def measured(runs: Sequence[Run]) -> list[Run]:
    """The runs with the agreement of their masks, where their folder and their dataset are at hand."""
    known: dict[str, Masks | None] = {}
    return [replace(run, masks=_masks(run, known) or run.masks) for run in runs]


def _masks(run: Run, known: dict[str, Masks | None]) -> Masks | None:
    """known: the masks of each dataset read so far."""
    if run.folder is None:
        return None
    config = parse(read_config(run.folder / "config.yaml"))
    key = json.dumps(config.dataset)
    if key not in known:
        known[key] = dict(_splits(build_dataset(config)[0]))
    return known[key]


def _splits(dataset: Dataset) -> Iterator[tuple[str, list[float]]]:
    for split, scenes in dataset.splits.items():
        if dataset.cuts and (tiles := border_pairs(scenes, len(dataset.classes), dataset.cuts)):
            across, beside = BorderPairs(*np.sum(list(tiles.values()), 0))
            both = agreement(across), agreement(beside), _miou(across, dataset), _miou(beside, dataset)
            yield split, [int(across.sum() // 2), *(float(f"{value:.7g}") for value in both)]


def _miou(pairs: Pairs, dataset: Dataset) -> float:
    return float(np.nanmean(ious(pairs[None])[0, np.array(dataset.land_cover)]))


def levels(runs: Sequence[Run], split: str) -> dict[str, float]:
    """The agreement, as mIoU over land cover, of masks of enough pairs in a split, named as scores of it are."""
    rows = table(runs)
    chosen = rows[(rows.split == SPLIT_OF[split]) & (rows.pairs >= PAIRS)]
    names = [", ".join(filter(None, ("masks across the cuts of tiles", setting))) for setting in chosen.setting]
    return dict(zip(names, chosen.miou_land_cover, strict=True))


def table(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each split of each dataset of the runs: setting, split, MEASURES; no rows where no masks agree."""
    keys = sorted({key for run in runs for key in run.config if key.startswith("dataset.")})
    factors = [key for key in keys if len({run.value(key) for run in runs}) > 1]
    first = {", ".join(f"{key} {run.value(key)}" for key in factors): run for run in runs if run.masks}
    rows = [
        [setting, split, *measures]
        for setting, run in sorted(first.items())
        for split, measures in (run.masks or {}).items()
    ]
    return pd.DataFrame(rows, columns=["setting", "split", *MEASURES])
