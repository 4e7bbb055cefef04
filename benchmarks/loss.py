"""The loss at the points against the dense one.

Forward and backward from logits at stride 8, as the network gives them (channels_last), 1 % of the pixels labelled,
batch 8. Dense: upsampled, cross entropy with `ignore_index`. Peer: segmentation-models-pytorch's
`SoftCrossEntropyLoss` on the same. Times are the wall's. Bytes: the largest that torch held at once, beyond the logits,
divided by the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import Seconds, in_turn, median, number, ratio, table, timed
from pointseg.losses.partial_ce import PartialCrossEntropy
from pointseg.models.logits import upsample
from pointseg.types import IGNORE, Batch

STRIDE = 8


@dataclass(frozen=True)
class Size:
    """cases: (classes, side of the crop in pixels, threads)."""

    cases: tuple[tuple[int, int, int], ...]
    batch: int
    rounds: int


SIZES = {
    "tiny": Size(((6, 64, 1),), 2, 2),
    "quick": Size(((6, 512, 1), (6, 512, 2), (20, 512, 2), (6, 1024, 2)), 8, 15),
    "full": Size(
        (
            *((6, 512, 1), (6, 512, 2), (20, 512, 2), (100, 512, 2)),
            *((6, 1024, 1), (6, 1024, 2), (20, 1024, 2)),
        ),
        *(8, 3),
    ),
}


def run(size: Size, folder: Path) -> str:
    rows = []
    threads_before = torch.get_num_threads()
    for classes, side, threads in size.cases:
        torch.set_num_threads(threads)
        batch = draw(size.batch, side, classes)
        mask = dense(batch)
        contenders: dict[str, Callable[[Tensor], Tensor]] = {
            "at the points": lambda logits, batch=batch: PartialCrossEntropy()(logits, batch),
            "dense": lambda logits, mask=mask: F.cross_entropy(
                upsample(logits, mask.shape[1:]), mask, ignore_index=IGNORE
            ),
            "smp": partial(peer, mask),
        }
        logits = torch.randn(size.batch, classes, side // STRIDE, side // STRIDE)
        logits = logits.to(memory_format=torch.channels_last).requires_grad_()
        steps = {name: partial(step, loss, logits) for name, loss in contenders.items()}
        samples = in_turn(steps, size.rounds)
        for name, loss in contenders.items():
            held = peak(partial(step, loss, logits)) / size.batch / 1e6
            speed = ratio(samples, name, "dense", "wall")
            rows.append([classes, f"{side}²", threads, name, number(1e3 * median(samples[name])), speed, number(held)])
    torch.set_num_threads(threads_before)
    head = ["classes", "crop", "threads", "loss", "ms a step", "times the dense one's speed", "MB an image"]
    return table(head, rows)


def peer(mask: Tensor, logits: Tensor) -> Tensor:
    loss = smp.losses.SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=IGNORE)
    return loss(upsample(logits, mask.shape[1:]), mask)


def step(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Seconds:
    logits.grad = None
    return timed(lambda: loss(logits).backward())


def draw(crops: int, side: int, classes: int) -> Batch:
    """1 % of the pixels of each crop as points."""
    rng = np.random.default_rng(0)
    count = side * side // 100
    flat = np.concatenate([crop * side * side + rng.choice(side * side, count, replace=False) for crop in range(crops)])
    points = torch.from_numpy(np.stack(np.unravel_index(flat, (crops, side, side)), 1)).float()
    labels = torch.from_numpy(rng.integers(0, classes, len(flat)))
    return Batch(torch.zeros(crops, 3, side, side, dtype=torch.uint8), points, labels)


def dense(batch: Batch) -> Tensor:
    """A mask (b, h, w) with the labels at the nearest pixels, IGNORE elsewhere."""
    images, (height, width) = batch.images, batch.images.shape[2:]
    mask = torch.full((len(images), height, width), IGNORE, device=batch.labels.device)
    crop, row, col = batch.points.round().long().unbind(1)
    mask[crop, row.clamp(0, height - 1), col.clamp(0, width - 1)] = batch.labels
    return mask


def peak(work: Callable[[], object]) -> int:
    """Bytes that torch held at once while `work` ran, beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    held = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most
