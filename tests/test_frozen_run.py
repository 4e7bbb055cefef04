"""Runs of model=frozen: the same command, the same folder, and one head whatever reads the points."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pointseg.prediction.load import load
from tests.conftest import SPAWN, Outcome, run_module
from tests.test_resume import train_until

RUN = [
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *("model=frozen", "model.encoder=null", "budget=20", "crop_size=64", "overlap=16", "batch_size=2"),
    *("trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"),
]
Command = Callable[..., Outcome]


def state(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    return found


def assert_alike(ours: Path, theirs: Path) -> None:
    """Weights to 1e-5 of their size, the maps of the validation scenes in every pixel."""
    for name, value in state(theirs).items():
        assert float((state(ours)[name] - value).abs().max()) <= 1e-5 * float(value.abs().max()), name
    confusions = [
        json.loads((folder / "scores.json").read_text())["history"][0]["confusion"] for folder in (ours, theirs)
    ]
    assert confusions[0] == confusions[1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    folder = tmp_path_factory.mktemp("frozen")
    run = [*RUN, "hydra.run.dir=alone", "trainer.max_epochs=7"]
    process = SPAWN.Process(
        target=run_module, args=("pointseg.train", run, str(folder), dict(os.environ), str(folder / "output.txt"))
    )
    process.start()
    process.join(100)
    assert process.exitcode == 0, (folder / "output.txt").read_text()
    return folder / "alone"


def test_a_run_is_one_pass_and_leaves_what_every_run_leaves(command: Command, alone: Path, tmp_path: Path) -> None:
    scores = json.loads((alone / "scores.json").read_text())
    assert len(scores["history"]) == 1
    assert scores["val"]["best"]["miou_land_cover"] > 0.25  # chance is 0.1
    head = scores["head"]
    assert head["points"] == 9 * 20 == sum(scores["finished"]["points"].values())
    assert head["features"] == 78
    assert head["folds"] == 5
    assert {(tried["shrinkage"], tried["hidden"]) for tried in head["tried"]} >= {(head["shrinkage"], head["hidden"])}
    assert (alone / "last.ckpt").read_bytes() == (alone / "best.ckpt").read_bytes()
    evaluated = command("pointseg.evaluate", f"run={alone}", "split=val")
    assert evaluated.code == 0, evaluated.output
    (again,) = alone.glob("**/confusion.png")
    assert again.parent != alone
    assert json.loads((alone / "scores.json").read_text())["val"]["best"] == scores["val"]["best"]


@pytest.mark.parametrize("processes", [2, 3])
def test_as_many_processes_as_there_are_give_one_head(
    command: Command, alone: Path, tmp_path: Path, processes: int
) -> None:
    torchrun = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m", "pointseg.train"]
    ours = command(*torchrun, *RUN, "trainer=ddp", f"trainer.devices={processes}", "hydra.run.dir=together")
    assert ours.code == 0, ours.output
    assert_alike(tmp_path / "together", alone)


def test_a_fit_that_is_stopped_goes_on_where_it_was(command: Command, alone: Path, tmp_path: Path) -> None:
    run = [*RUN, "hydra.run.dir=run", "resume=true"]
    step = "pointseg.training.frozen.FrozenSeg.training_step"
    train_until(step, 3, tmp_path, signal.SIGTERM, run=run)
    saved = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    assert 0 < float(saved["so_far"][0][0].sum()) < 9 * 20
    train_until("pointseg.training.system.PointSeg.validation_step", 4, tmp_path, signal.SIGTERM, run=run)
    last = command("pointseg.train", *run)
    assert last.code == 0, last.output
    assert_alike(tmp_path / "run", alone)


def test_an_exported_head_predicts_as_the_run_does(command: Command, alone: Path, tmp_path: Path) -> None:
    exported = command("pointseg.export", f"run={alone}", "output=head.onnx")
    assert exported.code == 0, exported.output
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 70, 90), np.uint8))
    ours, theirs = (load(run, "best", "cpu", flips=None).predict(images) for run in (alone, tmp_path / "head.onnx"))
    assert float((ours - theirs).abs().max()) < 1e-4
