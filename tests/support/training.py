"""What tests share with those of training."""

import json
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from pointseg.config import CONF
from pointseg.training.train import train as train_run

SCENES = [
    "dataset=synthetic",
    "dataset.tiles=4",
    "dataset.size=96",
    "dataset.split={train: [1, 2], val: [3], test: [4]}",
]


SMALL = [
    "model=lraspp_mobilenet_v3",
    "model.weights=null",
    "crop_size=32",
    "overlap=8",
    "budget=40",
    "trainer.max_epochs=1",
    "+trainer.limit_train_batches=2",
    "+trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
]


def composed(*overrides: str) -> DictConfig:
    scenes = [] if any(override.startswith("dataset=") for override in overrides) else SCENES
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*scenes, *SMALL, *overrides])


def train(folder: Path, *overrides: str) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    train_run(composed(*overrides), folder, {"loss": "focal"})
    scores = json.loads((folder / "scores.json").read_text())
    assert isinstance(scores, dict)
    return scores
