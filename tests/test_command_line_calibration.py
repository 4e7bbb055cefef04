"""Calibrating a run and exporting it, as a user does."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.conftest import Outcome
from tests.site import NAMES
from tests.support.command_line_field import TRAIN, write_site
from tests.support.training import SCENES, SMALL

Command = Callable[..., Outcome]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Callable[..., str]:
    """A command's output; it has to end well."""

    def checked(module: str, *arguments: str) -> str:
        result = command(module, *arguments)
        assert result.code == 0, result.output
        return result.output

    return checked


@pytest.fixture
def refused(command: Command) -> Callable[..., str]:
    def checked(module: str, *arguments: str) -> str:
        result = command(module, *arguments)
        assert result.code not in (0, None)
        assert "Traceback" not in result.output, result.output
        return result.output

    return checked


def test_scores_with_a_corrected_prior_stand_beside_those_without(
    run: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    run("pointseg.train", *SCENES, *SMALL, "sampler=stratified", "hydra.run.dir=run")
    assert "pointseg.calibrate" in refused("pointseg.evaluate", "run=run", "calibrated=true")
    said = run("pointseg.calibrate", "run=run", "prior=points", "budget=200")
    assert "pixels drawn at random from the masks of 9 validation scenes" in said
    assert "class shares, training → map: Water" in said
    found = json.loads((tmp_path / "run/calibration.json").read_text())
    assert found["n"] == 1800
    assert sum(found["prior"].values()) == pytest.approx(1)
    assert found["after"]["nll"] != found["before"]["nll"]
    assert (tmp_path / "run/reliability.png").stat().st_size > 10_000
    run("pointseg.evaluate", "run=run", "calibrated=true", "split=val")
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert scores["val_calibrated"]["confusion"] != scores["val"]["best"]


def test_a_calibrated_run_and_its_export_map_alike_and_otherwise(
    run: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    write_site(tmp_path)
    run("pointseg.train", *TRAIN, "seed=1")
    image = "input=site/a.tif"
    run("pointseg.predict", "run=run", image, "output=raw.tif")
    assert "training → map: grass 0.3" in run("pointseg.calibrate", "run=run", "prior=estimate", "input=site")
    said = run("pointseg.calibrate", "run=run", "prior={grass: 0.98, sand: 0.01, water: 0.01}")
    assert "points of the run in 1 validation scenes; after: 5 folds of positions" in said
    assert "Calibrated as run/calibration.json says: temperature" in run(
        "pointseg.predict", "run=run", image, "output=calibrated.tif"
    )
    # The calibration is part of what tells maps apart: without it, the first one is there already.
    again = ("pointseg.predict", "run=run", image, "output=raw.tif")
    assert "raw.tif: " in refused(*again)
    assert "is there already, from the same run" in run(*again, "calibrated=false")
    assert "model.onnx" in run("pointseg.export", "run=run", "output=model.onnx")
    run("pointseg.predict", "run=model.onnx", image, "output=exported.tif")
    raw, calibrated, exported = (_map(tmp_path / f"{name}.tif") for name in ("raw", "calibrated", "exported"))
    grass = sorted(NAMES).index("grass")
    assert (calibrated == grass).sum() > (raw == grass).sum()
    assert (exported == calibrated).mean() > 0.999  # but for ties of rounding
    assert "prior=guess: " in refused("pointseg.calibrate", "run=run", "prior=guess")


def _map(file: Path) -> np.ndarray:
    with rasterio.open(file) as dataset:
        return np.asarray(dataset.read(1))
