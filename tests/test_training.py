"""Whole runs in memory-sized pieces: every option builds and steps, and a run folder reloads alone."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from pointseg import progress
from pointseg.config import CONF, parse
from pointseg.prediction.trained import load_run
from pointseg.training import runs
from pointseg.training.train import make_trainer
from pointseg.types import Window
from tests.conftest import options
from tests.support.training import composed, train

GROUPS = ("sampler", "crops", "loss", "optimizer", "schedule", "model")


@pytest.mark.parametrize(
    ("group", "option"),
    [(group, option) for group in GROUPS for option in options(group)],
)
def test_every_option_takes_a_training_step(group: str, option: str, tmp_path: Path) -> None:
    overrides = [f"{group}={option}", "model.weights=null"]
    data, system = runs.build(parse(composed(*overrides)), tmp_path)
    before = {name: parameter.clone() for name, parameter in system.model.named_parameters()}
    config = parse(composed(*overrides, "+trainer.limit_val_batches=0", "+trainer.enable_checkpointing=false"))
    make_trainer(config, logger=False, default_root_dir=tmp_path).fit(system, data)
    parameters = dict(system.model.named_parameters())
    assert all(parameter.isfinite().all() for parameter in parameters.values())
    assert any(not torch.equal(before[name], parameter) for name, parameter in parameters.items())


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes(experiment: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        own = ["dataset.images=site"] if experiment.endswith("field") else []  # what only its user can know
        config = parse(compose("train", [f"experiment={experiment}", *own]))
    assert config.overlap < config.crop_size


def test_a_run_folder_holds_what_it_should_and_reloads_alone(tmp_path: Path) -> None:
    scores = train(tmp_path / "run", "trainer.max_epochs=2")
    folder = (tmp_path / "run").rename(tmp_path / "moved")
    assert {"config.yaml", "best.ckpt", "last.ckpt", "scores.json", "points"} <= {f.name for f in folder.iterdir()}
    assert [epoch["epoch"] for epoch in scores["history"]] == [1, 2]
    assert scores["val"]["final"] == scores["history"][-1]
    best = max(scores["history"], key=lambda epoch: epoch["miou_all_classes"])
    assert scores["val"]["best"] == best
    for checkpoint, told in (("best", best), ("last", scores["history"][-1])):
        config, data, system = runs.load(folder, checkpoint)
        make_trainer(config, logger=False).validate(system, data, verbose=False)
        assert system.scores["miou_all_classes"] == pytest.approx(told["miou_all_classes"], abs=1e-6)
        assert system.scores["loss"] == pytest.approx(told["loss"], rel=1e-5)


def test_a_compiled_run_scores_as_it_does_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for any compiler, but run without one, which takes a minute."""
    compiled: list[nn.Module] = []

    def trace(module: nn.Module) -> None:
        compiled.append(module)
        module.forward = torch.compile(module.forward, backend="eager")  # type: ignore[method-assign]

    monkeypatch.setattr(nn.Module, "compile", trace)
    overrides = ("model=deeplabv3_mobilenet_v2", "batch_size=3", "trainer.max_epochs=2")
    plain, traced = train(tmp_path / "plain", *overrides), train(tmp_path / "traced", *overrides, "compile=true")
    assert len(compiled) == 1
    assert traced["val"]["final"]["loss"] == pytest.approx(plain["val"]["final"]["loss"], rel=1e-3)


def test_the_last_epoch_is_validated_and_kept_whatever_the_interval(tmp_path: Path) -> None:
    scores = train(tmp_path, "trainer.max_epochs=3", "+trainer.check_val_every_n_epoch=2", "schedule=one_cycle")
    assert [epoch["epoch"] for epoch in scores["history"]] == [2, 3]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 2  # counted from 0
    assert not list(tmp_path.glob("*-v*.ckpt"))


def test_a_log_that_is_a_file_tells_how_far_training_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(progress, "SECONDS", 1e9)
    train(tmp_path / "quick")
    assert "batch 1 of" not in caplog.text
    monkeypatch.setattr(progress, "SECONDS", 0)
    monkeypatch.setattr(progress, "SHARE", 0)
    train(tmp_path / "slow", "trainer.max_epochs=2")
    said = [re.sub(r"\d\.\d+", "x", message) for message in caplog.messages]
    batches = int(re.search(r"batch 1 of (\d+)", caplog.text).group(1))  # type: ignore[union-attr]
    for epoch in (1, 2):
        assert f"Epoch {epoch} of 2: batch {batches} of {batches}, loss x" in said
        assert f"Epoch {epoch} of 2: validation, scene 1 of 9" in said
    caplog.clear()
    train(tmp_path / "bar", "trainer.enable_progress_bar=true")
    assert "batch 1 of" not in caplog.text


