"""Exported networks, on a graph written by hand; the real translation runs in test_command_line_calibration."""

import json
import sys
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from pointseg.errors import InputError
from pointseg.prediction import export, trained
from pointseg.prediction.trained import Trained
from pointseg.types import RGB
from tests.site import NAMES
from tests.support.maps import PALETTE
from tests.support.onnxfile import graph


class Brightness(nn.Module):
    """The bands' values are the logits."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 50


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the exported graph divides by; the network divides by 50."""
    found = [50.0]
    device = torch.device("cpu")
    model = Trained(lambda images: images, NAMES, PALETTE, RGB, 32, 8, 2, device, "key", True, Brightness())
    monkeypatch.setattr(trained, "load_run", lambda *_, **__: model)
    monkeypatch.setattr(export, "_translated", lambda *_: graph(found[0]))
    return found


def test_what_is_written_reads_back(scale: list[float], tmp_path: Path) -> None:
    file = tmp_path / "folder/model.onnx"
    export.export(tmp_path, file, "best", True)
    assert sorted(left.name for left in file.parent.iterdir()) == ["model.json", "model.onnx"]
    plain, flipped = (export.load(file, "cpu", flips) for flips in (False, True))
    assert (plain.classes, plain.bands) == (NAMES, RGB)
    assert (plain.palette == PALETTE).all()
    assert (plain.window_size, plain.overlap, plain.batch_size) == (32, 8, 2)
    assert plain.key != flipped.key
    assert export.load(file, "cpu", None).key == flipped.key  # as the run is scored
    images = torch.randint(0, 256, (4, 40, 50, 3), dtype=torch.uint8).permute(0, 3, 1, 2)  # as tiles come
    for model in (plain, flipped):
        assert torch.allclose(model.predict(images), (images.float() / 50).softmax(1), atol=1e-6)
    said = {entry.key: json.loads(entry.value) for entry in onnx.load(file).metadata_props}
    assert said["classes"] == list(NAMES)
    assert said["pointseg"]
    with pytest.raises(InputError, match=r"model\.onnx: "):
        export.export(tmp_path, file, "best", True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", '["a"'),
        ("classes", '["a", "b", "c", "d"]'),  # the graph has three, and the palette
        ("bands", '{"dtype": "uint8"}'),
        ("overlap", "32"),  # as wide as a tile
        ("batch_size", "0"),
    ],
)
def test_what_its_metadata_cannot_say(scale: list[float], tmp_path: Path, key: str, value: str) -> None:
    export.export(tmp_path, tmp_path / "model.onnx", "best", True)
    content = onnx.load(tmp_path / "model.onnx")
    helper.set_model_props(content, {**{e.key: e.value for e in content.metadata_props}, key: value})
    onnx.save(content, tmp_path / "odd.onnx")
    with pytest.raises(InputError, match=r"odd\.onnx: "):
        export.load(tmp_path / "odd.onnx", "cpu", False)


@pytest.mark.parametrize("damage", ["a name", "a weight", "the classes"])
def test_a_graph_that_gives_no_probabilities(scale: list[float], tmp_path: Path, damage: str) -> None:
    """A damaged file can still be one of ONNX."""
    scale[0] = 50.0
    export.export(tmp_path, tmp_path / "model.onnx", "best", True)
    content = onnx.load(tmp_path / "model.onnx")
    if damage == "a weight":
        content.graph.initializer[0].CopyFrom(helper.make_tensor("scale", TensorProto.FLOAT, [], [float("nan")]))
    elif damage == "the classes":
        content.graph.node[-1].attribute[0].i = 2  # shares of a row
        said = {e.key: json.loads(e.value) for e in content.metadata_props}
        props = {**said, "classes": ["a", "b"], "palette": said["palette"][:2]}
        helper.set_model_props(content, {key: json.dumps(value) for key, value in props.items()})
    file = tmp_path / "odd.onnx"
    data = content.SerializeToString()
    file.write_bytes(data.replace(b"Softmax", b"S\xf6ftmax") if damage == "a name" else data)
    with pytest.raises(InputError, match=r"odd\.onnx: "):
        export.load(file, "cpu", False)


def test_what_differs_from_torch_is_not_written(scale: list[float], tmp_path: Path) -> None:
    scale[0] = 50.1
    with pytest.raises(InputError, match=r"model\.onnx: "):
        export.export(tmp_path, tmp_path / "model.onnx", "best", True)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_used(scale: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"model\.pt: .*\.onnx"):
        export.export(tmp_path, tmp_path / "model.pt", "best", True)
    with pytest.raises(InputError, match=r"nowhere\.onnx: "):
        export.load(tmp_path / "nowhere.onnx", "cpu", False)
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(InputError, match=r"text\.onnx: "):
        export.load(tmp_path / "text.onnx", "cpu", False)
    onnx.save(graph(1), tmp_path / "foreign.onnx")
    with pytest.raises(InputError, match=r"foreign\.onnx: "):
        export.load(tmp_path / "foreign.onnx", "cpu", False)
    with pytest.raises(InputError, match="accelerator=cuda: "):
        export.load(tmp_path / "foreign.onnx", "cuda", False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"onnxruntime.*pip install 'pointseg\[onnx\]'"):
        export.load(tmp_path / "foreign.onnx", "cpu", False)
