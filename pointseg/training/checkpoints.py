"""What a run keeps after every epoch, and when it is told to stop, so that it can go on from there.

last.ckpt is the truth: best.ckpt is a copy of it, and scores.json is written from the history in it. Each
is written beside its place and renamed, in this order; what a kill left undone is done on resuming.
"""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from omegaconf import DictConfig, OmegaConf

from pointseg import processes
from pointseg.config import read
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.training import runs
from pointseg.training.system import PointSeg

log = logging.getLogger(__name__)

# Keys that say where and how fast a run computes, not what: it may be resumed with others. A key covers those below it.
MACHINE = (
    *("resume", "num_workers", "compile", "dataset.root", "annotation.run"),
    *("trainer.accelerator", "trainer.enable_progress_bar"),
)


BEGUN = ("config.yaml", "points", "hparams.yaml")
"""What a run writes before it is trained, beside TensorBoard's events."""


class WholeFiles(TorchCheckpointIO):
    """Lightning's own writes in the system's temporary folder: from another disk, moving is copying, and can be cut."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with writing(Path(path)) as partial:
            torch.save(checkpoint, partial)


class Keeper(Checkpoint):
    """Writes last.ckpt, best.ckpt and scores.json into `folder` at the end of each epoch, and says the scores.

    SIGINT (Ctrl-C) or SIGTERM (a scheduler's) ends the training with SystemExit after the batch, or the scene of a
    validation, that is being computed, and last.ckpt is written first. A second one ends it at once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0  # of training, over every start of the run
        self.started = False  # whether all of the run is restored
        self.step = 0  # that last.ckpt is of
        self.signal: signal.Signals | None = None  # that came

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = float(state["seconds"])

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.step = checkpoint["global_step"]
        if checkpoint["history"] and trainer.is_global_zero:
            self._publish(checkpoint["history"], checkpoint["epoch"] + 1)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = True
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):  # in place of Lightning's, which restores what was before
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            raise SystemExit(128 + number)
        self.signal = signal.Signals(number)
        log.warning("%s: stopping after this step; a second one stops at once.", self.signal.name)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._stopping(trainer):  # at the end of the epoch before, whose scores are now all logged
            raise self.exit

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if _next_is_a_batch(trainer, batch_idx + 1) and self._stopping(trainer):
            self._save(trainer, pl_module)
            raise self.exit

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking and self._stopping(trainer):
            # As if at its first scene: the validation begins anew, as what its other scenes gave is not kept.
            progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            progress.reset()
            progress.increment_ready()
            progress.increment_started()
            self._save(trainer, pl_module)
            raise self.exit

    def _stopping(self, trainer: Trainer) -> bool:
        """Whether any process was told to stop, so that all do at the same step."""
        return trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)

    @property
    def exit(self) -> SystemExit:
        return SystemExit(128 + (self.signal or signal.SIGTERM))  # the signal may have come to another process

    def _save(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._refuse_what_is_not_finite(trainer, pl_module)
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self.step = _step(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PointSeg)
        self._save(trainer, pl_module)
        history = pl_module.history
        if trainer.is_global_zero and history and history[-1]["epoch"] == trainer.current_epoch + 1:
            self._publish(history, history[-1]["epoch"])
            log.info(
                "Epoch %d of %s: validation mIoU %.3f over all classes, %.3f over land cover, loss %.3f",
                *(history[-1]["epoch"], trainer.max_epochs),
                *(history[-1][name] for name in ("miou_all_classes", "miou_land_cover", "loss")),
            )

    def _refuse_what_is_not_finite(self, trainer: Trainer, system: LightningModule) -> None:
        """A finite loss can have a gradient that is not; its weights would end this run, resumed, at once."""
        finite = all(bool(value.isfinite().all()) for value in system.state_dict().values())
        if not trainer.strategy.reduce_boolean_decision(finite):
            raise InputError(
                f"In epoch {trainer.current_epoch + 1} the network's weights are not finite, and are not kept: "
                f"{self.folder / 'last.ckpt'}, if there is one, is from before. Lower optimizer.lr, or take "
                "trainer.precision=32-true, in another folder."
            )

    def _publish(self, history: list[dict[str, Any]], epoch: int) -> None:
        """What follows from a last.ckpt of `epoch` (counted from 1) with this history."""
        best = runs.best(history)
        if best["epoch"] == epoch:
            with writing(self.folder / "best.ckpt") as partial:
                shutil.copyfile(self.folder / "last.ckpt", partial)
        runs.write_scores(self.folder, val={"best": best, "final": history[-1]}, history=history)


def _step(trainer: Trainer) -> int:
    """The steps of the optimiser; of a head that is fitted without one, the batches."""
    return trainer.global_step or trainer.fit_loop.epoch_loop.batch_progress.total.completed


def _next_is_a_batch(trainer: Trainer, done: int) -> bool:
    """Whether after `done` batches of an epoch a step is complete, and no validation and no epoch's end follow.

    Lightning, resumed, leaves these out.
    """
    ends = (trainer.num_training_batches, trainer.val_check_batch or 1)
    return done % trainer.accumulate_grad_batches == 0 and all(done % end for end in ends)


def begin(cfg: DictConfig, resume: bool, folder: Path) -> Path | None:
    """Begin the run of `cfg` in `folder`, or find the checkpoint that it goes on from (None: from the start).

    Raises InputError where the folder holds a run that is not to be resumed, or one of another configuration.
    """
    file, last = folder / "config.yaml", folder / "last.ckpt"
    trained = last.exists() or (folder / "best.ckpt").exists()
    if processes.rank():  # the first has begun the run
        return last if resume and last.exists() else None
    if file.exists():
        if not resume and (trained or (folder / "points").exists()):  # else it was refused at its start
            raise InputError(
                f"{folder} already holds a run; go on with it with resume=true, give another folder with "
                "hydra.run.dir=<folder>, or remove it."
            )
        changes = differences(*(flat(OmegaConf.to_container(x, resolve=True)) for x in (read(file), cfg)))
        if changes and trained:
            listing = "; ".join(f"{key}: {was} there, {now} here" for key, (was, now) in changes.items())
            raise InputError(
                f"{folder} holds a run of another configuration ({listing}); give the same, or another folder."
            )
        if changes:  # nothing was trained yet, and the points were drawn for another configuration
            shutil.rmtree(folder / "points", ignore_errors=True)
    if not trained:
        with writing(file) as partial:
            OmegaConf.save(cfg, partial, resolve=True)
        return None
    return last if last.exists() else None


def in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def withdrawn(folder: Path) -> Iterator[None]:
    """Within, a run begins; one that is refused leaves nothing in its folder that was not there before.

    Of a sweep it leaves its configuration, because reports name the runs that are not finished.
    """
    before = set(folder.iterdir()) if folder.is_dir() else set()
    try:
        yield
    except InputError:
        new = set(folder.iterdir()) - before if folder.is_dir() else set()
        begun = {file for file in new if file.name in BEGUN or file.name.startswith("events.out")}
        # Anything else is of a training that has come further, and says what went wrong.
        if begun == new and not processes.rank() and not in_sweep():
            for file in begun:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        raise


def differences(was: Mapping[str, object], now: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """The keys in which two configurations, `flat`, differ, with both values (None where absent)."""
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
