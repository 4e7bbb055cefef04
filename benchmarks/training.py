"""Training end to end against the bare network and the peers.

Every contender trains the same network (a copy each, from the same weights) with the same optimiser on crops of the
same scenes with the same points, of pointseg's loader and augmentation; peers get the points as a dense mask, elsewhere
`ignore_index`. *Network alone*: forward and backward of the mean logit and the optimiser's step on one resident batch
in channels_last. *pointseg*: what `python -m pointseg.train` does between steps, metrics and TensorBoard included;
these two keep freed memory (`pointseg.training.memory`), as `pointseg.train` does and the peers do not. *torchgeo*: its
SemanticSegmentationTask under Lightning's Trainer. *smp*: segmentation-models-pytorch's SoftCrossEntropyLoss in a plain
loop. *plain loop*: dense upsampling and torch's cross entropy. Peers compute in torch's default layout (NCHW), as they
come. Every round of a contender is a process of its own. Images per second are by the wall's clock; ratios are of
seconds in the same round (above 1: pointseg is faster), by the processor's and by the wall's clock: median (quartiles).
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import segmentation_models_pytorch as smp
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torchgeo.trainers import SemanticSegmentationTask

from benchmarks.common import (
    TINY_SCENES,
    Seconds,
    Stopwatch,
    configuration,
    in_turn,
    median,
    now,
    number,
    ratio,
    since,
    synchronize,
    table,
)
from benchmarks.loss import dense
from pointseg.config import TrainConfig, construct, parse
from pointseg.models.logits import upsample
from pointseg.training import memory, runs
from pointseg.training.train import make_trainer
from pointseg.types import IGNORE, Batch

SKIPPED = 1  # steps of a round before the clock starts


class Case(NamedTuple):
    """side: of the crop, in pixels. steps: timed in a round."""

    model: str
    side: int
    batch: int
    steps: int
    rounds: int


@dataclass(frozen=True)
class Size:
    cases: tuple[Case, ...]
    scenes: tuple[str, ...] = (
        *("dataset.crops=6", "dataset.size=1536", "dataset.split={train: [1, 2, 3, 4], val: [5], test: [6]}"),
    )


SIZES = {
    "tiny": Size((Case("unet", 32, 2, 1, 1),), TINY_SCENES),
    "quick": Size((Case("deeplabv3plus_mobilenet_v2", 256, 8, 4, 3),)),
    "full": Size(
        (
            Case("deeplabv3plus_mobilenet_v2", 256, 8, 6, 5),
            Case("deeplabv3_mobilenet_v2", 256, 8, 6, 3),
            Case("deeplabv3_mobilenet_v3", 256, 8, 6, 3),
            Case("lraspp_mobilenet_v3", 256, 8, 6, 3),
            Case("deeplabv3_resnet50", 512, 4, 1, 2),
        )
    ),
}


def run(size: Size, folder: Path) -> str:
    warnings.filterwarnings("ignore", module="lightning")
    rows = []
    shares = ""
    for case in size.cases:
        contenders = {name: partial(alone, one_round, name, case, size.scenes) for name in CONTENDERS}
        samples = in_turn(contenders, case.rounds, warmup=0)  # each round has its own skipped steps
        shares += alone(profiled, case, size.scenes)
        for name, times in samples.items():
            images = number(case.batch * case.steps / median(times))
            ratios = [ratio(samples, "pointseg", name, clock) for clock in ("processor", "wall")]
            rows.append([case.model, f"{case.side}²", case.batch, name, images, *ratios])
    head = ["network", "crop", "batch", "contender", "images/s", "pointseg to it, processor", "wall"]
    return f"{table(head, rows)}\n{shares}"


Result = TypeVar("Result")


def alone(work: Callable[..., Result], *arguments: Any) -> Result:
    """The work's result, from a process of its own: what memory one contender keeps is no other's."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (torch.get_num_threads(),)) as pool:
        return pool.submit(work, *arguments).result()


CONTENDERS = ("network alone", "pointseg", "torchgeo", "smp", "plain loop")


