import json
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # small tests are many times faster on one thread

import cv2
import numpy as np
import pytest
import torch
from hypothesis import Phase, settings
from PIL import Image

from tests.sweep import write_run

torch.set_num_threads(1)
cv2.setNumThreads(0)
settings.register_profile("untimed", deadline=None)  # a busy machine is not a defect
settings.load_profile("untimed")
# For `make mutants`, hundreds of runs: the same examples in each, and none made smaller once it has failed.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, max_examples=25, phases=(Phase.explicit, Phase.generate)
)

ROOT = Path(__file__).parent.parent
CONF = ROOT / "conf"
# The real dataset's colours, written out a second time on purpose: a test that imported them could not fail.
COLOURS = {
    "Water": (0xE2, 0xA9, 0x29),
    "Land": (0x84, 0x29, 0xF6),
    "Road": (0x6E, 0xC1, 0xE4),
    "Building": (0x3C, 0x10, 0x98),
    "Vegetation": (0xFE, 0xDD, 0x3A),
    "Unlabeled": (0x9B, 0x9B, 0x9B),
}
BLACK = len(COLOURS)
COLOUR_TABLE = np.array([*COLOURS.values(), (0, 0, 0)], np.uint8)


def options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSEG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def real_data() -> Path:
    return Path(_environment("POINTSEG_DATA", "the Kaggle dataset"))


@pytest.fixture
def real_sets() -> Path:
    return Path(_environment("POINTSEG_SETS", "the datasets of other places"))


@pytest.fixture
def real_encoder() -> Path:
    return Path(_environment("POINTSEG_WEIGHTS", "pretrained weights")) / "mobilenet_v2-imagenet.pth"


def _environment(name: str, what: str) -> str:
    if name not in os.environ:
        pytest.skip(f"${name} is not set: {what} needed")
    return os.environ[name]


def write_layout(root: Path, size: tuple[int, int] = (40, 48), parts: int = 9) -> dict[tuple[int, int], np.ndarray]:
    """A tiny copy of Kaggle's layout with the traps of the real one; the labels by tile and part."""
    rng = np.random.default_rng(7)
    inner = root / "Semantic segmentation dataset"
    labels = {}
    for tile in range(1, 9):
        for part in range(1, parts + 1):
            blocks = rng.integers(0, len(COLOURS), (size[0] // 8, size[1] // 8))
            label = blocks.repeat(8, 0).repeat(8, 1).astype(np.uint8)
            if tile == 4:
                label[label == 5] = 1  # no Unlabeled pixel in the whole tile, as in the real one
            if (tile, part) == (8, 3):
                label[:, : size[1] // 2] = BLACK
            labels[tile, part] = label
            _write_pair(inner / f"Tile {tile}", part, label, palette=tile in (2, 4), rng=rng)
    wrong = [("Water", "#50E3C2"), ("Land", "#F5A623"), ("Road", "#DE597F"), ("Building", "#D0021B")]
    classes = [{"title": title, "color": color} for title, color in wrong]
    (inner / "classes.json").write_text(json.dumps({"classes": classes}))
    return labels


def _write_pair(tile: Path, part: int, label: np.ndarray, palette: bool, rng: np.random.Generator) -> None:
    for name in ("images", "masks"):
        (tile / name).mkdir(parents=True, exist_ok=True)
    image = np.clip(COLOUR_TABLE[label] * 0.5 + rng.integers(0, 60, (*label.shape, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(image).save(tile / "images" / f"image_part_{part:03}.jpg", quality=95)
    if palette:
        mask = Image.fromarray(label)
        mask.putpalette(COLOUR_TABLE.ravel().tolist())
    else:
        mask = Image.fromarray(COLOUR_TABLE[label])
    mask.save(tile / "masks" / f"image_part_{part:03}.png")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    write_layout(tmp_path / "data")
    return tmp_path / "data"


@dataclass(frozen=True)
class ArrayScene:
    """A scene held in memory."""

    id: str
    pixels: np.ndarray
    labels: np.ndarray
    group: str = "group"

    @property
    def shape(self) -> tuple[int, int]:
        return self.labels.shape[0], self.labels.shape[1]

    def image(self, window: Any) -> np.ndarray:
        return self.pixels[window.row : window.row + window.height, window.col : window.col + window.width]

    def mask(self, window: Any) -> np.ndarray:
        return self.labels[window.row : window.row + window.height, window.col : window.col + window.width]

    def has_truth(self, window: Any) -> bool:
        return True


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str


SPAWN = multiprocessing.get_context("forkserver")
# Each command is a process of its own; only the import of torch, 5 s, is shared between them.
SPAWN.set_forkserver_preload(
    [
        "pointseg.training.train",
        "pointseg.evaluation.evaluate",
        "pointseg.evaluation.calibrate",
        "pointseg.reports.report",
    ]
)


def run_module(module: str, arguments: list[str], folder: str, environment: dict[str, str], log: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a background shell starts ignores Ctrl-C
    stream = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.argv = [f"{module}.py", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `python -m module *arguments` as a process in `tmp_path`."""

    def run(module: str, *arguments: str, **environment: str) -> Outcome:
        log = tmp_path / "output.txt"
        log.unlink(missing_ok=True)
        process = SPAWN.Process(
            target=run_module, args=(module, list(arguments), str(tmp_path), {**os.environ, **environment}, str(log))
        )
        process.start()
        process.join(300)
        assert process.exitcode is not None, "the command hangs"
        return Outcome(process.exitcode, log.read_text())

    return run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Of two samplers, three seeds each, and one more run that is not finished."""
    for seed in range(3):
        wobble = 0.001 * seed
        write_run(tmp_path / f"sweep/random_{seed}", "random", seed, [0.1, 0.3 - wobble, 0.2], num_workers=seed)
        write_run(tmp_path / f"sweep/stratified_{seed}", "stratified", seed, [0.1, 0.2 + wobble, 0.4 + wobble])
    write_run(tmp_path / "sweep/stratified_3", "stratified", 3, [0.1], finished=False)
    return tmp_path / "sweep"
