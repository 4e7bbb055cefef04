"""results.csv: a row for each run of an experiment, with its factors and what was measured."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pointseg.errors import InputError, reading
from pointseg.losses.weighted_partial_ce import class_weights
from pointseg.reports import records
from pointseg.reports.sweeps import FOLD, WEIGHTS, Run, factors

FILE = "results.csv"
TESTED = "test_miou_land_cover"  # of runs that have been evaluated on the test split
TEST = {"test_miou": "miou_all_classes", TESTED: "miou_land_cover", "test_accuracy": "accuracy"}
SETTINGS = (
    *("annotation", "sampler", "loss", "budget", "crops.number", FOLD, "model", WEIGHTS),
    *("dataset", "dataset.split", "dataset.scale"),
    *("crop_size", "augment.scale", "augment.symmetries", "augment.colour", "batch_size"),
    *("optimizer", "optimizer.lr", "optimizer.weight_decay", "schedule", "trainer.max_epochs"),
)
"""Columns of every run, whether factors or not."""
CAP = 100.0  # of the class weights where the loss itself has none


class Results:
    """What an experiment's folder holds: its table, a row a run, and the runs that this is made of."""

    def __init__(self, table: pd.DataFrame, runs: Sequence[Run]) -> None:
        self.table = table
        self.runs = {run.name: run for run in runs}
        header = list(table.columns)
        self.factors = header[1 : header.index("seed")]

    @cached_property
    def finished(self) -> pd.DataFrame:
        return self.table[self.table.finished]


def load(folder: Path) -> Results:
    """results.csv and records.jsonl of an experiment's folder."""
    file = folder / FILE
    with reading(file, "the table of runs", "write the report again."):
        header = list(pd.read_csv(file, nrows=0).columns)
        # Factors are text, even where they look like numbers.
        names = {"run", *header[1 : header.index("seed")], *SETTINGS}
        table = pd.read_csv(file, dtype={name: str for name in header if name in names})
    return Results(table, records.read(folder))


def table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run: run, its factors, seed, and what was measured. Raises InputError where a run is there twice.

    Where folds differ, a seed has its fold in its name: all that is paired by seed is paired by both.
    """
    names = factors(runs)
    rows = pd.DataFrame([_row(run, names) for run in runs])
    if len({run.value(FOLD) for run in runs}) > 1:
        rows["seed"] = [f"{run.value('seed')} of fold {run.value(FOLD)}" for run in runs]
    again = rows.duplicated([*names, "seed"], keep=False) & rows.finished
    if again.any():
        raise InputError(
            f"{', '.join(rows.run[again])}: the same configuration and seed twice; remove one, or give name= for a "
            "report of its own."
        )
    return rows


def _row(run: Run, names: list[str]) -> dict[str, Any]:
    # The columns between run and seed are the factors.
    row: dict[str, Any] = {"run": run.name} | {name: run.value(name) for name in names}
    row |= {"seed": run.config.get("seed"), "finished": run.finished, "epochs": len(run.scores.get("history", []))}
    row |= {name: run.value(name) for name in SETTINGS if name not in names}
    if run.finished:
        where = (run.folder or Path(run.name)) / "scores.json"
        with reading(where, "the scores of a run", "remove the run, or train it anew."):
            row |= _scores(run.scores) | _classes(run)
    return row


def _scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Shares in [0, 1], epochs counted from 1."""
    best, history, end = scores["best"], scores["history"], scores["finished"]
    final = history[-1]
    return {
        "best_miou": best["miou_all_classes"],
        "best_miou_land_cover": best["miou_land_cover"],
        "best_epoch": best["epoch"],
        "final_miou": final["miou_all_classes"],
        "final_miou_land_cover": final["miou_land_cover"],
        "final_accuracy": final["accuracy"],
        "final_train_miou": final["train/miou_all_classes"],
        **_course(history),
        **{name: scores["test"][score] for name, score in TEST.items() if "test" in scores},
        **{name: best[name] for name in best if name.startswith("iou/")},
        "seconds": end["seconds"],
        "device": end["device"],
        "versions": ", ".join(f"{name} {number}" for name, number in end["versions"].items()),
    }


def _course(history: list[dict[str, Any]]) -> dict[str, float]:
    """How the training went.

    arrival: the first epoch within 5 % of the best mIoU. fluctuation: the mean change of mIoU from epoch to epoch.
    early_loss_sd: of the validation loss in epochs 1 to 4. loss_drop_halfway: the share of the whole fall of the
    validation loss that the epoch halfway has behind it.
    """
    miou, loss = (np.array([epoch[name] for epoch in history], float) for name in ("miou_all_classes", "loss"))
    return {
        "arrival": history[int(np.argmax(miou >= 0.95 * miou.max()))]["epoch"],
        "fluctuation": np.abs(np.diff(miou)).mean() if len(miou) > 1 else np.nan,
        "early_loss_sd": loss[:4].std(ddof=1) if len(loss) > 3 else np.nan,
        "loss_drop_halfway": (loss[0] - loss[len(loss) // 2]) / (loss[0] - loss.min() or 1),
    }


def _classes(run: Run) -> dict[str, float]:
    """The training points of each class, and its weight in a loss that weighs classes."""
    counts = run.scores["finished"]["points"]
    weights = run.config.get("loss.weights") or class_weights(
        torch.tensor(list(counts.values()), dtype=torch.float64),
        float(run.config.get("loss.cap", CAP)),
        float(run.config.get("loss.power", 1.0)),  # of the losses that have none
    )
    columns = {f"points/{name}": count for name, count in counts.items()}
    return columns | {f"weight/{name}": float(weight) for name, weight in zip(counts, weights, strict=True)}
