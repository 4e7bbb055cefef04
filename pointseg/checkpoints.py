"""What a run keeps after every epoch, so that it can be killed anywhere and go on from there.

last.ckpt is the truth: best.ckpt is a copy of it, and scores.json is written from the history in it. Each
is written beside its place and renamed, in this order; what a kill left undone is done on resuming.
"""

import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from omegaconf import DictConfig, OmegaConf

from pointseg import processes, runs
from pointseg.config import read
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.system import PointSeg

log = logging.getLogger(__name__)

# Keys that say where and how fast a run computes, not what: it may be resumed with others. A key covers those below it.
MACHINE = (
    *("resume", "num_workers", "dataset.root", "sampler.run"),
    *("trainer.accelerator", "trainer.enable_progress_bar"),
)


class WholeFiles(TorchCheckpointIO):
    """Lightning's own writes in the system's temporary folder: from another disk, moving is copying, and can be cut."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with writing(Path(path)) as partial:
            torch.save(checkpoint, partial)


class Keeper(Checkpoint):
    """Writes last.ckpt, best.ckpt and scores.json into `folder` at the end of each epoch, and says the scores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0  # of training, over every start of the run
        self.started = False  # whether all of the run is restored

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if checkpoint["history"] and trainer.is_global_zero:
            self._publish(checkpoint["history"], checkpoint["epoch"] + 1)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PointSeg)
        self._refuse_what_is_not_finite(trainer, pl_module)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        trainer.save_checkpoint(self.folder / "last.ckpt")
        history = pl_module.history
        if trainer.is_global_zero and history and history[-1]["epoch"] == trainer.current_epoch + 1:
            self._publish(history, history[-1]["epoch"])
            log.info(
                "Epoch %d of %s: validation mIoU %.3f over all classes, %.3f over land cover, loss %.3f",
                *(history[-1]["epoch"], trainer.max_epochs),
                *(history[-1][name] for name in ("miou_all_classes", "miou_land_cover", "loss")),
            )

    def _refuse_what_is_not_finite(self, trainer: Trainer, system: PointSeg) -> None:
        """A finite loss can have a gradient that is not; its weights would end this run, resumed, at once."""
        finite = all(bool(value.isfinite().all()) for value in system.state_dict().values())
        if not trainer.strategy.reduce_boolean_decision(finite):
            raise InputError(
                f"After epoch {trainer.current_epoch + 1} the network's weights are not finite, and are not kept: "
                f"{self.folder / 'last.ckpt'}, if there is one, is of the epoch before. Lower optimizer.lr, or take "
                "trainer.precision=32-true, in another folder."
            )

    def _publish(self, history: list[dict[str, Any]], epoch: int) -> None:
        """What follows from a last.ckpt of `epoch` (counted from 1) with this history."""
        best = runs.best(history)
        if best["epoch"] == epoch:
            with writing(self.folder / "best.ckpt") as partial:
                shutil.copyfile(self.folder / "last.ckpt", partial)
        runs.write_scores(self.folder, val={"best": best, "final": history[-1]}, history=history)


def begin(cfg: DictConfig, resume: bool, folder: Path) -> Path | None:
    """Begin the run of `cfg` in `folder`, or find the checkpoint that it goes on from (None: from the start).

    Raises InputError where the folder holds a run that is not to be resumed, or one of another configuration.
    """
    file, last = folder / "config.yaml", folder / "last.ckpt"
    if processes.rank():  # the first has begun the run
        return last if resume and last.exists() else None
    if file.exists():
        if not resume:
            raise InputError(
                f"{folder} already holds a run; go on with it with resume=true, give another folder with "
                "hydra.run.dir=<folder>, or remove it."
            )
        changes = differences(read(file), cfg)
        if changes and last.exists():
            listing = "; ".join(f"{key}: {was} there, {now} here" for key, (was, now) in changes.items())
            raise InputError(
                f"{folder} holds a run of another configuration ({listing}); give the same, or another folder."
            )
        if changes:  # nothing was trained yet, and the points were drawn for another configuration
            shutil.rmtree(folder / "points", ignore_errors=True)
    if not last.exists():
        with writing(file) as partial:
            OmegaConf.save(cfg, partial, resolve=True)
        return None
    return last if resume else None


def differences(there: Any, here: DictConfig) -> dict[str, tuple[object, object]]:
    """The keys, dotted, in which two configurations differ, MACHINE apart, with both values (None where absent)."""
    was, now = (flat(OmegaConf.to_container(cfg, resolve=True)) for cfg in (there, here))
    keys = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    return {key: (was.get(key), now.get(key)) for key in keys}


def flat(content: Any, prefix: str = "") -> dict[str, object]:
    """{"a": {"b": 1}} → {"a.b": 1}, without MACHINE."""
    if prefix in MACHINE:
        return {}
    if not isinstance(content, Mapping) or not content:
        return {prefix: content}
    items = [flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in content.items()]
    return {key: value for item in items for key, value in item.items()}
