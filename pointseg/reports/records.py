"""The records of an experiment's runs: what its report is made of, small enough to be kept with the report.

Outputs are large, and lie on the machine that trained; the records go where the report goes, and a later report goes on
from them. A record has the form of a run's folder, without weights, points and logs:

config.yaml   nothing (null) for what belongs to the machine    scores.json, test/scenes.csv   as they were
<scene>.png   examples, of one run of each arm
"""

import logging
import shutil
from pathlib import Path

from omegaconf import OmegaConf

from pointseg.config import read as read_config
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.reports import scene_confusion, sweeps
from pointseg.reports.sweeps import Run
from pointseg.training import runs
from pointseg.training.checkpoints import MACHINE, differences

log = logging.getLogger(__name__)

FOLDER = "runs"  # of an experiment's


def read(sweep: Path, folder: Path) -> list[Run]:
    """The runs below `sweep`, finished or not, and those that `folder` alone has records of, by name.

    Of a run that is in both, the sweep's is taken, unless only the record is of a finished one.

    Raises InputError where there is no run below `sweep`, no finished one in either, or one whose record has another
    configuration.
    """
    new = sweeps.read(sweep)
    if not new:
        raise InputError(f"sweep={sweep}: there is no run in this folder; sweeps lie in outputs/.")
    recorded = {run.name: run for run in sweeps.read(folder)}
    for run in new:
        _check(run, recorded.get(run.name, run))
    found = recorded | {run.name: run for run in new if run.finished or run.name not in recorded}
    done = sum(run.finished for run in found.values())
    more = len(found) - len(new)
    log.info("Runs: %d below %s, %d more from the records in %s; %d finished", len(new), sweep, more, folder, done)
    if not done:
        raise InputError(
            f"sweep={sweep}: none of its {len(new)} runs is finished; the sweep's command goes on with them."
        )
    return [found[name] for name in sorted(found)]


def _check(run: Run, record: Run) -> None:
    keys = differences(record.config, run.config)
    if keys:
        told = "; ".join(f"{key} {record.value(key)}, now {run.value(key)}" for key in keys)
        raise InputError(
            f"{run.folder}: its record, {record.folder}, has another configuration ({told}); give name= "
            "for a report of its own, or delete the record."
        )


def write(run: Run, folder: Path) -> None:
    """The record of `run` in `folder`; the pictures of an earlier one stay if its scores are the same."""
    if run.folder == folder.resolve():
        return
    if runs.read_scores(folder) != run.scores:
        for old in (*folder.glob("*.png"), folder / scene_confusion.FILE):
            old.unlink(missing_ok=True)
    config = read_config(run.folder / "config.yaml")
    for key in (*MACHINE, sweeps.WEIGHTS):
        if OmegaConf.select(config, key) is not None:
            OmegaConf.update(config, key, run.config.get(key))
    with writing(folder / "config.yaml") as partial:
        OmegaConf.save(config, partial)
    for name in ("scores.json", scene_confusion.FILE):
        if (run.folder / name).exists():
            with writing(folder / name) as partial:
                shutil.copyfile(run.folder / name, partial)
