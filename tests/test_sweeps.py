"""Sweeps that are gone on with, their report, and Hydra's launchers and Optuna where they are installed."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pointseg.training.runs import read_scores
from tests.conftest import ROOT, Outcome
from tests.support.sweeps import TINY
from tests.sweep import row, sections

Command = Callable[..., Outcome]
EXPERIMENT = ["-m", "experiment=sampling", "~dataset.scale", *TINY]


def test_a_sweep_is_gone_on_with_and_reported(command: Command, tmp_path: Path) -> None:
    first = command("pointseg.train", *EXPERIMENT, "sampler=random", "seed=0", "budget=99999,40")
    assert first.code != 0
    assert "budget=99999" in first.output
    assert "Traceback" not in first.output
    finished, failed = (tmp_path / f"sweep/random_weighted_partial_ce_budget{n}_seed0" for n in (40, 99999))
    assert not (failed / "scores.json").exists()
    before = (finished / "scores.json").stat().st_mtime_ns

    again = command("pointseg.train", *EXPERIMENT, "seed=0", "budget=40")
    assert again.code == 0, again.output
    assert again.output.count("this run is finished") == 1
    assert again.output.count("Epoch 1 of 1") == 1
    changed = command("pointseg.train", *EXPERIMENT, "sampler=random", "seed=0", "budget=40", "optimizer.lr=0.5")
    assert changed.code != 0
    assert re.search("optimizer.lr: 0.001 .* 0.5 ", changed.output)
    assert (finished / "scores.json").stat().st_mtime_ns == before

    reported = command("pointseg.report", "sweep=sweep", "name=sampling")
    assert reported.code == 0, reported.output
    tables = sections(tmp_path / "experiments/sampling")
    assert [line["run"] for line in tables["Not finished"]] == [failed.name]
    assert row(tables["Scores"], arm="random, budget 40")["seeds"] == "1"
    assert (tmp_path / "experiments/sampling/examples.png").exists()


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "ray"])
def test_a_launcher(launcher: str, tmp_path: Path) -> None:
    plugin = f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher"
    if not find_spec("hydra_plugins") or not find_spec(plugin):
        pytest.skip(f"{plugin} is not installed: pip install 'pointseg[sweep]'")
    # A process of its own: a launcher's workers import the main module, which must be the command's.
    swept = subprocess.run(
        [sys.executable, "-m", "pointseg.train", "-m", *TINY, "budget=40", "seed=0,1", f"hydra/launcher={launcher}"],
        **{"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 300},
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert swept.returncode == 0, swept.stdout + swept.stderr
    runs = sorted((tmp_path / "sweep").glob("*/scores.json"))
    assert [file.parent.name[-5:] for file in runs] == ["seed0", "seed1"]
    assert all("finished" in read_scores(file.parent) for file in runs)


def test_optuna_goes_on_with_a_stored_study(command: Command, tmp_path: Path) -> None:
    if not find_spec("hydra_plugins") or not find_spec("hydra_plugins.hydra_optuna_sweeper"):
        pytest.skip("hydra-optuna-sweeper is not installed: pip install 'pointseg[sweep]'")
    search = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1"]
    study = ["hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=lr", "hydra.sweeper.n_jobs=1"]
    space = ["loss=focal", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "loss.gamma=interval(0,4)"]
    name = "hydra.sweep.subdir=lr${optimizer.lr}_gamma${loss.gamma}"
    for trials in (1, 2):
        swept = command("pointseg.train", "-m", *TINY, "budget=40", *search, *study, *space, name)
        assert swept.code == 0, swept.output
        with sqlite3.connect(tmp_path / "study.db") as database:
            assert database.execute("select count(*) from trial_values").fetchone() == (trials,)
