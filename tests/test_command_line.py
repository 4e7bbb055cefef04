"""Commands run as processes, as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pointseg.training import runs
from pointseg.types import Window
from tests.conftest import COLOURS, ROOT, Outcome, options
from tests.support.training import SCENES, SMALL

Command = Callable[..., Outcome]
RUN = "hydra.run.dir=run"


def test_help_names_the_groups() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pointseg.train", "--help"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert result.returncode == 0
    for group in ("annotation", "sampler", "loss"):
        assert f"{group}: {', '.join(options(group))}" in result.stdout


def test_train_evaluate_and_sweep(command: Command, tmp_path: Path) -> None:
    trained = command("pointseg.train", *SCENES, *SMALL, "sampler=stratified", "loss=focal", RUN)
    assert trained.code == 0, trained.output
    assert re.search(r" 720 .* 18 ", trained.output)  # points, scenes
    evaluated = command("pointseg.evaluate", "run=run", "colour_baseline=true")
    assert evaluated.code == 0, evaluated.output
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert {"val", "history", "finished", "test"} == set(scores)
    assert np.sum(scores["test"]["confusion"]) > 90 * 90
    by_scene = pd.read_csv(tmp_path / "run/test/scenes.csv", index_col=["scene", "truth", "land_cover"])
    assert np.array_equal(by_scene.groupby("truth", sort=False).sum(), scores["test"]["confusion"])
    assert set(by_scene.query("not land_cover").index.get_level_values("truth")) == {"Unlabeled"}
    for scene in runs.load(tmp_path / "run", "best")[1].dataset.splits["test"]:
        pixels = np.bincount(scene.mask(Window(0, 0, *scene.shape)).ravel(), minlength=256)
        assert by_scene.loc[scene.id].sum(axis=1).tolist() == pixels[:6].tolist()
    pictures = sorted(str(file.relative_to(tmp_path)) for file in (tmp_path / "run/test").rglob("*.png"))
    assert pictures == [*[f"run/test/Tile 4/image_part_{i:03}.png" for i in range(1, 10)], "run/test/confusion.png"]
    latest = command("pointseg.evaluate", "run=run", "checkpoint=last")
    assert latest.code == 0, latest.output
    both = json.loads((tmp_path / "run/scores.json").read_text())
    assert both["test"] == scores["test"]
    assert both["test_last"]["checkpoint"] == "last"
    assert not (tmp_path / "outputs").exists()  # evaluate makes no folder of its own

    swept = command(
        "pointseg.train", "-m", *SCENES, *SMALL, "sampler=random,stratified", "seed=0,1", "hydra.sweep.dir=sweep"
    )
    assert swept.code == 0, swept.output
    folders = sorted(file.parent.name for file in tmp_path.glob("sweep/*/scores.json"))
    assert folders == [
        "0_random_partial_ce_seed0",
        "1_random_partial_ce_seed1",
        "2_stratified_partial_ce_seed0",
        "3_stratified_partial_ce_seed1",
    ]
    command("pointseg.evaluate", f"run=sweep/{folders[3]}", "split=val")
    (tmp_path / f"sweep/{folders[0]}/best.ckpt").unlink()
    tested = command("pointseg.evaluate", "run=sweep", "split=val")
    assert tested.code != 0
    assert re.search("sweep.* 4.* 4 .* 3 ", tested.output)
    assert re.search(rf"{folders[0]}.*best\.ckpt", tested.output)
    assert [(tmp_path / f"sweep/{name}/val/scenes.csv").exists() for name in folders] == [False, True, True, True]
    validated = json.loads((tmp_path / f"sweep/{folders[1]}/scores.json").read_text())["val"]
    assert validated["miou_all_classes"] == pytest.approx(validated["best"]["miou_all_classes"], abs=1e-6)
    assert command("pointseg.report", "sweep=sweep", "examples=0").code == 0


def test_a_failed_job_of_a_sweep_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    swept = command("pointseg.train", "-m", *SCENES, *SMALL, "budget=99999,20,88888", "hydra.sweep.dir=sweep")
    assert swept.code != 0
    for budget in (99999, 88888):
        assert re.search(rf"budget={budget}.* [0-9,]+ ", swept.output), swept.output
    assert "Traceback" not in swept.output
    assert [file.parent.name[0] for file in tmp_path.glob("sweep/*/scores.json")] == ["1"]
    tested = command("pointseg.evaluate", "run=sweep", "split=val")
    assert re.search("sweep.* 3.* 1 .* 1 ", tested.output)
    assert tested.code == 0
    shutil.rmtree(next(tmp_path.glob("sweep/1_*")))
    assert command("pointseg.evaluate", "run=sweep").code != 0


AERIAL = [*SMALL, "dataset.root=data", RUN]


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    """The output of a command that must end in a clear error: no traceback, and no score."""

    def run(module: str, *arguments: str, **environment: str) -> str:
        result = command(module, *arguments, **environment)
        assert result.code not in (0, None)
        assert "Traceback" not in result.output, result.output
        return result.output

    return run


Refused = Callable[..., str]


def test_a_missing_dataset_folder(refused: Refused, tmp_path: Path) -> None:
    output = refused("pointseg.train", *AERIAL)
    assert str(tmp_path / "data") in output
    assert "dataset=synthetic" in output


def test_an_empty_dataset_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert "dataset.root=data" in refused("pointseg.train", *AERIAL)


def damage(layout: Path, what: str) -> Path:
    tile = layout / "Semantic segmentation dataset/Tile 5"
    image, mask = tile / "images/image_part_004.jpg", tile / "masks/image_part_004.png"
    match what:
        case "image without mask":
            mask.unlink()
            return image
        case "mask without image":
            image.unlink()
            return mask
        case "sizes differ":
            Image.new("RGB", (48, 39), COLOURS["Land"]).save(mask)
        case "unknown colour":
            Image.new("RGB", (48, 40), (1, 2, 3)).save(mask)
        case "truncated image":
            image.write_bytes(image.read_bytes()[:500])
            return image
        case "truncated mask":
            mask.write_bytes(mask.read_bytes()[:150])
    return mask


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("image without mask", ""),
        ("mask without image", ""),
        ("sizes differ", "39×48"),
        ("unknown colour", "#010203 (1,920 "),
        ("truncated image", ""),
        ("truncated mask", ""),
    ],
)
def test_a_damaged_dataset(refused: Refused, layout: Path, what: str, named: str) -> None:
    file = damage(layout, what)
    output = refused("pointseg.train", *AERIAL)
    assert named in output
    assert str(file.relative_to(layout.parent)) in output


def test_a_class_without_points_is_a_warning(command: Command, layout: Path) -> None:
    """With one point an image, the rarest classes of the tiny copy are missed."""
    result = command(
        "pointseg.train", *AERIAL, "budget=1", "dataset.folds=[{train: [4], val: [1], test: [2]}]", "seed=1"
    )
    assert result.code == 0, result.output
    warnings = [line for line in result.output.splitlines() if "WARNING" in line]
    assert any("Unlabeled" in line for line in warnings)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget=0", "budget=0: "),
        ("budget=-0.5", "budget=-0.5: "),
        ("budget=1000000", "budget=1000000: "),
        ("budget=many", "budget=many: "),
        ("sampler=stratifed", "stratified"),
        ("samplr=random", "samplr"),
        ("buget=10", "buget"),
        ("+buget=10", "'budget'"),
        ("loss=focal loss.gama=3", "gama"),
        ("loss=focal +loss.gama=3", "'gamma'"),
        ("+loss.weight=3", "loss.weight"),
        ("+trainer.max_epoch=3", "'max_epochs'"),
        ("+model.depth=3", "model.depth"),
        ("dataset.size=large", "dataset.size=large: "),
        ("loss=focal loss.gamma=two", "loss.gamma=two: "),
        ("batch_size=1", "batch_size=1: "),
        ("seed=-1", "seed=-1: "),
        ("dataset.split=???", "dataset.split: "),
        ("crop_size=0", "crop_size=0: "),
        ("crop_size=96 dataset.split={train:[1],val:[3],test:[4]} batch_size=1", "batch_size=1: "),
        ("overlap=32", "overlap=32: "),
        ("augment.scale=0", "augment.scale=0"),
        ("augment.colour=2", "augment.colour=2"),
        ("trainer=gpu", "lightning.Trainer: "),
        ("trainer.precision=7", "lightning.Trainer: "),
        ("model.weights=nowhere.pth", "nowhere.pth: "),
        ("model.weights=IMAGENET", "COCO_WITH_VOC_LABELS_V1"),
        ("points=nowhere", "nowhere/Tile 1/image_part_001.csv: "),
        ("model._target_=pointseg.models.nothing", "pointseg.models.nothing: "),
        ("seed=1.5", "seed=1.5: "),
        ("dataset.split={train:[1],val:[1],test:[4]}", "'Tile 1'"),
    ],
)
def test_a_wrong_option(refused: Refused, override: str, message: str) -> None:
    assert message in refused("pointseg.train", *SCENES, *SMALL, *override.split(" "), RUN)


def test_weights_that_do_not_fit(refused: Refused, tmp_path: Path) -> None:
    torch.save({"backbone.conv1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    output = refused("pointseg.train", *SCENES, *SMALL, "model.weights=other.pth", RUN)
    assert "backbone.0.0.weight" in output
    assert "backbone.conv1.weight" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "run: "),
        (("run=nowhere",), "run=nowhere: "),
        (("run=run", "overrides={dataset: {rot: 1}}"), "'root'"),
        (("run=nowhere", "split=future"), "train, val, test"),
    ],
)
def test_a_run_folder_that_is_not_one(
    refused: Refused, finished: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    copy(finished, tmp_path)
    assert message in refused("pointseg.evaluate", *arguments)
    assert not (tmp_path / "nowhere").exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a tiny copy of the aerial layout, with six classes."""
    from tests.conftest import write_layout
    from tests.support.training import train

    root = tmp_path_factory.mktemp("finished")
    write_layout(root / "data")
    train(root / "run", "dataset=aerial", f"dataset.root={root / 'data'}")
    return root


