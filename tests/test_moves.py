"""Runs of version 0.1.0 go on loading: one of a dataset with masks, one of a person's points."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio

from pointseg.config import parse, read
from pointseg.moves import migrated
from pointseg.training import runs
from pointseg.training.train import make_trainer
from tests.conftest import Outcome

STORED = Path(__file__).parent / "data/runs-0.1.0.tar.xz"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """drawn/ and field/, runs; site/, the imagery of field; maps/a.tif, which 0.1.0 made of it."""
    with tarfile.open(STORED) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_run_of_drawn_points_scores_as_it_did(stored: Path) -> None:
    config, data, system = runs.load(stored / "drawn", "best")
    assert sum(data.counts) == 18 * 20
    scores = json.loads((stored / "drawn/scores.json").read_text())["test"]
    make_trainer(config, logger=False).test(system, data.scenes("test"), verbose=False)
    assert system.scores["accuracy"] == pytest.approx(scores["accuracy"], abs=1e-6)
    assert system.scores["miou_land_cover"] == pytest.approx(scores["miou_land_cover"], abs=1e-6)


def test_a_run_of_given_points_maps_as_it_did(
    stored: Path, command: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = command("pointseg.predict", "run=field", "input=site", "output=new")
    assert mapped.code == 0, mapped.output
    with rasterio.open(stored / "maps/a.tif") as old, rasterio.open(stored / "new/a.tif") as new:
        assert (old.read() == new.read()).all()
    monkeypatch.chdir(stored)
    _, data, _ = runs.load(stored / "field", "best")
    files = {split: stored / f"field/points/a{suffix}.csv" for split, suffix in (("train", ""), ("val", " (val)"))}
    lengths = {split: len(file.read_text().splitlines()) - 1 for split, file in files.items()}
    assert {
        split: sum(len(data.points[scene.id]) for scene in data.dataset.splits[split]) for split in files
    } == lengths


@pytest.mark.parametrize("run", ["drawn", "field"])
def test_its_configuration_has_todays_names(stored: Path, run: str) -> None:
    config = parse(read(stored / run / "config.yaml"))
    assert config.crop_size == 64
    assert (
        config.annotation["_target_"]
        == {
            "drawn": "pointseg.annotation.drawn.Drawn",
            "field": "pointseg.annotation.given.Given",
        }[run]
    )
    assert config.crops["number"] == {"drawn": 400, "field": 16}[run]
    content = json.loads(json.dumps(config.__dict__))
    assert migrated(content) == content


def test_a_sampler_of_someone_elses_stays_a_sampler() -> None:
    moved = migrated({"sampler": {"_target_": "theirs.Mine", "n": 1}, "seed": 0})
    assert moved["sampler"] == {"_target_": "theirs.Mine", "n": 1}
    assert moved["annotation"] == {"_target_": "pointseg.annotation.drawn.Drawn"}
