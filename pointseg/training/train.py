"""One training run, from a composed configuration to a run folder."""

import errno
import logging
import os
import platform
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from pointseg import metrics, processes
from pointseg.config import TrainConfig, construct, parse
from pointseg.errors import REASON, InputError, reading
from pointseg.files import alone
from pointseg.models.weights import read_checkpoint
from pointseg.training import memory, runs
from pointseg.training.callbacks import Lines, TrainingPictures
from pointseg.training.checkpoints import Keeper, WholeFiles, begin, in_sweep, withdrawn
from pointseg.training.data import PointData
from pointseg.training.frozen import FrozenSeg
from pointseg.training.system import PointSeg

log = logging.getLogger(__name__)

NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


def train(cfg: DictConfig, folder: Path, choices: dict[str, Any]) -> float:
    """Train as `cfg` says and keep everything in `folder`; the best validation mIoU over all classes.

    choices: the chosen option of each configuration group, shown in TensorBoard's HParams.
    """
    if processes.rank():
        logging.getLogger("pointseg").setLevel(logging.ERROR)  # the first process says it
    config = parse(cfg)
    with _alone(folder), withdrawn(folder):
        return _train(cfg, config, folder, choices)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises InputError where another process trains in the folder. One that cannot be written to is refused later."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if processes.number() > 1 or not os.access(folder, os.W_OK) or not folder.is_dir():
        yield
        return
    with alone(folder, ".train"):
        try:
            yield
        finally:
            (folder / ".train.lock").unlink(missing_ok=True)


def _train(cfg: DictConfig, config: TrainConfig, folder: Path, choices: dict[str, Any]) -> float:
    with processes.in_turn(folder) as folder:
        checkpoint = begin(cfg, config.resume, folder)
        stored = runs.read_scores(folder)
        if "finished" in stored:
            log.info("%s: this run is finished; its stored score is used.", folder)
            return float(stored["val"]["best"][runs.MONITOR])
        lightning.seed_everything(config.seed, workers=True, verbose=False)
        if runs.on_cpu(config):
            memory.keep_freed()
        data, system = runs.build(config, folder)
    if isinstance(system, FrozenSeg):  # one pass over the points; more would add the same
        config = replace(config, trainer={**config.trainer, "max_epochs": 1, "check_val_every_n_epoch": 1})
    logger, keeper = _logger(config, choices, checkpoint, folder), Keeper(folder)
    callbacks = [keeper, LearningRateMonitor("step"), TrainingPictures(data.dataset), Lines()]
    facts = {"logger": logger, "plugins": [WholeFiles()], "callbacks": callbacks, "default_root_dir": folder}
    trainer = make_trainer(config, **facts)
    if config.compile:
        system.model.compile()
    _fit(trainer, system, data, keeper, checkpoint)
    return _conclude(trainer, system, data, keeper, logger)


def _logger(config: TrainConfig, choices: dict[str, Any], checkpoint: Path | None, folder: Path) -> TensorBoardLogger:
    step = _step(checkpoint)
    if step is not None:
        log.info("Going on from step %d of %s", step, checkpoint)
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False, purge_step=step)
    logger.hparams.update(_hparams(config, choices))
    return logger


def _conclude(trainer: Trainer, system: PointSeg, data: PointData, keeper: Keeper, logger: TensorBoardLogger) -> float:
    """Keep what is known at the end alone; the best validation mIoU over all classes."""
    best, folder = runs.best(system.history), keeper.folder
    names = ("miou_all_classes", "miou_land_cover", "accuracy", "kappa", "epoch")
    logger.log_hyperparams(dict(logger.hparams), {f"best/{name}": best[name] for name in names})
    logger.save()
    if trainer.is_global_zero:
        counts = dict(zip(system.classes, data.counts, strict=True))
        facts = {"seconds": round(keeper.seconds, 1), "points": counts, "device": str(trainer.strategy.root_device)}
        head = {"head": system.report} if isinstance(system, FrozenSeg) else {}
        runs.write_scores(folder, **head, finished={**facts, "versions": _versions()})
    log.info("Validation, best epoch (%d):\n%s", best["epoch"], metrics.table(best, system.classes, system.land_cover))
    log.info("Run folder: %s", folder)
    return float(best[runs.MONITOR])


def _fit(trainer: Trainer, system: PointSeg, data: PointData, keeper: Keeper, checkpoint: Path | None) -> None:
    try:
        trainer.fit(system, data, ckpt_path=checkpoint, weights_only=True)
        if keeper.signal:  # after the last epoch
            raise keeper.exit
    except SystemExit as stop:  # after Ctrl-C or SIGTERM; it ends a sweep too
        if not keeper.started:  # Lightning's
            keeper.signal = signal.SIGTERM if isinstance(stop, SIGTERMException) else signal.SIGINT
        epochs = trainer.max_epochs or 1
        log.warning(
            "Stopped in epoch %d of %s at step %d. %s",
            *(min(trainer.current_epoch + 1, epochs), epochs, keeper.step, _remedy(trainer, keeper)),
        )
        raise keeper.exit from None
    except InputError:
        raise
    except Exception as error:
        if cause := _cause(error, trainer, keeper, checkpoint):
            raise cause from error
        raise
    finally:
        trainer.fit_loop.teardown()  # ends the workers; Lightning leaves them when a validation is interrupted
    if not system.history:
        raise InputError(
            f"{trainer.default_root_dir}: the training ended before an epoch was validated; give it more epochs."
        )


