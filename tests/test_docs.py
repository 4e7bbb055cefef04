"""Every command in the documents does what it says, on small data; every table is that of its runs."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import ROOT, Outcome, write_layout
from tests.site import frame, pixels, write_image

Command = Callable[..., Outcome]

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = [
    *("crop_size=32", "overlap=8", "batch_size=4", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"),
]
TRAINED = ["model=unet", "model.weights=null", "optimizer.lr=1e-2"]
FROZEN = ["model.encoder=null"]
SHORT = ["trainer.max_epochs=1", "+trainer.limit_train_batches=2"]
FIELD = ["dataset.block=8"]
EARLIER = {  # runs that a page takes as given, by their folder
    "outputs/first": "train sampler=stratified loss=focal hydra.run.dir=outputs/first",
    "outputs/field": "train experiment=field dataset.images='site/*.tif' points=field.gpkg hydra.run.dir=outputs/field",
    "outputs/a": "train sampler=random budget=20 hydra.run.dir=outputs/a",
}


def commands(document: Path) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", document.read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def shortened(arguments: list[str]) -> list[str]:
    """A command of `train`, with what makes its runs small."""
    own = [*SHORT, "dataset.root=data"]
    if any(argument in ("experiment=field", "dataset=field") for argument in arguments):
        own = FIELD
    elif "dataset=folder" in arguments:
        own = SHORT
    fewer = {
        "seed=0,1,2": "seed=0",
        "budget=100": "budget=20",
        "budget=120": "budget=25",
        "dataset.scale=512": "dataset.scale=64",
    }
    few = {"annotation=suggested": "annotation.distance=1"}
    model = FROZEN if {"experiment=field", "experiment=best", "model=frozen"} & set(arguments) else TRAINED
    also = [few[argument] for argument in arguments if argument in few]
    return [*(fewer.get(argument, argument) for argument in arguments), *SMALL, *model, *own, *also]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A site with points, a folder of images and masks, and a small copy of the aerial dataset."""
    labels = write_image(tmp_path / "site/a.tif")
    frame(pixels(labels)).to_file(tmp_path / "field.gpkg")
    write_layout(tmp_path / "data")
    rng = np.random.default_rng(0)
    for name in "abcdefghij":
        for folder, array in (("images", rng.integers(0, 256, (64, 64, 3))), ("masks", rng.integers(0, 3, (64, 64)))):
            (tmp_path / "site" / folder).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / f"site/{folder}/{name}.png")
    return tmp_path


def run(command: Command, program: str, arguments: list[str]) -> None:
    """One line of a document."""
    if program == "tensorboard":
        assert shutil.which("tensorboard", path=str(Path(sys.executable).parent))
        return
    if program == "torchrun":
        module = arguments.index("-m")
        started = ["torch.distributed.run", *arguments[: module + 2], *shortened(arguments[module + 2 :])]
        outcome = command(*started, PYTHONPATH=str(ROOT))
    else:
        name, *options = arguments
        if name == "label":  # it would serve the page for ever; tests/test_label_page.py clicks in it
            options.append("--cfg=job")
        closer = ["distance=5"] if name == "suggest" else []
        outcome = command(f"pointseg.{name}", *(shortened(options) if name == "train" else [*options, *closer]))
    assert outcome.code in (0, None), f"{program} {arguments}: {outcome.output}"


@pytest.mark.parametrize("document", [file for file in DOCUMENTS if commands(file)], ids=lambda file: file.stem)
def test_every_command_of_a_document_works(document: Path, command: Command, place: Path) -> None:
    for program, *arguments in commands(document):
        for folder, earlier in EARLIER.items():
            if {f"run={folder}", f"annotation.run={folder}"} & set(arguments) and not (place / folder).exists():
                run(command, "pointseg", shlex.split(earlier))
        if "points=[field.gpkg,next.gpkg]" in arguments:
            label(place / "next.gpkg")
        if arguments[0] == "assess":
            label(place / "sample.gpkg")
        run(command, program, arguments)


def label(file: Path) -> None:
    """What the person does between two commands."""
    import geopandas

    table = geopandas.read_file(file, layer=file.stem)
    table["class"] = "sand"
    table.to_file(file, layer=file.stem)


def test_links_lead_to_what_is_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), f"{document}: {target}"


def test_a_table_that_is_not_that_of_its_runs_is_noticed(tmp_path: Path) -> None:
    documents = ("README.md", "docs/accuracy.md", "docs/results.md")
    for name in (*documents, "docs/results.py", "docs/curves.py", "docs/labelled.py", "benchmarks/areas.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments", ignore=shutil.ignore_patterns("*.png", "*.jsonl"))
    check = [sys.executable, str(tmp_path / "docs/results.py"), "--check"]
    assert subprocess.run(check, check=False).returncode == 0
    text = (tmp_path / "README.md").read_text()
    figure = re.search(r"0\.\d{3} \|", text)
    assert figure is not None
    (tmp_path / "README.md").write_text(text.replace(figure[0], "0.999 |", 1))
    failed = subprocess.run(check, check=False, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "README.md" in failed.stderr


def test_the_networks_page_tells_each_network_and_its_size() -> None:
    from omegaconf import OmegaConf

    from pointseg.models.networks import build_network
    from pointseg.types import RGB

    rows = re.findall(r"^\| `(\w+)`.*?\| (\d+) \| ([\d.]+) \|", (ROOT / "docs/networks.md").read_text(), re.MULTILINE)
    assert {name for name, _, _ in rows} == {file.stem for file in (ROOT / "conf/model").glob("*.yaml")}
    for name, stride, millions in rows:
        node = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/model" / f"{name}.yaml"))
        assert isinstance(node, dict)
        network = build_network({str(key): value for key, value in node.items()} | {"weights": None}, 6, RGB).eval()
        assert sum(value.numel() for value in network.parameters()) / 1e6 == pytest.approx(float(millions), abs=0.05)
        with torch.inference_mode():
            logits = network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
        assert 64 // logits.shape[-1] == int(stride)
