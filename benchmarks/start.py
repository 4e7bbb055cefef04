"""Start of the commands.

Each is a process of its own, from its start to its end; processor time is what an idle core would take. At most: by
the wall's clock on an idle machine. The training step is `experiment=demo` with one step and one validated scene: with
an empty cache (its scenes are drawn) and again.
Imports: the share of each package in the time of `import pointseg.training.train`, with all that it imports first.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.common import TINY_SCENES, Seconds, in_turn, median, number, table, timed

STEP = (
    *("experiment=demo", "trainer.max_epochs=1", "+trainer.limit_train_batches=1", "+trainer.limit_val_batches=1"),
    *("trainer.accelerator=cpu", "hydra.run.dir=run_${now:%f}"),
)


@dataclass(frozen=True)
class Size:
    rounds: int
    scenes: tuple[str, ...] = ()


SIZES = {
    "tiny": Size(1, TINY_SCENES),
    "quick": Size(2),
    "full": Size(9),
}


def run(size: Size, folder: Path) -> str:
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "POINTSEG_CACHE": f"{place}/cache"}
        command = partial(process, place, environment)
        step = (*STEP, *size.scenes)
        first = command("pointseg.train", *step)
        contenders = {
            "`train --help`": partial(command, "pointseg.train", "--help"),
            "`train --cfg job`": partial(command, "pointseg.train", "--cfg", "job"),
            "`predict --help`": partial(command, "pointseg.predict", "--help"),
            "one training step of the demo, again": partial(command, "pointseg.train", *step),
        }
        samples = in_turn(contenders, size.rounds, warmup=0)  # the first step has read the files
    samples["one training step of the demo, the first time"] = [first]
    limits = {"`train --help`": "1.5", "`train --cfg job`": "2", "one training step of the demo, the first time": "15"}
    rows = [
        [name, number(median(times)), number(median(times, "processor")), limits.get(name, "")]
        for name, times in samples.items()
    ]
    imports = [[name, f"{share:.0%}"] for name, share in slowest().items()]
    return (
        table(["command", "wall s", "processor s", "at most"], rows)
        + "\n"
        + table(["import of pointseg.training.train", "share"], imports)
    )


def process(folder: str, environment: Mapping[str, str], module: str, *arguments: str) -> Seconds:
    """Wall and processor seconds of `python -m module *arguments`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", module, *arguments]
    wall = timed(
        lambda: subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    ).wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Seconds(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def slowest() -> dict[str, float]:
    """Package → share of the import's time, the ten largest."""
    command = [sys.executable, "-X", "importtime", "-c", "import pointseg.training.train"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.findall(r"\| +(\d+) \| +([\w.]+)$", lines, re.MULTILINE)
    seconds = {
        name: int(microseconds) for microseconds, name in found if "." not in name or name == "pointseg.training.train"
    }
    whole = seconds.pop("pointseg.training.train")
    return dict(sorted(((name, time / whole) for name, time in seconds.items()), key=lambda item: -item[1])[:10])
