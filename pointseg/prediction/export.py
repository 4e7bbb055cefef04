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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

import pointseg
from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.prediction import trained
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


def export(run: Path, output: Path, checkpoint: str, calibrated: bool) -> None:
    """Write the network of `run` to `output`, once onnxruntime gives what torch does on random tiles of two sizes.

    Raises InputError where it does not, `output` exists or is no .onnx, or the extra `onnx` is not installed.
    """
    if output.suffix != ".onnx":
        raise InputError(f"output={output}: give a file whose name ends in .onnx.")
    if output.exists():
        raise InputError(f"output={output}: exists; remove it or choose another.")
    onnx, _, _ = (_extra(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    if run.suffix == ".onnx":
        raise InputError(f"run={run}: is exported already; give the folder of a run.")
    model = trained.load_run(run, checkpoint, "cpu", flips=False, calibrated=calibrated)
    assert model.network is not None  # only an exported file has none
    network = _Probabilities(model.network).eval()
    content = _translated(network, model)
    onnx.helper.set_model_props(content, _metadata(model))
    with writing(output) as partial:
        onnx.save(content, partial)
        difference = _difference(network, partial, model)
        if difference > TOLERANCE:
            raise InputError(
                f"{output}: not written; onnxruntime's probabilities differ from torch's by {difference:.1e}, more "
                f"than {TOLERANCE}. Try other versions of onnx and onnxruntime."
            )
    log.info("Exported: %s; its probabilities differ from torch's by at most %.1e", output, difference)


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{name} is not installed, and ONNX files need it: pip install 'pointseg[onnx]'.") from error


def _translated(network: nn.Module, model: Trained) -> Any:
    """The network as an onnx.ModelProto, by way of torch.export, whose sizes stay symbols."""
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every constant that is folded
    dynamic = torch.export.Dim.DYNAMIC
    # Two images and unequal sides: what is 1 or equal in the example would be taken for fixed.
    example = torch.zeros(2, len(model.bands), 96, 128, dtype=torch.uint8)
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes={"images": {0: dynamic, 2: dynamic, 3: dynamic}},
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


def _difference(network: nn.Module, file: Path, model: Trained) -> float:
    """The largest difference of a probability on random tiles: the run's own size, and one that no stride divides."""
    predict = _predictor(_session(file, "cpu"))
    generator = torch.Generator().manual_seed(0)
    differences = []
    for shape in ((1, model.window_size, model.window_size), (2, 97, 131)):
        images = torch.randint(0, 256, (shape[0], len(model.bands), *shape[1:]), dtype=torch.uint8, generator=generator)
        with torch.inference_mode():
            differences.append(float((network(images) - predict(images)).abs().max()))
    return max(differences)


def load(file: Path, accelerator: Accelerator, flips: bool | None) -> Trained:
    """What `export` wrote, run by onnxruntime.

    Raises InputError where `file` is not that, the device is not there or the extra `onnx` is not installed.
    """
    if not file.is_file():
        raise InputError(f"run={file}: no such file.")
    session = _session(file, accelerator)
    with reading(file, "what pointseg.export wrote", "export it anew."):
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
        session = runtime.InferenceSession(os.fspath(file), options, providers=providers)
        keys = session.get_modelmeta().custom_metadata_map.keys()
    if "pointseg" not in keys:
        raise InputError(f"{file}: was not written by pointseg.export; give a run's folder or what that wrote.")
    return session


def _predictor(session: Any) -> Predict:
    def predict(images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        (values,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(values)

    return predict
