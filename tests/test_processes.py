"""Two processes on a CPU train what one trains."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT

# No batch norm and no dropout: see conf/trainer/ddp.yaml. With the file `kill` there, the first process is killed
# in its second epoch.
NETWORK = """
import os, signal
from pathlib import Path
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, weights):
        super().__init__()
        norm = nn.GroupNorm(4, 16)
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), norm, nn.ReLU(), nn.Conv2d(16, classes, 3, 1, 1))

    def forward(self, images):
        if self.training and os.environ.get("LOCAL_RANK") == "0" and list(Path().glob("*/*/last.ckpt")):
            if Path("kill").exists():
                Path("kill").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.layers(images / 128 - 1)
"""
RUN = [  # 9 scenes are validated: they do not divide by 2
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *("model=unet", "model._target_=theirs.Net", "model.weights=null", "tile_size=16", "overlap=4", "budget=20"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=2", "+trainer.enable_progress_bar=false"),
]
DDP = ["trainer=ddp", "batch_size=2"]
SWEEP = ["-m", *RUN, *DDP, "seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${seed}", "resume=true"]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "theirs.py").write_text(NETWORK)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "POINTSEG_TRUST": "theirs"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


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


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process with the same global batch."""
    folder = tmp_path_factory.mktemp("alone")
    trained = python(folder, "pointseg.train", *RUN, "batch_size=4", "hydra.run.dir=run")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    return folder / "run"


def test_11_a_sweep_over_two_processes_is_killed_resumed_and_ends_as_one_process(alone: Path, tmp_path: Path) -> None:
    """Failure 11 of the field's: lightning#11300, hydra#2070."""
    (tmp_path / "kill").touch()
    killed = python(tmp_path, "pointseg.train", *SWEEP)
    assert killed.returncode < 0, killed.stdout + killed.stderr
    assert torch.load(tmp_path / "sweep/0/last.ckpt", weights_only=True)["epoch"] == 0
    assert not (tmp_path / "sweep/1").exists()
    resumed = python(tmp_path, "pointseg.train", *SWEEP)
    output = resumed.stdout + resumed.stderr
    assert resumed.returncode == 0, output
    assert output.count("Training points") == 2  # said by the first process of each job
    assert output.count("Epoch 2 of 2") == 2
    assert output.count("Epoch 1 of 2") == 1
    assert_equal(tmp_path / "sweep/0", alone)
    assert "finished" in json.loads((tmp_path / "sweep/1/scores.json").read_text())
    assert not list((tmp_path / "sweep").rglob("*.partial"))
    assert not (tmp_path / "outputs").exists()  # where Hydra would put a process that went its own way


def test_torchrun_trains_one_run_in_one_folder(alone: Path, tmp_path: Path) -> None:
    folder = "hydra.run.dir=runs/${now:%f}"  # another one for each process, as Hydra's clock has it
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "-m", "pointseg.train"]
    trained = python(tmp_path, *torchrun, *RUN, *DDP, folder)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    (scores,) = tmp_path.glob("runs/*/scores.json")
    assert_equal(scores.parent, alone)
