"""What tests share with those of onnxfile."""

from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from pointseg.prediction import export, trained
from pointseg.prediction.trained import Trained
from pointseg.types import RGB
from tests.site import NAMES
from tests.support.maps import PALETTE


class Brightness(nn.Module):
    """The bands' values are the logits."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float() / 50


def graph(scale: float) -> Any:
    """softmax(images / scale)."""
    sizes = ["b", 3, "h", "w"]
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    content = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, sizes)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, sizes)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [scale])],
    )
    return helper.make_model(content, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the exported graph divides by; the network divides by 50."""
    found = [50.0]
    device = torch.device("cpu")
    model = Trained(lambda images: images, NAMES, PALETTE, RGB, 32, 8, 2, device, "key", True, Brightness())
    monkeypatch.setattr(trained, "load_run", lambda *_, **__: model)
    monkeypatch.setattr(export, "_translated", lambda *_: graph(found[0]))
    return found
