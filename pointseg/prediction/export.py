"""A trained network as an ONNX file: 8-bit images → class probabilities at every pixel, of any number and size.

Input `images`, uint8 (b, c, h, w), stretched as the metadata's `bands` says; normalised inside. Output
`probabilities`, float32 (b, k, h, w), calibrated where the run is. The metadata, each as JSON: pointseg (its
version), classes, palette, bands, window_size, overlap, batch_size, flips (whether the run's scores are of an average
over mirror images, which is left to whoever predicts).
"""

import hashlib
import importlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

import pointseg
from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.prediction import deepness, stac, trained
from pointseg.prediction.trained import Accelerator, Trained
from pointseg.prediction.windows import Predict, averaged_over_flips, probabilities

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # by which a probability may differ from torch's
PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider", "cpu": "CPUExecutionProvider"}


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return probabilities(self.network, images)


@dataclass(frozen=True)
class Target:
    """What is exported: a module, the shapes of images (b, c, h, w) that it is tried on, and the file's metadata.

    fixed: the file takes images of the first shape alone.
    """

    network: nn.Module
    dtype: torch.dtype
    shapes: tuple[tuple[int, int, int, int], ...]
    fixed: bool
    metadata: dict[str, str]


FORMATS = ("onnx", "deepness")


def export(
    run: Path,
    output: Path,
    checkpoint: str,
    calibrated: bool,
    format: str = "onnx",
    resolution: float | None = None,
) -> None:
    """Write the network of `run` to `output`, once onnxruntime gives what torch does on random tiles.

    format, resolution: see conf/export.yaml.
    Raises InputError where it does not, `output` exists or is no .onnx, or the extra `onnx` is not installed.
    """
    if format not in FORMATS:
        raise InputError(f"format={format}: choose {' or '.join(FORMATS)}.")
    if output.suffix != ".onnx":
        raise InputError(f"output={output}: give a file whose name ends in .onnx.")
    if output.exists():
        raise InputError(f"output={output}: exists; remove it or choose another.")
    onnx, _, _ = (_extra(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    if run.suffix == ".onnx":
        raise InputError(f"run={run}: is exported already; give the folder of a run.")
    model = trained.load_run(run, checkpoint, "cpu", flips=False, calibrated=calibrated)
    target = _for_deepness(model, run, resolution) if format == "deepness" else _for_all(model)
    content = _translated(target)
    if format == "deepness":
        deepness.fit(content)
    onnx.helper.set_model_props(content, target.metadata)
    with writing(output) as partial:
        onnx.save(content, partial)
        difference = _difference(target, partial)
        if difference > TOLERANCE:
            raise InputError(
                f"{output}: not written; onnxruntime's probabilities differ from torch's by {difference:.1e}, more "
                f"than {TOLERANCE}. Try other versions of onnx and onnxruntime."
            )
        _describe(output, model, target)
    log.info("Exported: %s; its probabilities differ from torch's by at most %.1e", output, difference)


def _for_all(model: Trained) -> Target:
    """8-bit images of any number and size: tried at the run's own, and at one that no stride divides."""
    assert model.network is not None  # only an exported file has none
    bands, side = len(model.bands), model.window_size
    shapes = ((1, bands, side, side), (2, bands, 97, 131))
    return Target(_Probabilities(model.network).eval(), torch.uint8, shapes, False, _metadata(model))


def _for_deepness(model: Trained, run: Path, resolution: float | None) -> Target:
    assert model.network is not None
    deepness.check(model)
    shape = (1, len(model.bands), model.window_size, model.window_size)
    metadata = deepness.metadata(model, deepness.resolution(run, resolution))
    return Target(deepness.Tiles(_Probabilities(model.network)).eval(), torch.float32, (shape,), True, metadata)


def _describe(output: Path, model: Trained, target: Target) -> None:
    """The item for catalogues, beside the file."""
    bands, side = len(model.bands), model.window_size
    if target.fixed:
        images = {"shape": list(target.shapes[0]), "data_type": "float32"}
        stac.write(output, model, images, [{"type": "scale", "value": 255}], side)
    else:
        stac.write(output, model, {"shape": [-1, bands, -1, -1], "data_type": "uint8"}, stac.stretched(model.bands), -1)


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed, and ONNX files need it: pip install 'pointseg[onnx]'.") from error


def _translated(target: Target) -> Any:
    """The network as an onnx.ModelProto, by way of torch.export, whose sizes stay symbols unless they are fixed."""
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every constant that is folded
    dynamic = torch.export.Dim.DYNAMIC
    # Two images and unequal sides: what is 1 or equal in the example would be taken for fixed.
    shape = target.shapes[0] if target.fixed else (2, target.shapes[0][1], 96, 128)
    program = torch.onnx.export(
        target.network,
        (torch.zeros(shape, dtype=target.dtype),),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes=None if target.fixed else {"images": {0: dynamic, 2: dynamic, 3: dynamic}},
    )
    assert program is not None
    return program.model_proto


def _metadata(model: Trained) -> dict[str, str]:
    values = {
        "pointseg": pointseg.__version__,
        "classes": model.classes,
        "palette": model.palette.tolist(),
        "bands": asdict(model.bands),
        "tile_size": model.window_size,  # as the Deepness plugin of QGIS calls it
        "overlap": model.overlap,
        "batch_size": model.batch_size,
        "flips": model.flips,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def _difference(target: Target, file: Path) -> float:
    """The largest difference of a probability on random tiles."""
    predict = _predictor(_session(file, "cpu"))
    generator = torch.Generator().manual_seed(0)
    differences = []
    for shape in target.shapes:
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        images = images if target.dtype == torch.uint8 else images.to(target.dtype) / 255
        with torch.inference_mode():
            differences.append(float((target.network(images) - predict(images)).abs().max()))
    return max(differences)


def load(file: Path, accelerator: Accelerator, flips: bool | None) -> Trained:
    """What `export` wrote, run by onnxruntime.

    Raises InputError where `file` is not that, the device is not there or the extra `onnx` is not installed.
    """
    if not file.is_file():
        raise InputError(f"run={file}: no such file.")
    session = _session(file, accelerator)
    with reading(file, "what pointseg.export wrote", "export it anew."):
        _own(session, file)
        saved = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        bands, (classes, palette) = trained.bands_of(saved["bands"]), trained.legend_of(saved)
        window_size, overlap, batch_size = (int(saved[key]) for key in ("tile_size", "overlap", "batch_size"))
        if not (0 <= overlap < window_size and batch_size > 0):
            raise ValueError(f"window_size {window_size}, overlap {overlap}, batch_size {batch_size}")
        scored = bool(saved.get("flips", False))  # files of 0.1.0 may lack it
        predict = _predictor(session)
        _try(predict, len(bands), len(classes))
    flipped = trained.flips_of(flips, scored)
    return Trained(
        averaged_over_flips(predict) if flipped else predict,
        classes,
        palette,
        bands,
        window_size,
        overlap,
        batch_size,
        torch.device("cpu"),  # where its tensors are; onnxruntime moves them
        hashlib.sha256(file.read_bytes() + bytes([flipped])).hexdigest(),
        scored,
    )


def _try(predict: Predict, bands: int, classes: int) -> None:
    """Raises ValueError, or what onnxruntime does, where a damaged graph does not give probabilities."""
    values = predict(torch.zeros(1, bands, 64, 64, dtype=torch.uint8))
    if values.shape != (1, classes, 64, 64) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"of a black image it gives {tuple(values.shape)}, from {values.min()} to {values.max()}")


def _session(file: Path, accelerator: Accelerator) -> Any:
    runtime = _extra("onnxruntime")
    available = runtime.get_available_providers()
    wanted = [PROVIDERS["cuda"], PROVIDERS["cpu"]] if accelerator == "auto" else [PROVIDERS[accelerator]]
    if not (providers := [name for name in wanted if name in available]):
        raise InputError(f"accelerator={accelerator}: onnxruntime has no such device; it has: {', '.join(available)}.")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with reading(file, "an ONNX file", "export it anew."):
        return runtime.InferenceSession(os.fspath(file), options, providers=providers)


def _own(session: Any, file: Path) -> None:
    """Raises InputError for a file that `predict` cannot use."""
    keys = session.get_modelmeta().custom_metadata_map.keys()
    if "model_type" in keys:
        raise InputError(f"{file}: was exported for Deepness, which maps in a way of its own; give the run's folder.")
    if "pointseg" not in keys:
        raise InputError(f"{file}: was not written by pointseg.export; give a run's folder or what that wrote.")


def _predictor(session: Any) -> Predict:
    def predict(images: Shaped[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        (values,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(values)

    return predict