def copy(finished: Path, tmp_path: Path) -> Any:
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path / "run"


def test_a_checkpoint_of_other_classes(refused: Refused, finished: Path, tmp_path: Path) -> None:
    config = copy(finished, tmp_path) / "config.yaml"
    config.write_text(config.read_text().replace("unlabeled: class", "unlabeled: ignore"))
    shutil.rmtree(tmp_path / "run/points")
    output = refused("pointseg.evaluate", "run=run")
    assert "'Unlabeled'" in output


def test_a_run_is_evaluated_where_the_data_lie_elsewhere(command: Command, finished: Path, tmp_path: Path) -> None:
    copy(finished, tmp_path)
    shutil.copytree(finished / "data", tmp_path / "elsewhere")
    result = command("pointseg.evaluate", "run=run", "overrides={dataset: {root: elsewhere}}")
    assert result.code == 0, result.output
    assert json.loads((tmp_path / "run/scores.json").read_text())["test"]["checkpoint"] == "best"


def test_a_damaged_checkpoint(refused: Refused, finished: Path, tmp_path: Path) -> None:
    file = copy(finished, tmp_path) / "best.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    assert "best.ckpt: " in refused("pointseg.evaluate", "run=run")


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_folder_that_cannot_be_written(command: Command, tmp_path: Path, kind: str) -> None:
    """Below a file: a user who may do anything is refused there too."""
    (tmp_path / "file").write_text("")
    many = ["-m", "seed=0,1"] if kind == "sweep" else []
    outcome = command("pointseg.train", *many, "dataset=synthetic", f"hydra.{kind}.dir=file/{kind}")
    assert outcome.code == 1
    assert f"hydra.{kind}.dir" in outcome.output
    assert f"file/{kind}: " in outcome.output
    assert "Traceback" not in outcome.output


def test_a_run_is_never_overwritten(refused: Refused, finished: Path, tmp_path: Path) -> None:
    folder = copy(finished, tmp_path)
    before = (folder / "best.ckpt").read_bytes()
    assert "resume=true" in refused("pointseg.train", *SCENES, *SMALL, RUN)
    assert (folder / "best.ckpt").read_bytes() == before


@pytest.mark.parametrize("override", ["optimizer.lr=0.1 +optimizer.nothing=1", "optimizer.lr=-1", "budget=-5"])
def test_a_refused_run_leaves_no_folder_and_its_correction_is_taken(
    refused: Refused, override: str, tmp_path: Path
) -> None:
    output = refused("pointseg.train", *SCENES, *SMALL, *override.split(), "hydra.run.dir=out/run")
    assert len(output.strip().splitlines()[-1]) < 300
    assert "HYDRA" not in output
    assert "Error executing" not in output
    assert not (tmp_path / "out/run").exists()
