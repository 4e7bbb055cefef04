"""An exported network as an item of a STAC catalogue, by the extension for machine-learning models (MLM 1.5).

https://github.com/stac-extensions/mlm. Catalogues show such items, and programs learn from them what the network wants
and what it gives.
"""

import json
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pointseg.files import writing
from pointseg.prediction.trained import Trained
from pointseg.types import Bands

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.5.2/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
)
TASK = "semantic-segmentation"


def write(file: Path, model: Trained, images: dict[str, Any], scaling: list[dict[str, Any]], side: int) -> None:
    """The item of the exported `file`, beside it as .json.

    images: shape and data type of the input, with −1 for what may vary. scaling: from the file's values to the input.
    side: of the output, −1 where it may vary.
    """
    names = [f"band {number}" for number in model.bands.numbers]
    parameters = sum(value.numel() for value in model.network.parameters()) if model.network else 0
    properties = {
        "datetime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "description": f"Maps {', '.join(model.classes)}; trained and exported with pointseg {version('pointseg')}.",
        "bands": [{"name": name} for name in names],
        "mlm:name": re.sub(r"[^a-zA-Z0-9_.-]", "-", f"pointseg-{file.stem}").rstrip("_.-"),
        "mlm:architecture": _architecture(model),
        "mlm:tasks": [TASK],
        "mlm:framework": "ONNX",
        "mlm:framework_version": version("onnx"),
        "mlm:total_parameters": parameters,
        "mlm:batch_size_suggestion": model.batch_size,
        "mlm:accelerator": None,
        "mlm:input": [
            {
                "name": "images",
                "bands": names,
                "input": {**images, "dim_order": ["batch", "bands", "height", "width"]},
                "value_scaling": scaling or None,
                "resize_type": None,
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "tasks": [TASK],
                "result": {
                    "shape": [images["shape"][0], len(model.classes), side, side],
                    "dim_order": ["batch", "class", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": _classes(model),
                "post_processing_function": None,
            }
        ],
    }
    asset = {
        "href": f"./{file.name}",
        "type": "application/octet-stream; application=onnx",
        "title": "The network, with its weights",
        "roles": ["mlm:model"],
        "mlm:artifact_type": "onnx",
        "bands": [{"name": name} for name in names],  # here for STAC, among the properties for MLM
    }
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": file.stem,
        "geometry": None,  # a network can be tried anywhere
        "properties": properties,
        "links": [],
        "assets": {"model": asset},
    }
    with writing(file.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(item, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def stretched(bands: Bands) -> list[dict[str, Any]]:
    """From the file's values to the 8 bits that the network takes, band by band; nothing where they are 8 bits."""
    if bands.dtype == "uint8":
        return []
    return [
        {
            "type": "processing",
            "format": "python",
            "expression": f"numpy.clip(numpy.round((values - {low!r}) * (255 / ({high!r} - {low!r}))), 0, 255)",
        }
        for low, high in zip(bands.low, bands.high, strict=True)
    ]


def _architecture(model: Trained) -> str:
    network: Any = model.network
    return type(getattr(network, "network", network)).__name__  # a calibrated one holds the other


def _classes(model: Trained) -> list[dict[str, Any]]:
    return [
        {
            "value": value,
            "name": re.sub(r"[^0-9A-Za-z_-]", "_", name),  # the extension allows no other signs
            "description": name,
            "color_hint": "".join(f"{int(part):02X}" for part in colour),
        }
        for value, (name, colour) in enumerate(zip(model.classes, model.palette, strict=True))
    ]
