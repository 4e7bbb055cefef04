"""The data: first decode, second start, memory.

First: every scene of the dataset decoded into an empty cache; second: the same call when they are there (the
datasets' own reading of their folders included). The cache is compared with the bytes of the decoded pixels
(3 for the image, 1 for the mask). Private memory: what each of four processes has to itself, and so does not share,
after it has read every pixel through the cache, beyond what it had before.
"""

import multiprocessing
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from benchmarks.common import TINY_SCENES, configuration, median, number, size_on_disk, table, timed
from pointseg.config import construct, parse
from pointseg.types import Dataset, Scene, whole

PROCESSES = 4


@dataclass(frozen=True)
class Size:
    overrides: tuple[str, ...]
    rounds: int


REAL = ("dataset=aerial",) if "POINTSEG_DATA" in os.environ else ("dataset=synthetic",)
SIZES = {
    "tiny": Size(("dataset=synthetic", *TINY_SCENES), 1),
    "quick": Size(REAL, 3),
    "full": Size(REAL, 9),
}


def run(size: Size, folder: Path) -> str:
    build = partial(construct, parse(configuration(*size.overrides)).dataset, sampler=None, points=None)
    with tempfile.TemporaryDirectory() as cache, patch.dict(os.environ, POINTSEG_CACHE=cache):
        if "synthetic" in size.overrides[0]:
            build()  # draws the scenes, which is no part of decoding them
            for file in (Path(cache) / "scenes").iterdir():
                file.unlink()
        first = timed(build)
        second = [timed(build) for _ in range(size.rounds)]
        scenes = distinct(build())
        raw = sum(4 * scene.shape[0] * scene.shape[1] for scene in scenes)
        share = size_on_disk(Path(cache) / "scenes") / raw
        with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
            private = pool.map(read_all, [scenes] * PROCESSES, chunksize=1)
    rows = [
        ["scenes; pixels decoded, MB", f"{len(scenes)}; {number(raw / 1e6)}", ""],
        ["first decode, s: wall, processor", f"{number(first.wall)}, {number(first.processor)}", ""],
        ["second start, s: wall, processor", f"{number(median(second))}, {number(median(second, 'processor'))}", ""],
        ["cache to pixels, bytes", number(share), "1.2"],
        [f"private memory of {PROCESSES} processes to pixels, the largest", number(max(private) / raw), ""],
    ]
    return table([f"`{size.overrides[0]}`", "measured", "at most"], rows)


def distinct(dataset: Dataset) -> list[Scene]:
    return list({scene.id: scene for scenes in dataset.splits.values() for scene in scenes}.values())


def read_all(scenes: Sequence[Scene]) -> int:
    before = private()
    for scene in scenes:
        scene.image(whole(scene)).sum()
        scene.mask(whole(scene)).sum()
    return private() - before


def private() -> int:
    """Bytes of this process's memory that no other shares (Linux)."""
    pages = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(size) for size in re.findall(r"Private_\w+: +(\d+)", pages))
