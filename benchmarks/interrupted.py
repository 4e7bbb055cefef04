"""Runs killed or told to stop at random moments and gone on with by the same command, against one that was not.

python -m benchmarks.interrupted            # 20 trials; prints a table in Markdown
"""

import argparse
import multiprocessing
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.common import table

RUN = [  # a network with dropout, whose learning rate follows a schedule, so that there is much to be restored
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *("model=deeplabv3plus_mobilenet_v2", "model.weights=null", "crop_size=32", "overlap=8", "budget=40"),
    "batch_size=2",
    *("schedule=one_cycle", "trainer.max_epochs=3", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"),
    *("seed=0", "resume=true"),
]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)  # in turn
# Each start is a process of its own; only the import of torch is shared between them.
SPAWN = multiprocessing.get_context("forkserver")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    SPAWN.set_forkserver_preload(["pointseg.training.train"])
    with TemporaryDirectory() as name:
        os.environ["POINTSEG_CACHE"] = f"{name}/cache"
        whole = Path(name, "whole")
        _start(whole)  # once to fill the cache of scenes and once to be measured
        seconds = _start(Path(name, "measured"))
        trials = tqdm(range(arguments.trials), disable=None)
        rows = [
            _trial(Path(name, str(trial)), whole, rng.uniform(0, seconds), SIGNALS[trial % len(SIGNALS)])
            for trial in trials
        ]
    same = sum(row[-1] == "yes" for row in rows)
    print(f"{same} of {len(rows)} runs that were interrupted ended with the checkpoint of one that was not, bit for")
    print("bit: weights, optimiser, schedule and scores.\n")
    head = ["trial", "signal", "after, s", "last.ckpt then", "half a file under its final name", "the same in the end"]
    print(table(head, [[trial, *row] for trial, row in enumerate(rows, 1)]))
    sys.exit(same < len(rows))


def _trial(folder: Path, whole: Path, moment: float, number: signal.Signals) -> list[object]:
    """Interrupt a run after `moment` seconds (if it has not finished), and go on with it: the rest of its row."""
    _start(folder, moment, number)
    last = folder / "last.ckpt"
    there = f"step {read(last)['global_step']}" if last.exists() else "none"
    half = [file for file in folder.rglob("*.ckpt") if not _loads(file)]
    _start(folder)
    names = ("last.ckpt", "best.ckpt")
    same = all(alike(without_seconds(read(folder / name)), without_seconds(read(whole / name))) for name in names)
    return [number.name, f"{moment:.1f}", there, len(half) or "none", "yes" if same else "NO"]


def _start(folder: Path, moment: float | None = None, number: signal.Signals = signal.SIGKILL) -> float:
    """Start the command, and send it a signal after `moment` seconds; the seconds that it ran."""
    folder.mkdir(exist_ok=True)
    process = SPAWN.Process(target=_train, args=(str(folder),))
    since = time.monotonic()
    process.start()
    process.join(moment)
    if process.is_alive():
        os.kill(process.pid or 0, number)
        process.join()
    elif process.exitcode != 0:
        sys.exit(f"The command failed:\n{(folder / 'output.txt').read_text()}")
    return time.monotonic() - since


def _train(folder: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a background shell starts ignores Ctrl-C
    stream = os.open(f"{folder}/output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    torch.set_num_threads(1)
    sys.argv = ["pointseg.train", *RUN, f"hydra.run.dir={folder}"]
    runpy.run_module("pointseg.train", run_name="__main__", alter_sys=True)


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(file, weights_only=True)
    return content


def _loads(file: Path) -> bool:
    try:
        read(file)
    except Exception:  # a damaged file raises anything
        return False
    return True


def without_seconds(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """All of a checkpoint but the time that its training took."""
    return {key: value for key, value in checkpoint.items() if key not in ("callbacks", "loops")}


def alike(ours: Any, theirs: Any) -> bool:
    """Bit for bit, however deeply nested."""
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(alike(ours[key], value) for key, value in theirs.items())
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    return bool(ours == theirs or (ours != ours and theirs != theirs))


if __name__ == "__main__":
    main()
