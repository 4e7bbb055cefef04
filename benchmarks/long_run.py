"""Memory and open files of a long training.

python -m benchmarks.long_run               # 200 epochs; prints a table in Markdown
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from benchmarks.common import TINY_SCENES, configuration, table
from pointseg.training import train

DEMO = [  # experiment=demo on one tile of its scenes
    *("experiment=demo", *TINY_SCENES),
    *("crop_size=32", "overlap=8", "trainer.accelerator=cpu", "trainer.check_val_every_n_epoch=1"),
    *("+trainer.enable_progress_bar=false", "num_workers=0"),
]


class Watch(Callback):
    """Resident memory (MiB) and the number of open files after every `every` epochs."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen: list[tuple[int, int, int]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident = pages * os.sysconf("SC_PAGE_SIZE") // 2**20
            self.seen.append((epoch, resident, len(os.listdir("/proc/self/fd"))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    watch = Watch(epochs // 10)
    make_trainer = train.make_trainer

    def watched(config: Any, **facts: Any) -> Trainer:
        return make_trainer(config, **{**facts, "callbacks": [*facts["callbacks"], watch]})

    train.make_trainer = watched
    with TemporaryDirectory() as folder:
        os.environ["POINTSEG_CACHE"] = f"{folder}/cache"
        train.fit(configuration(*DEMO, f"trainer.max_epochs={epochs}"), Path(folder), {})
    print("The demo's configuration on one small tile, validated, shown and kept in each epoch.\n")
    print(table(["epoch", "resident memory, MiB", "open files"], watch.seen))


if __name__ == "__main__":
    main()
