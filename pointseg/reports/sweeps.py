"""The runs of a sweep, and what they differ in.

What is compared is not declared anywhere: whatever differs between the configurations of the runs, the
seed, the fold and the machine apart, is a factor. Runs that agree in every factor are one arm, repeated by
seed, or by seed and fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pointseg.config import CONF, GROUPS
from pointseg.config import read as read_config
from pointseg.errors import reading
from pointseg.reports.scenes import Scenes, read_scenes
from pointseg.training import runs
from pointseg.training.checkpoints import flat

WEIGHTS = "model.weights"
FOLD = "dataset.fold"
OPTIONS = (*GROUPS, "crops")
"""Groups whose options, by name, tell what runs differ in."""
CURVES = ("epoch", "miou_all_classes", "miou_land_cover", "accuracy", "loss", "train/miou_all_classes")
"""Scores of every epoch that a report needs."""
Masks = dict[str, list[float]]
"""How far the masks of each split agree, as `agreement.MEASURES`; without splits that have no neighbouring scenes."""


@dataclass(frozen=True)
class Run:
    """A run as a report needs it, and as a record keeps it.

    name: its folder's below the sweep. config: by dotted keys, without those that are none or belong to the machine.
    scores: of scores.json, see `_scores`. scenes: the confusion of test scenes. masks: their
    agreement. folder: where its weights may lie; None of a record.
    """

    name: str
    config: dict[str, Any]
    scores: dict[str, Any]
    scenes: Scenes | None = None
    masks: Masks | None = None
    folder: Path | None = None

    @property
    def finished(self) -> bool:
        return "finished" in self.scores

    @cached_property
    def options(self) -> dict[str, str]:
        """The option that each group has, by its file in conf/."""
        targets = {group: str(self.config[key]) for group in OPTIONS if (key := f"{group}._target_") in self.config}
        return {group: _option(group, target) for group, target in targets.items()}

    def value(self, key: str) -> str:
        """The option of a group, or the value of a key, as text."""
        return str(self.options.get(key, self.config.get(key, "none")))  # not "None": a reader of CSV drops it


def read(sweep: Path) -> list[Run]:
    """Every run below `sweep`, finished or not, by its name. Raises InputError where a file of one is damaged."""
    top = sweep.resolve()
    return [_run(folder, top) for folder in runs.below(top)]


def _run(folder: Path, sweep: Path) -> Run:
    config = settings(OmegaConf.to_container(read_config(folder / "config.yaml")))
    name = folder.relative_to(sweep if folder != sweep else sweep.parent)
    scores = runs.read_scores(folder)
    with reading(folder / "scores.json", "the scores of a run", "remove the run, or train it anew."):
        return Run(name.as_posix(), config, _scores(scores), read_scenes(folder), folder=folder)


def settings(config: Any) -> dict[str, Any]:
    """A run's configuration by dotted keys, without those that are none or belong to the machine."""
    values = {key: value for key, value in flat(config).items() if value is not None}
    if WEIGHTS in values:
        values[WEIGHTS] = Path(str(values[WEIGHTS])).name  # its folder says no more than whose machine it was
    return values


def _scores(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Of scores.json: CURVES of each epoch, the best epoch, scores of other splits, and how the training finished.

    Without matrices, which `scenes` has, and rounded to the seven digits of a 32-bit float.
    """
    if not scores:
        return {}
    others = {name: part for name, part in sorted(scores.items()) if name not in ("val", "history")}
    history = [{name: epoch[name] for name in CURVES} for epoch in scores["history"]]
    content: dict[str, Any] = _compact({"best": scores["val"]["best"], "history": history, **others})
    return content


def _compact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _compact(item) for key, item in value.items() if key != "confusion"}
    if isinstance(value, list):
        return [_compact(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


@cache
def _option(group: str, target: str) -> str:
    """The option of `group` that builds `target`; where none does, or several do, the target itself."""
    files = (CONF / group).glob("*.yaml")
    names = [file.stem for file in files if OmegaConf.select(OmegaConf.load(file), "_target_") == target]
    return names[0] if len(names) == 1 else target


def factors(sweep: Sequence[Run]) -> list[str]:
    """What differs between the runs: groups by their option, and keys that the option does not decide."""
    groups = [group for group in OPTIONS if len({run.value(group) for run in sweep}) > 1]
    keys = sorted({key for run in sweep for key in run.config} - {"seed", FOLD, *groups})
    return groups + [key for key in keys if not _decided(key, sweep, key.split(".")[0] if "." in key else "")]


def _decided(key: str, sweep: Sequence[Run], group: str) -> bool:
    """Whether runs with the same option of `group` agree on `key`."""
    values: dict[str, set[str]] = {}
    for run in sweep:
        values.setdefault(run.options.get(group, ""), set()).add(run.value(key))
    return all(len(different) == 1 for different in values.values())