def one_round(contender: str, case: Case, scenes: Sequence[str]) -> Seconds:
    """Of a round's timed steps."""
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    overrides = ("dataset=synthetic", f"model={case.model}", "model.weights=null", "optimizer=adamw", "loss=partial_ce")
    sizes = (f"crop_size={case.side}", "overlap=16", f"batch_size={case.batch}")
    config = parse(configuration(*overrides, *sizes, *scenes))
    device = torch.device("cpu" if runs.on_cpu(config) else "cuda")
    optimise = partial(construct, config.optimizer)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        data, system = runs.build(config, place)
        loader = data.train_dataloader()
        if contender in ("network alone", "pointseg"):
            if device.type == "cpu":
                memory.keep_freed()
            if contender == "pointseg":
                return fit(system, loader, config, case.steps, place)
            resident = next(iter(loader)).to(device)
            loop = Loop(system.model, lambda logits, batch: logits.mean(), optimise, device)
            return loop(iter([resident] * (SKIPPED + case.steps)))
        network = system.model.to(memory_format=torch.contiguous_format)
        if contender == "torchgeo":
            return fit(Torchgeo(network, optimise), Masked(loader), config, case.steps, place)
        loss = LOSSES[contender](ignore_index=IGNORE)
        return Loop(network, partial(densely, loss), optimise, device).over(loader, case.steps)


LOSSES = {"smp": partial(smp.losses.SoftCrossEntropyLoss, smooth_factor=0.0), "plain loop": nn.CrossEntropyLoss}


def fit(system: Any, loader: Any, config: TrainConfig, steps: int, place: Path) -> Seconds:
    """A round under the Trainer of the configuration, with what pointseg.train logs."""
    stopwatch = Stopwatch(SKIPPED, steps)
    trainer: Trainer = make_trainer(
        config,
        logger=TensorBoardLogger(place, name=""),
        callbacks=[LearningRateMonitor("step"), stopwatch],
        default_root_dir=place,
        max_steps=SKIPPED + steps,
        limit_val_batches=0,
    )
    trainer.fit(system, loader)
    assert stopwatch.seconds is not None
    return stopwatch.seconds


class Loop:
    """A plain PyTorch loop over a network."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Batch], Tensor],
        optimise: Callable[..., torch.optim.Optimizer],
        device: torch.device,
    ) -> None:
        self.network, self.loss, self.device = network.to(device).train(), loss, device
        self.optimizer = optimise(params=self.network.parameters())

    def over(self, loader: DataLoader[Batch], steps: int) -> Seconds:
        return self(islice(iter(loader), SKIPPED + steps))

    def __call__(self, batches: Iterator[Batch]) -> Seconds:
        """Seconds of the steps after the skipped ones."""
        for _ in range(SKIPPED):
            self.step(next(batches))
        synchronize()
        start = now()
        for batch in batches:
            self.step(batch)
        synchronize()
        return since(start)

    def step(self, batch: Batch) -> None:
        batch = batch.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.network(batch.images)
            loss = self.loss(logits, batch)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def densely(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, batch: Batch) -> Tensor:
    mask = dense(batch)
    return loss(upsample(logits, mask.shape[1:]), mask)


class Torchgeo(SemanticSegmentationTask):  # type: ignore[misc]
    """torchgeo's task with the network given to it, upsampled, and the optimiser of the configuration."""

    ignore = ("weights", "network", "optimise")  # of what torchgeo keeps as hyperparameters

    def __init__(self, network: nn.Module, optimise: Callable[..., torch.optim.Optimizer]) -> None:
        self.network, self.optimise = [network], optimise  # in a list: torch takes no module before its own __init__
        super().__init__(num_classes=6, loss="ce", ignore_index=IGNORE)

    def configure_models(self) -> None:
        self.model = Upsampled(self.network[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:  # type: ignore[override]
        return self.optimise(params=self.parameters())


class Upsampled(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return upsample(self.network(images), images.shape[2:])


class Masked:
    """Batches as torchgeo takes them, the points a dense mask."""

    def __init__(self, loader: DataLoader[Batch]) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return ({"image": batch.images.contiguous(), "mask": dense(batch)} for batch in self.loader)


def profiled(case: Case, scenes: Sequence[str]) -> str:
    """What a round of pointseg's training spends the processor's time on, by torch's operators."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        one_round("pointseg", case, scenes)
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    most = sorted(events, key=lambda event: -event.self_cpu_time_total)[:8]
    listed = ", ".join(f"{event.key} {event.self_cpu_time_total / total:.0%}" for event in most)
    return f"Profile of a round of pointseg's training, {case.model}, torch's operators by their own time: {listed}.\n"
