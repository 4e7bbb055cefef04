"""A network as the Deepness plugin of QGIS takes it (its documents, "Creating your own ONNX model", and its sources).

Deepness reads 8-bit tiles of one size, divides them by 255 and gives the network one at a time; it crops overlaps
where `predict` blends them. Its ONNX Runtime is 1.17 at most, which reads files of IR version 9 and opset 20.
"""

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from omegaconf import OmegaConf
from pyproj import CRS
from torch import Tensor, nn

from pointseg.config import read
from pointseg.errors import InputError
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.prediction.trained import Trained, config_file

IR, OPSET = 9, 20  # the newest that it reads


class Tiles(nn.Module):
    """Images in [0, 1] → class probabilities; the network takes them as 8 bits."""

    def __init__(self, probabilities: nn.Module) -> None:
        super().__init__()
        self.probabilities = probabilities

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        values: Tensor = self.probabilities((images * 255).round().to(torch.uint8))
        return values


def check(model: Trained) -> None:
    """Raises InputError for a network whose images Deepness would give other values than training has."""
    bands = model.bands
    if bands.dtype != "uint8":
        raise InputError(
            f"format=deepness: the run's images have {bands.dtype} values, which training stretched to 8 bits, and "
            "Deepness does not: its map would be wrong. Train on 8-bit images, or map with pointseg predict."
        )


def resolution(run: Path, given: float | None) -> float:
    """Centimetres of ground a pixel: `given`, or those of the run's images.

    Raises InputError where neither is known.
    """
    if given is not None:
        if not isinstance(given, int | float) or given <= 0:
            raise InputError(f"resolution={given}: give the centimetres of ground that a pixel shows, such as 50.")
        return float(given)
    images = OmegaConf.select(read(config_file(run)), "dataset.images")
    remedy = "give the centimetres of ground that a pixel shows, as in resolution=50."
    if images is None:
        raise InputError(f"resolution: the images of this run have no known place; {remedy}")
    raster = open_rasters(find(images, "dataset.images"))[0]
    crs = None if raster.crs is None else CRS.from_wkt(raster.crs)
    if crs is None or not crs.is_projected:
        raise InputError(f"resolution: {raster.file} is not in metres; {remedy}")
    metres = abs(raster.transform.determinant) ** 0.5 * crs.axis_info[0].unit_conversion_factor
    return float(round(100 * metres, 3))


def metadata(model: Trained, centimetres: float) -> dict[str, str]:
    """Values as JSON, under the keys that Deepness reads."""
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(label): name for label, name in enumerate(model.classes)},
        "resolution": centimetres,
        "tile_size": model.window_size,
        "tiles_overlap": round(100 * model.overlap / model.window_size),  # percent
        "seg_thresh": 0,  # with a threshold, pixels below it would become the first class
        "seg_small_segment": 0,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def fit(content: Any) -> None:
    """Make the onnx.ModelProto one that Deepness's runtime reads. Raises InputError where it cannot be."""
    newest = max(entry.version for entry in content.opset_import if entry.domain in ("", "ai.onnx"))
    if newest > OPSET:
        raise InputError(f"format=deepness: torch wrote opset {newest}, Deepness reads {OPSET}; use an older torch.")
    content.ir_version = min(content.ir_version, IR)
