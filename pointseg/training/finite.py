"""A loss that is no number stops the run, and its batch is kept for a second look."""

import math
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, distributed

from pointseg import processes
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.types import Batch


def stop(folder: Path, loss: Tensor, batch: Batch, epoch: int, step: int) -> NoReturn:
    """Raise InputError that names the scenes of the batches whose loss is not finite; every process calls it.

    Each such batch is saved in `folder`, for torch.load(file, weights_only=True): images, points and labels as
    the network was given them, scenes, loss, epoch (from 1) and step.
    """
    message, value = "", float(loss.detach())
    if not math.isfinite(value):
        file = folder / f"not_finite_{processes.rank()}.pt"
        scenes = sorted(set(batch.scenes))
        content = {"images": batch.images, "points": batch.points, "labels": batch.labels, "scenes": scenes}
        with writing(file) as partial:
            torch.save({**content, "loss": value, "epoch": epoch + 1, "step": step}, partial)
        message = f"loss={value} in epoch {epoch + 1}, step {step}, of the scenes {', '.join(scenes)} (kept in {file})"
    everywhere = [message]
    if distributed.is_initialized():
        everywhere *= distributed.get_world_size()
        distributed.all_gather_object(everywhere, message)
    raise InputError(
        f"{'; '.join(filter(None, everywhere))}. last.ckpt, if there is one, is from before. Look at those "
        "images and points; else lower optimizer.lr or take trainer.precision=32-true, in another folder."
    )
