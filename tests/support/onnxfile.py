"""What tests share with those of onnxfile."""

from typing import Any

from onnx import TensorProto, helper


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
