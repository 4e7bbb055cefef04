"""One training run, from a composed configuration to a run folder."""

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from pointseg import metrics, runs
from pointseg.config import TrainConfig, construct, parse
from pointseg.errors import InputError
from pointseg.pictures import TrainingPictures
from pointseg.system import PointSeg

log = logging.getLogger(__name__)


class ScoresFile(Callback):
    """Writes the scores, and says them, after each validation: a run that is cut short keeps them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, PointSeg)
        if trainer.is_global_zero:
            history = pl_module.history
            runs.write_scores(self.folder, val={"best": runs.best(history), "final": history[-1]}, history=history)
            log.info(
                "Epoch %d of %s: validation mIoU %.3f over all classes, %.3f over land cover, loss %.3f",
                *(history[-1]["epoch"], trainer.max_epochs),
                *(history[-1][name] for name in ("miou_all_classes", "miou_land_cover", "loss")),
            )


def fit(cfg: DictConfig, folder: Path, choices: dict[str, Any]) -> float:
    """Train as `cfg` says and keep everything in `folder`; the best validation mIoU over all classes.

    choices: the chosen option of each configuration group, shown in TensorBoard's HParams.
    """
    config = parse(cfg)
    runs.save_config(cfg, folder)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    data, system = runs.build(config, folder)
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    hparams = _hparams(config, choices)
    logger.hparams.update(hparams)
    keepers = [
        ModelCheckpoint(folder, "best", monitor=f"val/{runs.MONITOR}", mode="max"),
        ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    trainer = make_trainer(
        config,
        logger=logger,
        callbacks=[*keepers, LearningRateMonitor("step"), ScoresFile(folder), TrainingPictures(data.dataset)],
        default_root_dir=folder,
    )
    if config.compile:
        system.model.compile()
    trainer.fit(system, data)
    if trainer.interrupted or not system.history:
        raise InputError(
            f"{folder}: the training ended before its last epoch was validated; what it reached is kept there."
        )
    best = runs.best(system.history)
    names = ("miou_all_classes", "miou_land_cover", "accuracy", "kappa", "epoch")
    logger.log_hyperparams(hparams, {f"best/{name}": best[name] for name in names})
    logger.save()
    log.info("Validation, best epoch (%d):\n%s", best["epoch"], metrics.table(best, system.classes, system.land_cover))
    log.info("Run folder: %s", folder)
    return best[runs.MONITOR]


def make_trainer(config: TrainConfig, **facts: Any) -> Trainer:
    """The Trainer of a configuration; a precision of `auto` is decided by the device."""
    # A tile is cut in milliseconds and a network step takes longer: more workers would not help a CPU.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning 2.6 with torch 2.15
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # its tips; the device is said below
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # it logs by the epoch then
    # A log file gets a line for each validation instead of a thousand states of a bar.
    node = {"enable_progress_bar": sys.stderr.isatty(), **config.trainer}
    if node.get("precision") == "auto":
        node["precision"] = "32-true" if runs.on_cpu(config) else "bf16-mixed"
    try:
        trainer: Trainer = construct(node, **facts)
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise InputError(f"trainer: {error} Choose another, as in trainer=auto.") from error
    device = trainer.strategy.root_device
    log.info("Device: %s, precision: %s", device, trainer.precision)
    if device.type == "cpu" and "bf16" in trainer.precision and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        log.warning("This processor has no bfloat16 arithmetic: bf16 is emulated, and many times slower than float32.")
    return trainer


def _hparams(config: TrainConfig, choices: dict[str, Any]) -> dict[str, Any]:
    """What a sweep is compared by.

    TensorBoard sorts the names and at first shows five columns: the prefix puts the details last.
    """
    named = {group: str(choices.get(group)) for group in ("dataset", "loss", "model", "sampler")}
    nodes = {"dataset": config.dataset, "loss": config.loss, "optimizer": config.optimizer}
    details: dict[str, Any] = {
        f"{group}.{key}": value
        for group, node in nodes.items()
        for key, value in node.items()
        if isinstance(value, str | int | float) and key != "_target_"
    }
    details |= {group: str(choices.get(group)) for group in ("optimizer", "schedule")}
    details |= {"tile_size": config.tile_size, "batch_size": config.batch_size}
    details["epochs"] = config.trainer.get("max_epochs")
    return named | {"budget": config.budget, "seed": config.seed} | {f"setting.{k}": v for k, v in details.items()}