def _cause(error: Exception, trainer: Trainer, keeper: Keeper, checkpoint: Path | None) -> InputError | None:
    """What the user can do about an error in training; None where it is a bug."""
    if isinstance(error, OSError) and error.errno in NOT_WRITTEN:  # TensorBoard's events, written as they come
        return InputError(
            f"{trainer.default_root_dir}: cannot be written ({error.strerror}); make room there. "
            f"{_remedy(trainer, keeper)}"
        )
    if checkpoint is None or keeper.started:
        return None
    reason = " ".join(str(error).split())[:REASON]
    return InputError(
        f"{checkpoint}: training cannot go on from it ({type(error).__name__}: {reason}); restore the file, or "
        "train anew in another folder."
    )


def _remedy(trainer: Trainer, keeper: Keeper) -> str:
    where = f"hydra.run.dir={trainer.default_root_dir}"
    if in_sweep():
        where = f"hydra.sweep.dir={HydraConfig.get().sweep.dir}"
    return f"The same command with {where} resume=true goes on from step {keeper.step}."


def _step(checkpoint: Path | None) -> int | None:
    """The step after which TensorBoard is to forget what an interrupted run has shown it."""
    if checkpoint is None:
        return None
    saved = read_checkpoint(checkpoint)
    if "history" not in saved:
        raise InputError(f"{checkpoint}: was written before runs could be resumed; train it anew in another folder.")
    with reading(checkpoint, "a run to go on with", "restore the file, or train anew in another folder."):
        step = saved["global_step"]
        if not isinstance(step, int):
            raise TypeError(f"its step is {step!r}")
    return step


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "torchvision", "lightning", "numpy")}
    return {"python": platform.python_version(), **packages}


def make_trainer(config: TrainConfig, **facts: Any) -> Trainer:
    """The Trainer of a configuration; a precision of `auto` is decided by the device."""
    # A crop is cut in milliseconds and a network step takes longer: more workers would not help a CPU.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")  # PointData is
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 with torch 2.15
    # Of frozen networks, as they are meant to be.
    warnings.filterwarnings("ignore", message=".*`LightningModule.configure_optimizers` returned `None`.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)  # its tips; the device is said below
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # it logs by the epoch then
    # A log file gets lines (see progress.py) instead of a thousand states of a bar.
    node = {"enable_progress_bar": sys.stderr.isatty(), **config.trainer}
    if node.get("precision") == "auto":
        node["precision"] = "32-true" if runs.on_cpu(config) else "bf16-mixed"
    trainer: Trainer = construct(node, **facts)
    if trainer.world_size != processes.number():
        wanted = max(trainer.num_devices, processes.number())
        # More: Lightning would start the others itself (see hydra #2070). Fewer: each would train the whole run.
        raise InputError(
            f"trainer.devices={trainer.num_devices}, but {processes.number()} processes were started: torchrun "
            f"starts as many, as in torchrun --nproc-per-node {wanted} -m pointseg.train trainer=ddp "
            f"trainer.devices={wanted}"
        )
    device = trainer.strategy.root_device
    log.info("Device: %s, precision: %s", device, trainer.precision)
    if device.type == "cpu" and "bf16" in trainer.precision and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        log.warning("This processor has no bfloat16 arithmetic: bf16 is emulated, and many times slower than float32.")
    return trainer


def _hparams(config: TrainConfig, choices: dict[str, Any]) -> dict[str, Any]:
    """What a sweep is compared by.

    TensorBoard sorts the names and at first shows five columns: the prefix puts the details last.
    """
    named = {group: str(choices.get(group)) for group in ("dataset", "loss", "model", "annotation", "sampler")}
    nodes = {"dataset": config.dataset, "loss": config.loss, "optimizer": config.optimizer}
    details: dict[str, Any] = {
        f"{group}.{key}": value
        for group, node in nodes.items()
        for key, value in node.items()
        if isinstance(value, str | int | float) and key != "_target_"
    }
    details |= {group: str(choices.get(group)) for group in ("optimizer", "schedule")}
    details |= {"crop_size": config.crop_size, "batch_size": config.batch_size}
    details["epochs"] = config.trainer.get("max_epochs")
    return named | {"budget": config.budget, "seed": config.seed} | {f"setting.{k}": v for k, v in details.items()}
