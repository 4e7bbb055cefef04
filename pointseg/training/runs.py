"""A run is a folder that can be reloaded alone.

config.yaml   the resolved configuration      points/      the annotation it was trained on
best.ckpt     best validation mIoU            last.ckpt    the latest epoch, or where it was stopped
scores.json   validation and test scores      events.out…  TensorBoard
"""

import json
import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pointseg.annotation.annotator import Annotator
from pointseg.annotation.kept import Kept
from pointseg.config import Node, TrainConfig, construct, parse, read
from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.models.frozen import Frozen
from pointseg.models.networks import build_network
from pointseg.models.weights import read_checkpoint, restore
from pointseg.prediction.trained import checkpoint_file, config_file
from pointseg.training.data import PointData
from pointseg.training.each_point import EachPointOnce
from pointseg.training.frozen import FrozenSeg
from pointseg.training.point_features import margin
from pointseg.training.system import PointSeg
from pointseg.types import Dataset

log = logging.getLogger(__name__)

MONITOR = "miou_all_classes"


def build(config: TrainConfig, folder: Path) -> tuple[PointData, PointSeg]:
    """The data and the system of a configuration, the points of its run in `folder`.

    The one place where facts cross parts: the classes of the dataset size the network, the counts of
    the drawn points weigh the loss.
    """
    dataset, annotator = build_dataset(config)
    # Before the points: weights that do not fit are found at once.
    model = build_network(config.model, len(dataset.classes), dataset.bands)
    # Of frozen features, a head is fitted to all points at once.
    data = (partial(EachPointOnce, margin=margin(model, config.crop_size)) if isinstance(model, Frozen) else PointData)(
        dataset,
        annotator,
        folder / "points",
        construct(config.crops),
        construct(config.augment, crop_size=config.crop_size),
        config.crop_size,
        config.batch_size,
        _workers(config),
        config.seed,
    )
    data.prepare_data()
    data.setup("fit")
    system = (FrozenSeg if isinstance(model, Frozen) else PointSeg)(
        model,
        construct(config.loss, counts=data.counts, classes=len(dataset.classes)),
        lambda parameters: construct(config.optimizer, params=parameters),
        None if config.schedule is None else partial(_schedule, config.schedule),
        dataset,
        config.crop_size,
        config.overlap,
        config.batch_size,
        config.flips,
    )
    return data, system


def build_dataset(config: TrainConfig) -> tuple[Dataset, Annotator]:
    """The dataset, and what labels points in it.

    `points` of a dataset with masks is the folder of a run, whose points are used again.
    """
    annotator = construct(
        config.annotation,
        sampler=construct(config.sampler),
        budget=config.budget,
        seed=config.seed,
        accelerator="cpu" if on_cpu(config) else "auto",
    )
    dataset = construct(config.dataset, annotation=annotator, points=config.points)
    if config.points is None or dataset.points is not None:
        return dataset, annotator
    if isinstance(config.points, list):
        raise InputError(f"points={config.points}: several files need dataset=field; give one run's folder of points.")
    return dataset, Kept(Path(config.points))


def _schedule(node: Node, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    # Each of torch's schedules has its own name for the length of a run.
    lr = [group["lr"] for group in optimizer.param_groups]
    return construct(node, optimizer=optimizer, total_steps=steps, T_max=steps, total_iters=steps, max_lr=lr)


def on_cpu(config: TrainConfig) -> bool:
    return config.trainer.get("accelerator") == "cpu" or not torch.cuda.is_available()


def _workers(config: TrainConfig) -> int:
    if config.num_workers is not None:
        return config.num_workers
    return 0 if on_cpu(config) else min(8, os.cpu_count() or 1)


def load(folder: Path, checkpoint: str, overrides: Node | None = None) -> tuple[TrainConfig, PointData, PointSeg]:
    """What `build` made for the run in `folder`, with the weights of its `best` or `last` checkpoint.

    overrides: changes to the run's configuration, as {"dataset": {"root": "/data"}}.

    Raises InputError where the folder holds no run, the checkpoint is missing or damaged, or the
    dataset has other classes than the checkpoint was trained on.
    """
    file = config_file(folder)
    try:
        # The checkpoint has all weights.
        cfg = OmegaConf.merge(read(file), overrides or {}, {"model": {"weights": None}})
    except OmegaConfBaseException as error:
        raise InputError(f"overrides={overrides}: do not fit {file} ({error}).") from error
    assert isinstance(cfg, DictConfig)
    if (folder / "points").is_dir():
        cfg.points = str(folder / "points")  # as they were, whatever became of the file they came from
    config = parse(cfg)
    _check_images(config)
    kept = checkpoint_file(folder, checkpoint)
    saved = read_checkpoint(kept)
    data, system = build(config, folder)
    if saved.get("classes") != system.classes:
        raise InputError(
            f"{kept} was trained on the classes {saved.get('classes')}, but the dataset of "
            f"{file} has {system.classes}; restore that dataset or its configuration."
        )
    restore(system, saved.get("state_dict"), kept)
    return config, data, system


def _check_images(config: TrainConfig) -> None:
    """Raises InputError where the image or folder of images that a run names has gone."""
    images = config.dataset.get("images")
    named = isinstance(images, str) and not re.search(r"[*?\[{:@]|^/vsi", images)  # a path, and no pattern or list
    if named and not Path(str(images)).exists():
        raise InputError(
            f"{images}: the images of this run are no longer there; name their new place, as in "
            "overrides='{dataset: {images: /new/place}}'."
        )


def below(folder: Path) -> list[Path]:
    """The folders of all runs below `folder`, finished or not, or its own."""
    return [file.parent for file in sorted(folder.rglob("config.yaml")) if file.parent.name != ".hydra"]


def best(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The scores of the epoch whose checkpoint is kept: the first with the highest validation mIoU."""
    return max(history, key=lambda scores: float(scores[MONITOR]))


def read_scores(folder: Path) -> dict[str, Any]:
    """What scores.json holds; empty where there is none yet."""
    file = folder / "scores.json"
    if not file.exists():
        return {}
    with reading(file, "scores", "restore it; resume=true writes it anew, if last.ckpt is there."):
        content = json.loads(file.read_text(), parse_constant=_no_number)
        if not isinstance(content, dict):
            raise TypeError(f"a {type(content).__name__} in place of an object")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no score")


def write_scores(folder: Path, **parts: object) -> None:
    """Set the given parts of scores.json (NaN, an absent class's score, is written as null)."""
    file = folder / "scores.json"
    content = _without_nan({**read_scores(folder), **parts})
    with writing(file) as partial_file:
        partial_file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value
