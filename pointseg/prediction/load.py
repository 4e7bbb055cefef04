"""A trained network from wherever it is kept: a run's folder or an exported file."""

from pathlib import Path

from pointseg.prediction import export, trained
from pointseg.prediction.trained import Accelerator, Trained


def load(run: Path, checkpoint: str, accelerator: Accelerator, flips: bool | None, calibrated: bool = True) -> Trained:
    """As `trained.load_run` does; an .onnx file is as it was exported, whatever checkpoint and calibrated say."""
    if run.suffix == ".onnx":
        return export.load(run, accelerator, flips)
    return trained.load_run(run, checkpoint, accelerator, flips, calibrated)