@pytest.mark.parametrize("flips", [True, False])
def test_scores_and_maps_are_of_mirror_images_where_the_run_says_so(flips: bool, tmp_path: Path) -> None:
    train(tmp_path, f"flips={str(flips).lower()}")
    _, data, system = runs.load(tmp_path, "best")
    image = data.dataset.splits["val"][0].image(Window(0, 0, 48, 64))
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    scored, mapped = system.eval(), load_run(tmp_path, "best", "cpu", flips=None).predict
    with torch.inference_mode():
        torch.testing.assert_close(scored(images), mapped(images))
        for axis in (2, 3):  # what is averaged over mirror images is mirrored with the image
            same = torch.allclose(scored(images.flip(axis)).flip(axis), scored(images), atol=1e-6)
            assert same == flips


def test_the_same_seed_gives_the_same_scores_and_another_seed_others(tmp_path: Path) -> None:
    """Bit for bit on a CPU, whichever number of workers cuts the tiles."""
    seeds = {"a": 0, "b": 0, "c": 1}
    first, again, other = (
        train(tmp_path / name, f"seed={seed}", f"num_workers={2 * (name == 'b')}") for name, seed in seeds.items()
    )
    assert first["history"] == again["history"]
    assert first["history"] != other["history"]
    weights = [torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in "ab"]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    drawn = [(tmp_path / name / "points/Tile 1/image_part_001.csv").read_text() for name in "abc"]
    assert drawn[0] == drawn[1] != drawn[2]


def test_another_run_s_points_are_used_as_they_are(tmp_path: Path) -> None:
    train(tmp_path / "first")
    train(tmp_path / "second", f"points={tmp_path / 'first/points'}", "seed=5")
    first, second = (sorted((tmp_path / name / "points").rglob("*.csv")) for name in ("first", "second"))
    assert [file.read_text() for file in second] == [file.read_text() for file in first] != []


def test_tensorboard_shows_losses_scores_pictures_and_hparams(tmp_path: Path) -> None:
    train(tmp_path)
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    scalars = set(events.Tags()["scalars"])
    assert {
        "train/loss_step",
        "train/loss_epoch",
        "train/miou_all_classes",
        "val/loss",
        "val/miou_all_classes",
        "val/miou_land_cover",
        "val/kappa",
        "val/iou/Building",
        "lr-Adam",
        "best/miou_all_classes",
    } <= scalars
    images = set(events.Tags()["images"])
    assert {"points per class", "confusion"} <= images
    assert len([tag for tag in images if tag.startswith("validation/Tile 3")]) == 4
    content = events.SummaryMetadata("_hparams_/session_start_info").SerializeToString()
    assert b"focal" in content


def test_the_scores_of_a_scene_do_not_depend_on_how_it_is_windowed(tmp_path: Path) -> None:
    """A network that sees one pixel at a time must score the same for any tiles."""
    data, system = runs.build(parse(composed()), tmp_path)
    system.model = torch.nn.Sequential(_ToFloat(), torch.nn.Conv2d(3, 6, 1))
    results = []
    for window_size, overlap in ((32, 0), (32, 20), (20, 5)):
        system.window_size, system.overlap = window_size, overlap
        make_trainer(parse(composed()), logger=False).test(system, data.scenes("test"), verbose=False)
        results.append(system.confusion)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    labelled = sum((scene.mask(runs_whole(scene)) != 255).sum() for scene in data.dataset.splits["test"])
    assert results[0].sum() == labelled


def runs_whole(scene: Any) -> Any:
    from pointseg.types import whole

    return whole(scene)


class _ToFloat(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images / 64


def test_training_learns(tmp_path: Path) -> None:
    """From scratch, on scenes it was not trained on, well beyond chance (kappa 0)."""
    scores = train(
        tmp_path,
        "dataset=synthetic",
        "dataset.tiles=8",
        "dataset.size=192",
        "dataset.split={train: [1, 2, 3, 4, 5, 6], val: [7], test: [8]}",
        "model=unet",
        "crop_size=64",
        "batch_size=6",
        "budget=0.05",
        "optimizer=adamw",
        "optimizer.lr=3e-3",
        "schedule=one_cycle",
        "trainer.max_epochs=10",
        "trainer.limit_train_batches=1.0",
        "+trainer.check_val_every_n_epoch=10",
    )
    assert scores["val"]["final"]["kappa"] > 0.2
