"""Two processes on a CPU train what one trains."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import ROOT, Outcome


class Net(torch.nn.Module):
    """No batch norm and no dropout: see conf/trainer/ddp.yaml. With KILLED, the first process dies in epoch 2."""

    def __init__(self, classes: int, weights: None) -> None:
        super().__init__()
        norm = nn.GroupNorm(4, 16)
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), norm, nn.ReLU(), nn.Conv2d(16, classes, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first = self.training and "KILLED" in os.environ and os.environ["LOCAL_RANK"] == "0"
        if first and list(Path().glob("*/*/last.ckpt")):
            os.kill(os.getpid(), signal.SIGKILL)
        logits: torch.Tensor = self.layers(images / 128 - 1)
        return logits


RUN = [  # 9 scenes are validated: they do not divide by 2
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *(
        "model=unet",
        "model._target_=tests.test_processes.Net",
        "model.weights=null",
        "crop_size=16",
        "overlap=4",
        "budget=20",
    ),
    *("trainer.accelerator=cpu", "trainer.max_epochs=2", "+trainer.enable_progress_bar=false"),
]
DDP = ["trainer=ddp", "batch_size=2"]
TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "2", "-m", "pointseg.train"]
SWEEP = ["-m", *RUN, *DDP, "seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${seed}", "resume=true"]


Command = Callable[..., Outcome]


@pytest.fixture
def start(command: Command) -> Command:
    # torchrun starts processes of its own.
    return partial(command, PYTHONPATH=str(ROOT), POINTSEG_TRUST="tests")


def assert_equal(two: Path, one: Path) -> None:
    """Losses to 1e-5 (of their size), weights to 1e-4, the scores' confusion matrices exactly."""
    ours, theirs = (json.loads((folder / "scores.json").read_text())["history"] for folder in (two, one))
    assert len(ours) == len(theirs) == 2
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert mine["train/accuracy"] == pytest.approx(other["train/accuracy"], abs=1e-6)
        assert mine["confusion"] == other["confusion"]
        assert np.sum(mine["confusion"]) == 96 * 96  # every scene once: all pixels have a label
    ours, theirs = (torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (two, one))
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, atol=1e-4, rtol=1e-4), name
    points = sorted(file.relative_to(one) for file in (one / "points").rglob("*.csv"))
    assert len(points) == 18
    assert all((two / file).read_text() == (one / file).read_text() for file in points)


@pytest.fixture
def alone(start: Command, tmp_path: Path) -> Path:
    """The run of one process with the same global batch."""
    trained = start("pointseg.train", *RUN, "batch_size=4", "hydra.run.dir=alone")
    assert trained.code == 0, trained.output
    return tmp_path / "alone"


def test_11_a_sweep_over_two_processes_is_killed_resumed_and_ends_as_one_process(
    start: Command, alone: Path, tmp_path: Path
) -> None:
    """Failure 11 of the field's: lightning#11300, hydra#2070."""
    killed = start(*TORCHRUN, *SWEEP, KILLED="1")
    assert killed.code not in (0, None), killed.output
    assert torch.load(tmp_path / "sweep/0/last.ckpt", weights_only=True)["epoch"] == 0
    # The other process may have begun on the second run before torchrun ended it; it cannot have trained it alone.
    assert not (tmp_path / "sweep/1/last.ckpt").exists()
    resumed = start(*TORCHRUN, *SWEEP)
    assert resumed.code == 0, resumed.output
    assert resumed.output.count("Training points") == 2  # said by the first process of each job
    assert resumed.output.count("Epoch 2 of 2") == 2
    assert resumed.output.count("Epoch 1 of 2") == 1
    assert_equal(tmp_path / "sweep/0", alone)
    assert "finished" in json.loads((tmp_path / "sweep/1/scores.json").read_text())
    assert not list((tmp_path / "sweep").rglob("*.partial*"))
    assert not (tmp_path / "outputs").exists()  # where Hydra would put a process that went its own way


def test_torchrun_trains_one_run_in_one_folder(start: Command, alone: Path, tmp_path: Path) -> None:
    folder = "hydra.run.dir=runs/${now:%f}"  # another one for each process, as Hydra's clock has it
    trained = start(*TORCHRUN, *RUN, *DDP, folder)
    assert trained.code == 0, trained.output
    (scores,) = tmp_path.glob("runs/*/scores.json")
    assert_equal(scores.parent, alone)


def test_as_many_processes_as_devices_are_wanted(start: Command, tmp_path: Path) -> None:
    alone = start(*TORCHRUN, *RUN, "batch_size=2", "hydra.run.dir=both")  # each would train the whole run
    assert alone.code not in (0, None)
    assert "trainer=ddp" in alone.output
    refused = start("pointseg.train", *RUN, *DDP, "hydra.run.dir=run")
    assert refused.code not in (0, None)
    assert "torchrun --nproc-per-node 2" in refused.output
    assert "Traceback" not in refused.output
    assert not (tmp_path / "run/last.ckpt").exists()
