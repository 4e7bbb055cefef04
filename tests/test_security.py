"""What comes from others, a checkpoint or a run's folder, runs no code."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from pointseg.config import construct, parse
from pointseg.errors import InputError
from pointseg.prediction.trained import load_run
from pointseg.types import RGB
from tests.support.training import composed

HOSTILE = [
    "os.system",
    "builtins.exec",
    "subprocess.Popen",
    "pointseg.prediction.trained.os.system",  # a module's own imports
    "pointseg.datasets.folder.np.load",
    "pointseg.models.weights.torch.load",
    "torch.optim.adam.torch.load",
    "torch.hub.load",
    "pointseg.export.main",
    "pointsegextra.losses.Mine",  # begins alike
]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_configuration_calls_only_what_is_trusted(target: str, tmp_path: Path) -> None:
    node = {"_target_": target, "command": f"touch {tmp_path / 'made'}"}
    with pytest.raises(InputError, match=r"_target_=.*POINTSEG_TRUST"):
        construct(node)
    for group in ("loss", "model", "optimizer", "trainer", "crops", "augment"):
        cfg = composed()
        cfg[group] = node
        with pytest.raises(InputError, match=rf"{group}\._target_={target}: .*POINTSEG_TRUST"):
            parse(cfg)
    assert not list(tmp_path.iterdir())


def test_a_run_of_others_is_refused_before_its_code_is_imported(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "theirs.py").write_text(
        f"open({str(tmp_path / 'made')!r}, 'w')\n\ndef network(classes, weights): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    OmegaConf.save({"model": {"_target_": "theirs.network", "weights": None}}, run / "config.yaml")
    bands = {"dtype": "uint8", "numbers": [1, 2, 3], "low": [0.0] * 3, "high": [255.0] * 3, "mean": [0.0] * 3}
    torch.save({"classes": ["a"], "bands": {**bands, "std": [1.0] * 3}, "state_dict": {}}, run / "best.ckpt")
    with pytest.raises(InputError, match=r"theirs\.network: .*POINTSEG_TRUST"):
        load_run(run, "best", "cpu", flips=False)
    assert not (tmp_path / "made").exists()
    monkeypatch.setenv("POINTSEG_TRUST", "theirs")
    construct({"_target_": "theirs.network", "classes": 1, "weights": None})
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_checkpoint_of_others_runs_no_code(checkpoint: str, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "made",)

    unet = {"_target_": "pointseg.models.networks.unet", "weights": None}
    node = {"model": unet, "crop_size": 64, "overlap": 8, "batch_size": 2}
    OmegaConf.save(node, tmp_path / "config.yaml")
    torch.save({"classes": Hostile()}, tmp_path / f"{checkpoint}.ckpt")
    with pytest.raises(InputError, match=rf"{checkpoint}\.ckpt: "):
        load_run(tmp_path, checkpoint, "cpu", flips=False)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("part", "odd", "message"),
    [
        ("classes", ["a", None], "None"),
        ("palette", [[0, 0, 0]], r" 2 .*\(1, 3\)"),
        ("bands", {**asdict(RGB), "mean": "#12345G"}, "'#'"),
        ("bands", {**asdict(RGB), "std": []}, "std"),
    ],
)
def test_what_a_checkpoint_says_of_classes_and_bands_is_checked(
    part: str, odd: Any, message: str, tmp_path: Path
) -> None:
    unet = {"_target_": "pointseg.models.networks.unet", "weights": None}
    OmegaConf.save({"model": unet, "crop_size": 64, "overlap": 8, "batch_size": 2}, tmp_path / "config.yaml")
    saved = {"classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "bands": asdict(RGB), "state_dict": {}}
    torch.save({**saved, part: odd}, tmp_path / "best.ckpt")
    with pytest.raises(InputError, match=rf"best\.ckpt: .*{message}"):
        load_run(tmp_path, "best", "cpu", flips=False)


def test_an_option_of_another_group_is_refused() -> None:
    """It is trusted, but wants facts that are not known where it stands."""
    with pytest.raises(InputError, match="classes"):
        construct({"_target_": "pointseg.models.networks.unet", "weights": None}, crop_size=64)
