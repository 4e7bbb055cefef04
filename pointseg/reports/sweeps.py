"""The runs of a sweep as a table: one row a run.

What is compared is not declared anywhere: whatever differs between the configurations of the runs, the
seed, the fold and the machine apart, is a factor; runs that agree in every factor are one arm, repeated by
seed, or by seed and fold.
"""

import hashlib
import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf

from pointseg.config import CONF, GROUPS
from pointseg.config import read as read_config
from pointseg.errors import InputError, reading
from pointseg.losses.weighted_partial_ce import class_weights
from pointseg.reports.claims import PROTOCOL
from pointseg.training import runs
from pointseg.training.checkpoints import flat

TEST = {"test_miou": "miou_all_classes", "test_miou_land_cover": "miou_land_cover", "test_accuracy": "accuracy"}
WEIGHTS = "model.weights"
FOLD = "dataset.fold"
FACTS = ("sampler", "loss", "budget", "crops.number", FOLD, *PROTOCOL)  # told of every run, whether factors or not
CAP = 100.0  # of the class weights where the loss itself has none


@dataclass(frozen=True)
class Run:
    """Its folder and that folder's name below the sweep, its configuration with dotted keys, the options that this
    names, and its scores.json."""

    folder: Path
    name: str
    config: dict[str, Any]
    choices: dict[str, str]
    scores: dict[str, Any]

    @property
    def finished(self) -> bool:
        return "finished" in self.scores

    def value(self, name: str) -> str:
        """As text."""
        value = self.choices.get(name, self.config.get(name))
        return "none" if value is None else str(value)  # not "None", which a reader of CSV takes for a gap


def read(sweep: Path) -> list[Run]:
    """Every run below `sweep`, finished or not, by its name."""
    top = sweep.resolve()
    return [_run(folder, top) for folder in runs.below(top)]


def _run(folder: Path, sweep: Path) -> Run:
    config = flat(OmegaConf.to_container(read_config(folder / "config.yaml")))
    if config.get(WEIGHTS):
        config[WEIGHTS] = Path(str(config[WEIGHTS])).name  # its folder says no more than whose machine it was
    targets = {group: str(config[key]) for group in GROUPS if (key := f"{group}._target_") in config}
    choices = {group: _option(group, target) for group, target in targets.items()}
    name = folder.relative_to(sweep if folder != sweep else sweep.parent)
    return Run(folder, name.as_posix(), config, choices, runs.read_scores(folder))


@cache
def _option(group: str, target: str) -> str:
    """The option of `group` that builds `target`; where none does, or several do, the target itself."""
    files = (CONF / group).glob("*.yaml")
    names = [file.stem for file in files if OmegaConf.select(OmegaConf.load(file), "_target_") == target]
    return names[0] if len(names) == 1 else target


def factors(of: list[Run]) -> list[str]:
    """What differs between the runs: groups by their option, and keys that the option does not decide."""
    groups = [group for group in GROUPS if len({run.value(group) for run in of}) > 1]
    keys = sorted({key for run in of for key in run.config} - {"seed", FOLD, *groups})
    return groups + [key for key in keys if not _decided(key, of, key.split(".")[0] if "." in key else "")]


def _decided(key: str, of: list[Run], group: str) -> bool:
    """Whether runs with the same option of `group` agree on `key`."""
    values: dict[str, set[str]] = {}
    for run in of:
        values.setdefault(run.choices.get(group, ""), set()).add(run.value(key))
    return all(len(found) == 1 for found in values.values())


def table(of: list[Run]) -> pd.DataFrame:
    """One row a run: run, its factors, seed, and what was measured. Raises InputError where a run is there twice.

    Where folds differ, a seed is told with its fold: all that is paired by seed is paired by both.
    """
    names = factors(of)
    rows = pd.DataFrame([_row(run, names) for run in of])
    if len({run.value(FOLD) for run in of}) > 1:
        rows["seed"] = [f"{run.value('seed')} of fold {run.value(FOLD)}" for run in of]
    again = rows.duplicated([*names, "seed"], keep=False)
    if again.any():
        raise InputError(
            f"{', '.join(rows.run[again])}: the same configuration and seed twice; remove one, or give name= for a "
            "report of its own."
        )
    return rows


def _row(run: Run, names: list[str]) -> dict[str, Any]:
    content = json.dumps({key: run.config[key] for key in sorted(run.config) if key != "seed"})
    # tables.load takes the columns between run and seed for the factors.
    row: dict[str, Any] = {"run": run.name} | {name: run.value(name) for name in names}
    with _reading(run):
        history = run.scores.get("history", [])
        row |= {"seed": run.config.get("seed"), "finished": run.finished, "epochs": len(history)}
        row |= {name: run.value(name) for name in FACTS if name not in names}
        row |= {"configuration": hashlib.sha256(content.encode()).hexdigest()[:12]}
        return row | (_measures(run, history) if run.finished else {})


def _reading(run: Run) -> AbstractContextManager[None]:
    return reading(run.folder / "scores.json", "the scores of a run", "remove the run, or train it anew.")


def _measures(run: Run, history: list[dict[str, Any]]) -> dict[str, Any]:
    """What the tables and the claims are made of; shares in [0, 1], epochs counted from 1."""
    best, final, ended = run.scores["val"]["best"], run.scores["val"]["final"], run.scores["finished"]
    miou = np.array([epoch["miou_all_classes"] for epoch in history], float)
    loss = np.array([epoch["loss"] for epoch in history], float)
    counts = ended["points"]
    weights = run.config.get("loss.weights") or class_weights(
        torch.tensor(list(counts.values())),
        float(run.config.get("loss.cap", CAP)),
        float(run.config.get("loss.power", 1.0)),  # of the losses that have none
    )
    return {
        "best_miou": best["miou_all_classes"],
        "best_miou_land_cover": best["miou_land_cover"],
        "best_epoch": best["epoch"],
        "final_miou": final["miou_all_classes"],
        "final_miou_land_cover": final["miou_land_cover"],
        "final_accuracy": final["accuracy"],
        "final_train_miou": final["train/miou_all_classes"],
        "arrival": history[int(np.argmax(miou >= 0.95 * miou.max()))]["epoch"],  # the first close to its best
        "fluctuation": float(np.abs(np.diff(miou)).mean()) if len(miou) > 1 else np.nan,
        "early_loss_sd": float(loss[:4].std(ddof=1)) if len(loss) > 3 else np.nan,
        "loss_drop_halfway": float((loss[0] - loss[len(loss) // 2]) / (loss[0] - loss.min() or 1)),
        **{name: run.scores["test"][score] for name, score in TEST.items() if "test" in run.scores},
        **{name: best[name] for name in best if name.startswith("iou/")},
        **{f"points/{name}": count for name, count in counts.items()},
        **{f"weight/{name}": float(weight) for name, weight in zip(counts, weights, strict=True)},
        "seconds": ended["seconds"],
        "device": ended["device"],
        "versions": ", ".join(f"{name} {number}" for name, number in ended["versions"].items()),
    }


def curves(of: list[Run]) -> pd.DataFrame:
    """One row an epoch of each run."""
    names = ("epoch", "miou_all_classes", "miou_land_cover", "accuracy", "loss")
    rows: list[dict[str, Any]] = []
    for run in of:
        with _reading(run):
            told = [{name: epoch[name] for name in names} for epoch in run.scores.get("history", [])]
        rows += [{"run": run.name} | epoch for epoch in told]
    return pd.DataFrame(rows)
