"""Evaluation of a run: scores.json, the confusion of each scene, and pictures."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pointseg import metrics
from pointseg.config import Node
from pointseg.errors import InputError
from pointseg.evaluation.colour_baseline import score as score_by_colour
from pointseg.files import writing
from pointseg.prediction import calibration
from pointseg.training import runs
from pointseg.training.callbacks import EvaluationPictures
from pointseg.training.system import PointSeg
from pointseg.training.train import make_trainer
from pointseg.types import SPLITS

log = logging.getLogger(__name__)


def evaluate_all(sweep: Path, split: str, checkpoint: str, *options: Any, calibrated: bool) -> None:
    """`evaluate` every finished run below `sweep` that has no such scores yet.

    A run that cannot be evaluated does not keep the others from it.
    Raises InputError where no run below `sweep` is finished, and at the end where one could not be evaluated.
    """
    name = _name(split, checkpoint, calibrated)
    folders = runs.below(sweep)
    scores = {folder: runs.read_scores(folder) for folder in folders}
    finished = [folder for folder in folders if "finished" in scores[folder]]
    left = [folder for folder in finished if "checkpoint" not in scores[folder].get(name, {})]
    if not folders:
        raise InputError(f"run={sweep}: not the folder of a run, nor are there runs below; they lie in outputs/.")
    if not finished:
        raise InputError(f"run={sweep}: none of the {len(folders)} runs below is finished; see resume=true.")
    log.info(
        "Runs below %s: %d, of which %d are finished, and %d of these not yet scored on %s (again: run=<its folder>).",
        *(sweep, len(folders), len(finished), len(left), name),
    )
    failed = 0
    for number, folder in enumerate(left, 1):
        log.info("%d of %d: %s", number, len(left), folder)
        try:
            evaluate(folder, split, checkpoint, *options, calibrated=calibrated)
        except InputError as error:
            log.error("%s", error)
            failed += 1
    if failed:
        raise InputError(f"{failed} of {len(left)} runs could not be evaluated; their messages are above.")


def _name(split: str, checkpoint: str, calibrated: bool) -> str:
    """What scores.json calls these scores, and the run's folder their pictures. Raises InputError for no such split."""
    if split not in SPLITS:
        raise InputError(f"split={split}: choose {', '.join(SPLITS)}.")
    if checkpoint not in ("best", "last"):
        raise InputError(f"checkpoint={checkpoint}: choose best or last.")
    return split + ("" if checkpoint == "best" else f"_{checkpoint}") + ("_calibrated" if calibrated else "")


def evaluate(
    folder: Path, split: str, checkpoint: str, overrides: Node | None, colour_baseline: bool, *, calibrated: bool
) -> dict[str, float]:
    """Write the scores of a run on `split` into its scores.json, pictures and scenes.csv into its folder `<split>`.

    scenes.csv has a row for each scene and true class: scene, truth, land_cover (whether that class is), and the
    pixels by predicted class.

    Those of the last checkpoint stand beside those of the best, as `<split>_last`, calibrated ones as
    `<split>_calibrated`, and those on "val" with what the training kept there.
    """
    name = _name(split, checkpoint, calibrated)
    config, data, system = runs.load(folder, checkpoint, overrides)
    one = {"devices": 1, "num_nodes": 1, "strategy": "auto"}  # process, however many have trained
    config = replace(config, trainer={**config.trainer, **one})
    if split not in data.dataset.splits:
        splits = ", ".join(data.dataset.splits)
        raise InputError(f"split={split}: this run has none held out for it; choose one of {splits}, as in split=val.")
    if calibrated:
        found = calibration.read(folder, checkpoint, len(system.classes))
        if found is None:
            raise InputError(f"run={folder}: its {checkpoint}.ckpt is not calibrated; first run pointseg.calibrate.")
        system.model = calibration.Calibrated(system.model, found)
    pictures = EvaluationPictures(data.dataset, folder / name)
    trainer = make_trainer(config, logger=False, callbacks=[pictures], default_root_dir=folder)
    trainer.test(system, data.scenes(split), verbose=False)
    result = {"checkpoint": checkpoint, **system.scores, "confusion": system.confusion.tolist()}
    text = metrics.table(system.scores, system.classes, system.land_cover)
    log.info("%s scenes: %d, checkpoint: %s\n%s", split, len(data.dataset.splits[split]), checkpoint, text)
    if colour_baseline:
        scores = score_by_colour(data, split)
        result["colour_baseline"] = scores
        text = metrics.table(scores, system.classes, system.land_cover)
        log.info("The same points and scenes, each pixel by its colour alone:\n%s", text)
    with writing(folder / name / "scenes.csv") as partial:
        _by_scene(system).to_csv(partial)
    kept = runs.read_scores(folder).get(name, {})  # best and final, of the validations in training
    runs.write_scores(folder, **{name: kept | result})
    log.info("Scores: %s\nPictures: %s", folder / "scores.json", folder / name)
    return system.scores


def _by_scene(system: PointSeg) -> pd.DataFrame:
    truth = pd.MultiIndex.from_arrays([system.classes, system.land_cover], names=["truth", "land_cover"])
    scenes = {
        scene: pd.DataFrame(confusion.numpy(), truth, system.classes) for scene, confusion in system.by_scene.items()
    }
    return pd.concat(scenes, names=["scene"])
