"""Maps of whole scenes as files: strip by strip, so that memory stays bounded and a killed job goes on.

Each finished strip is kept in the folder `<map>.<job>.partial`; when all are there they become the map, which
appears under its name only when it is whole. Several processes (torchrun) share the strips out.
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from pointseg import processes, progress
from pointseg.config import read
from pointseg.datasets.field import kept_points
from pointseg.errors import Faults, InputError
from pointseg.files import alone, writing
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.maps import formats
from pointseg.prediction import load
from pointseg.prediction.smoothing import smoothed
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import cover, predict_scene, strips
from pointseg.types import IGNORE, Points, Window

log = logging.getLogger(__name__)

FORMATS = (".tif", ".tiff", ".png")


@dataclass(frozen=True)
class Settings:
    """How scenes are predicted.

    window_size, overlap (pixels), batch_size: of the windows. probabilities: also keep those of every class.
    sieve: pixels; smaller areas of a class are joined to their largest neighbour. smooth: the radius in pixels within
    which probabilities are smoothed, 0 for none.
    Raises InputError where they cannot be.
    """

    window_size: int
    overlap: int
    batch_size: int
    probabilities: bool
    sieve: int = 0
    smooth: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1 or not 0 <= self.overlap < self.window_size:
            raise InputError(
                f"window_size={self.window_size}, overlap={self.overlap}, batch_size={self.batch_size}: give an "
                "overlap from 0 to less than window_size, and a batch of 1 at least."
            )
        if self.sieve < 0:
            raise InputError(f"sieve={self.sieve}: give the pixels of the smallest area, or 0 to keep all.")
        if not 0 <= self.smooth < self.window_size // 4:
            raise InputError(
                f"smooth={self.smooth}: give a radius below {self.window_size // 4} pixels, a quarter of the windows' "
                "side, or 0."
            )


Layers = UInt8[np.ndarray, "layers h w"]
"""Class (IGNORE without data), confidence and, if they are kept, a probability for each class, from 0 to 255."""


def predict(cfg: DictConfig) -> list[Path]:
    """Map every image of `cfg.input`; the maps' files. conf/predict.yaml says what each key means."""
    model = load.load(Path(cfg.run), cfg.checkpoint, cfg.accelerator, cfg.flips, cfg.calibrated)
    settings = Settings(
        model.window_size if cfg.window_size is None else cfg.window_size,
        model.overlap if cfg.overlap is None else cfg.overlap,
        model.batch_size if cfg.batch_size is None else cfg.batch_size,
        cfg.probabilities,
        cfg.sieve,
        cfg.smooth,
    )
    rasters = open_rasters(find(cfg.input, "input"), bands=model.bands)
    _tell_scale(Path(cfg.run))
    if cfg.polygons:
        with Faults() as faults:
            for raster in rasters:
                with faults.step():
                    formats.check_polygons(raster)
    files = [_output(Path(cfg.output), raster, alone=len(rasters) == 1) for raster in rasters]
    for raster, file in zip(rasters, files, strict=True):
        points = _points(Path(cfg.run) / "points", raster, model.classes)
        made = predict_map(model, raster, file, settings)
        if made or (
            processes.rank() == 0 and not formats.preview_file(file).exists()
        ):  # as one killed before it leaves
            formats.write_preview(file, output_files(file, settings)["confidence"], model, raster, points)
        if cfg.polygons and processes.rank() == 0:
            formats.write_polygons(file, raster, model.classes, model.palette, cfg.simplify)
    return files


def _tell_scale(run: Path) -> None:
    """Warn where training saw resized images: imagery is mapped as it is, and things on it may be of another size."""
    scale = "native" if run.suffix == ".onnx" else OmegaConf.select(read(run / "config.yaml"), "dataset.scale")
    if scale not in (None, "native"):
        log.warning(
            "The run was trained on images resized to %s by %s pixels, and the input is mapped at its own size; where "
            "a pixel of it shows less or more ground than there, resize it first.",
            scale,
            scale,
        )


def _output(output: Path, raster: Raster, alone: bool) -> Path:
    """The map's file: `output` itself, or in the folder `output` one with the image's name."""
    if output.suffix.lower() in FORMATS:
        if not alone:
            raise InputError(f"output={output}: one file for several images; give a folder.")
        return output
    if output.suffix and not output.is_dir():
        raise InputError(f"output={output}: maps are .tif or .png; or give a folder.")
    return output / f"{raster.id}{'.tif' if raster.mapped or raster.file_of.control else '.png'}"


def _points(folder: Path, raster: Raster, classes: Sequence[str]) -> Points:
    """The points that the run was trained on, where the raster is one of its own."""
    table = kept_points(folder, raster)
    # Not all, where another image has the name of one that the run was trained on.
    table = table[(table["row"] < raster.shape[0]) & (table["col"] < raster.shape[1])]
    if unknown := sorted(set(table["name"]) - set(classes)):
        raise InputError(f"{folder}: points of {raster.id} have the class {unknown[0]!r}; {', '.join(classes)} are.")
    labels = [classes.index(name) for name in table["name"]]
    return Points(table["row"].to_numpy(np.float64), table["col"].to_numpy(np.float64), np.array(labels, np.int64))


