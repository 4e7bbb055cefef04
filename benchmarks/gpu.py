"""A GPU: DeepLabV3-ResNet50 at 512², bf16, channels_last.

Images per second of training (as in the row `training`) and of prediction's network, with and without torch.compile,
against the network alone; the matrix rate is that of a large bf16 product on the same card, the fraction of it counts
the network's own operations (torch's FlopCounterMode; a training step as three forwards). Then `model=frozen`:
megapixels per second of filters, encoder (at two scales) and head in bf16, and the fraction of the encoder's speed.
"""

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import Seconds, configuration, in_turn, median, number, ratio, synchronize, table, timed
from benchmarks.training import SKIPPED, Loop, fit
from pointseg.config import construct, parse
from pointseg.models.frozen import frozen
from pointseg.models.networks import fold_norms
from pointseg.prediction.windows import probabilities
from pointseg.training import runs
from pointseg.types import Batch

MATRIX = 8192
ENCODERS, SIDE = ("mobilenet_v2", "resnet50"), 1024


@dataclass(frozen=True)
class Size:
    batches: tuple[int, ...]
    steps: int
    rounds: int


SIZES = {"tiny": Size((4,), 2, 1), "quick": Size((4, 16), 10, 3), "full": Size((4, 16, 64), 20, 5)}


def run(size: Size, folder: Path) -> str | None:
    """None without a GPU."""
    if not torch.cuda.is_available():
        return None
    rate = matrix_rate()
    rows = [row for batch in size.batches for compiled in (False, True) for row in case(size, batch, compiled, rate)]
    head = ["batch", "compiled", "what", "images/s", "of the network alone", "of the matrix rate"]
    frozen_head = ["encoder", "head", "Mpx/s", "of the encoder alone"]
    features = [row for encoder in ENCODERS for row in frozen_case(encoder, SIDE, size.rounds, torch.device("cuda"))]
    first = f"Measured matrix rate: {number(rate / 1e12)} Tflop/s in bf16.\n\n{table(head, rows)}"
    return f"{first}\n{table(frozen_head, features)}"


def matrix_rate() -> float:
    """Operations per second of a product of two large bf16 matrices."""
    left, right = (torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16) for _ in range(2))

    def products() -> None:
        for _ in range(20):
            left @ right
        synchronize()

    seconds = median(in_turn({"matrices": partial(timed, products)}, 5)["matrices"])
    return 20 * 2 * MATRIX**3 / seconds


def case(size: Size, batch: int, compiled: bool, rate: float) -> list[list[object]]:
    scenes = ("dataset=synthetic", "dataset.tiles=20", "dataset.size=1536")
    split = f"dataset.split={{train: {list(range(1, 19))}, val: [19], test: [20]}}"
    options = ("model=deeplabv3_resnet50", "model.weights=null", "optimizer=adamw", "crop_size=512", "trainer=gpu")
    # As many steps as a round has must fit into an epoch.
    length = f"batch_size={batch}", "crops=around_points", f"crops.number={batch * (size.steps + SKIPPED)}"
    with tempfile.TemporaryDirectory() as place:
        config = parse(configuration(*scenes, split, *options, *length))
        data, system = runs.build(config, Path(place))
        loader = data.train_dataloader()
        resident: Batch = next(iter(loader)).to("cuda")
        alone = copy.deepcopy(system.model).cuda()  # Lightning takes its own off the GPU after each round
        operations = count(alone, resident)  # before it is compiled, which the counter cannot see into
        if compiled:
            system.model.compile()
            alone.compile()
        optimise = partial(construct, config.optimizer)
        free = Loop(alone, lambda logits, labelled: logits.mean(), optimise, torch.device("cuda"))
        contenders = {
            "training, network alone": lambda: free(iter([resident] * (SKIPPED + size.steps))),
            "training": partial(fit, system, loader, config, size.steps, Path(place)),
            "prediction, network alone": partial(forward, alone, resident, size.steps, whole=False),
            "prediction": partial(forward, alone, resident, size.steps, whole=True),
        }
        samples = in_turn(contenders, size.rounds)
    rows: list[list[object]] = []
    for name, times in samples.items():
        speed = batch * size.steps / median(times)
        base = f"{name.split(',')[0]}, network alone"
        share = speed * operations * (3 if "training" in name else 1) / rate
        rows.append([batch, compiled, name, number(speed), ratio(samples, name, base, "wall"), f"{share:.2f}"])
    return rows


def count(network: torch.nn.Module, batch: Batch) -> float:
    """Operations of the forward of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(batch.images)
    return counter.get_total_flops() / len(batch.images)


def forward(network: torch.nn.Module, batch: Batch, steps: int, whole: bool) -> Seconds:
    """Seconds of `steps` forwards; whole: with upsampling and softmax, as `probabilities` has them."""
    network.eval()

    def work() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            for _ in range(steps):
                probabilities(network, batch.images) if whole else network(batch.images)
        synchronize()

    seconds = timed(work)
    network.train()
    return seconds


def frozen_case(encoder: str, side: int, rounds: int, device: torch.device) -> list[list[object]]:
    """Of four images: a row without and one with a hidden layer."""
    network = fold_norms(frozen(6, encoder, None, 2, "auto")).eval().to(device, memory_format=torch.channels_last)
    images = torch.randint(0, 256, (4, 3, side, side), dtype=torch.uint8, device=device)

    def pass_through(part: Callable[[Tensor], object]) -> Seconds:
        def work() -> None:
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                part(images)
            synchronize()

        return timed(work)

    rows: list[list[object]] = []
    for head in ("linear", "hidden"):
        if head == "hidden":
            network.classifier.bend(128)
            network.to(device)
        samples = in_turn(
            {"encoder": partial(pass_through, network.encoded), "whole": partial(pass_through, network)}, rounds
        )
        speed = images.shape[0] * side**2 / 1e6 / median(samples["whole"])
        rows.append([encoder, head, number(speed), ratio(samples, "whole", "encoder", "wall")])
    return rows