def predict_map(model: Trained, raster: Raster, file: Path, settings: Settings) -> bool:
    """Write the class map of `raster` to `file`, and the other layers beside it; whether this process did.

    <name>_confidence: the probability of the class that was chosen. <name>_probabilities: a band for each
    class. Both are 8-bit, 255 for a probability of 1. GeoTIFF (cloud-optimised) or PNG, by `file`'s suffix.
    A file that the same job wrote is left as it is. Raises InputError where another file stands in the way.
    """
    key = _key(model, raster, settings)
    outputs = output_files(file, settings)
    if all(formats.tag(output) == key for output in outputs.values()):
        log.info("%s: is there already, from the same run, image and settings.", file)
        return False
    if standing := [output for output in outputs.values() if output.exists() and formats.tag(output) != key]:
        raise InputError(
            f"{standing[0]}: exists, and was not made by this run with these settings and its present calibration; "
            "remove it or choose another output."
        )
    folder = _folder(file, key)
    with alone(folder, str(processes.rank())):
        return _made(model, raster, file, settings, folder, key)


def _made(model: Trained, raster: Raster, file: Path, settings: Settings, folder: Path, key: str) -> bool:
    rows = strips(raster.shape[0], settings.window_size, settings.overlap)
    mine = _share(len(rows))
    missing = [i for i in mine if not _strip_file(folder, i).exists()]
    if missing:
        if len(missing) < len(mine):
            log.info("%s: goes on; %d of %d strips are there.", file, len(mine) - len(missing), len(mine))
        _predict_strips(model, raster, settings, folder, range(missing[0], mine.stop))
    if processes.rank():
        return False
    while not all(_strip_file(folder, i).exists() for i in range(len(rows))):
        time.sleep(0.5)  # other processes are at theirs
    outputs = output_files(file, settings)
    formats.write(
        outputs, folder, [_strip_file(folder, i) for i in range(len(rows))], model, raster, key, settings.sieve
    )
    shutil.rmtree(folder)
    log.info("Map: %s", ", ".join(str(output) for output in outputs.values()))
    return True


def output_files(file: Path, settings: Settings) -> dict[str, Path]:
    """The file of each layer. Probabilities have a band for each class, more than a PNG can hold."""
    files = {"classes": file, "confidence": file.with_stem(f"{file.stem}_confidence")}
    if settings.probabilities:
        files["probabilities"] = file.with_name(f"{file.stem}_probabilities.tif")
    return files


def _share(count: int) -> range:
    """The strips of this process: consecutive ones, because neighbours share windows."""
    rank, ranks = processes.rank(), processes.number()
    return range(count * rank // ranks, count * (rank + 1) // ranks)


def _key(model: Trained, raster: Raster, settings: Settings) -> str:
    """Tells a map of the same weights, image and settings from any other."""
    file = raster.file_of
    header = (file.nodata, file.masked, file.interpretation, file.scales, file.offsets, file.crs, file.transform)
    parts = (model.key, str(raster.file), file.stamps, header, file.control, asdict(settings))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _folder(file: Path, key: str) -> Path:
    """The folder of the strips of this job; one that another run, image or settings left has another name."""
    folder = file.with_name(f"{file.name}.{key[:8]}.partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another output.") from error
    return folder


def _strip_file(folder: Path, index: int) -> Path:
    return folder / f"{index:06}.npy"


def _predict_strips(model: Trained, raster: Raster, settings: Settings, folder: Path, chosen: range) -> None:
    rows = strips(raster.shape[0], settings.window_size, settings.overlap)
    layers = 2 + settings.probabilities * len(model.classes)
    blocks = predict_scene(
        smoothed(model.predict, settings.smooth) if settings.smooth else model.predict,
        raster,
        settings.window_size,
        settings.overlap,
        settings.batch_size,
        model.device,
        wanted=lambda window: bool(raster.valid(window).any()),
        chosen=chosen,
    )
    across = len(cover(raster.shape[1], settings.window_size, settings.overlap))
    pending = next(blocks, None)
    with progress.steps(len(chosen) * across, f"predicting {raster.id}", "window") as done:
        for i in chosen:
            first, last = rows[i]
            strip = np.zeros((layers, last - first, raster.shape[1]), np.uint8)
            strip[0] = IGNORE
            empty = across
            while pending is not None and pending[0].row == first:
                window, values = pending
                columns = slice(window.col, window.col + window.width)
                strip[:, :, columns] = _layers(values, layers)
                pending = next(blocks, None)
                empty -= 1
                done()
            _mask(strip, raster, first)
            _save(_strip_file(folder, i), strip)
            done(empty)


def _layers(values: Tensor, layers: int) -> Layers:
    confidence, chosen = values.max(0, keepdim=True)
    parts = [chosen.byte(), _bytes(confidence)] + ([_bytes(values)] if layers > 2 else [])
    return np.asarray(torch.cat(parts).cpu().numpy())


def _bytes(shares: Tensor) -> Tensor:
    return (shares * 255).round().clamp(0, 255).byte()


def _mask(strip: Layers, raster: Raster, first: int) -> None:
    valid = raster.valid(Window(first, 0, *strip.shape[1:]))
    strip[0][~valid] = IGNORE
    strip[1:][:, ~valid] = 0


def _save(file: Path, strip: Layers) -> None:
    with writing(file, "make room and give the same command, which goes on here", shared=True) as partial:
        np.save(partial, strip)
