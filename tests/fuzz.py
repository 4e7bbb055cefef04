"""Damaged inputs by the thousand: each ends in success or in an InputError.

    python -m tests.fuzz --count 10000 --seed 0     # make fuzz
    python -m tests.fuzz --only 137 --seed 0        # one of them again, with its traceback

Input i of a seed is always the same. Printed is a table in Markdown: for each kind of input how many were
read, how many refused, and what else happened, none of which may: `traceback` (an exception that is no
InputError), `hang` (more than LIMIT seconds of computing), `nan` (a score or probability that is no
number), `partial` (a file that was begun). Exit code 1 where anything did.
"""

import argparse
import contextlib
import copy
import faulthandler
import io
import json
import logging
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import onnx
import rasterio
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from shapely.geometry import MultiPoint, Point, Polygon
from tqdm import tqdm

from pointseg.annotation.given import Given
from pointseg.config import CONF, construct, parse, read, values
from pointseg.errors import InputError
from pointseg.imagery.rasters import open_rasters
from pointseg.imagery.stored import _opened
from pointseg.maps import predict
from pointseg.models.networks import unet
from pointseg.models.weights import load_weights
from pointseg.prediction import export, trained
from pointseg.reports import results, sweeps
from pointseg.training import runs
from pointseg.training.train import make_trainer
from pointseg.training.train import train as train_run
from pointseg.types import Window, whole
from tests.site import CRS, NAMES, ORIGIN, frame, pixels, write_image
from tests.support.onnxfile import graph

LIMIT, BACKSTOP = 20, 600  # seconds of computing, and of waiting, that an input may take
MEMORY = 3 << 30  # bytes that an input may take; beyond, allocating raises MemoryError
ODD = [
    None,
    True,
    -1,
    0,
    1,
    2.5,
    -0.5,
    float("nan"),
    float("inf"),
    10**9,
    10**30,
    "",
    "text",
    "x" * 10_000,
    "ü\0",
    [],
    {},
]
ODD += [[1, 2], ["a", "a"], [[]], {"a": 1}, "${seed}", "${nowhere}", "${oc.env:NOWHERE}", "${model}", "???", "#12345G"]
ODD += [{"_target_": "os.getcwd"}, {"_target_": 5}, "../../x", "/nowhere"]

Rng = np.random.Generator


class Hang(BaseException):
    """Not an Exception, so that nothing under test can catch it."""


class NoNumberError(Exception):
    pass


# --- damage to bytes ---


def cut(rng: Rng, data: bytes) -> bytes:
    return data[: int(rng.integers(len(data) + 1))]


def flip(rng: Rng, data: bytes) -> bytes:
    changed = np.frombuffer(data, np.uint8).copy()
    # Headers are short and matter most: half of the flips go there.
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 400)
    places = rng.integers(0, max(reach, 1), rng.integers(1, 9))
    changed[places[places < len(changed)]] ^= rng.integers(1, 256, int((places < len(changed)).sum())).astype(np.uint8)
    return changed.tobytes()


def zero(rng: Rng, data: bytes) -> bytes:
    start, length = int(rng.integers(len(data) + 1)), int(rng.integers(1, 4096))
    return data[:start] + bytes(len(data[start : start + length])) + data[start + length :]


def insert(rng: Rng, data: bytes) -> bytes:
    start = int(rng.integers(len(data) + 1))
    return data[:start] + rng.bytes(int(rng.integers(1, 64))) + data[start:]


def remove(rng: Rng, data: bytes) -> bytes:
    start = int(rng.integers(len(data) + 1))
    return data[:start] + data[start + int(rng.integers(1, 64)) :]


def noise(rng: Rng, data: bytes) -> bytes:
    return rng.bytes(int(rng.integers(0, 2000)))


def empty(rng: Rng, data: bytes) -> bytes:
    return b""


def recoded(rng: Rng, data: bytes) -> bytes:
    """Text in another encoding."""
    return data.decode("latin-1").replace("sand", "säñd").encode(str(rng.choice(["utf-16", "latin-1", "utf-8-sig"])))


def disguised(rng: Rng, data: bytes) -> bytes:
    """Another format under this one's suffix."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("../../escaped", "x")
    picture = io.BytesIO()
    Image.new("RGB", (16, 12)).save(picture, str(rng.choice(["GIF", "BMP", "WEBP", "PDF", "PNG", "TIFF"])))
    formats = [
        archive.getvalue(),
        picture.getvalue(),
        b"{}",
        b"[1, 2]",
        b"null",
        b"<html>404</html>",
        pickle.dumps({1}),
    ]
    return formats[int(rng.integers(len(formats)))]


BYTES = [cut, flip, zero, insert, remove, noise, empty, recoded, disguised]


def damage_bytes(rng: Rng, file: Path) -> str:
    how = BYTES[int(rng.choice(len(BYTES), p=[0.2, 0.35, 0.08, 0.08, 0.08, 0.06, 0.03, 0.06, 0.06]))]
    file.write_bytes(how(rng, file.read_bytes()))
    return f"{how.__name__} {file.name}"


# --- damage to what a file says ---


def mutate(rng: Rng, tree: Any, value: Any = None) -> Any:
    """`tree` with one node, anywhere, replaced, removed, or added to."""
    changed = copy.deepcopy(tree)
    node, key = changed, None
    while isinstance(node, dict | list) and len(node) and (key is None or rng.random() < 0.75):
        parent, key = (
            node,
            list(node)[int(rng.integers(len(node)))] if isinstance(node, dict) else int(rng.integers(len(node))),
        )
        node = parent[key]
    if key is None:
        return pick(rng)
    match rng.integers(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        case _:
            parent[key] = pick(rng)
    return changed


def pick(rng: Rng) -> Any:
    return ODD[int(rng.integers(len(ODD)))]


def declare_size(rng: Rng, file: Path) -> str:
    """A huge or swapped size in the header of a PNG, JPEG or TIFF, whose pixels stay as they are."""
    data = bytearray(file.read_bytes())
    height, width = (int(side) for side in rng.choice([0, 1, 12, 16, 13, 70_000, 2**30, 2**31, 2**32 - 1], 2))
    if data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif data[:2] == b"\xff\xd8":
        start = next(i for i in range(2, len(data) - 9) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC2))
        data[start + 5 : start + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    elif data[:4] == b"II*\0":
        first = struct.unpack("<I", data[4:8])[0]
        for i in range(struct.unpack("<H", data[first : first + 2])[0]):
            entry = first + 2 + 12 * i
            if (tag := struct.unpack("<H", data[entry : entry + 2])[0]) in (256, 257):
                side = width if tag == 256 else height
                data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, side)
    file.write_bytes(bytes(data))
    return f"{file.name} declares {height}×{width}"


def write_odd_image(rng: Rng, file: Path) -> str:
    """Another mode, size or content under the same name."""
    mode = str(rng.choice(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr"]))
    height, width = [(12, 16), (16, 12), (1, 1), (1, 500), (12, 15)][int(rng.integers(5))]
    if mode == "F":
        values = rng.choice([np.nan, np.inf, -1, 0, 1.5, 3e38], (height, width)).astype(np.float32)
        picture = Image.fromarray(values)
    elif mode in ("I", "I;16"):
        picture = Image.fromarray(
            rng.integers(0, 60_000, (height, width)).astype(np.int32 if mode == "I" else np.uint16)
        )
    else:
        bands = len(Image.new(mode, (1, 1)).getbands())
        values = rng.integers(0, 3 if rng.random() < 0.5 else 256, (height, width, bands)).astype(np.uint8)
        picture = Image.new(mode, (width, height))
        picture = Image.frombytes(mode, picture.size, values.tobytes()) if mode != "1" else picture
    try:
        picture.save(file)
    except (OSError, ValueError):  # a mode that this format does not have
        picture.save(file, "TIFF")
    return f"{file.name} of mode {mode}, {height}×{width}"


# --- kinds of input ---


@dataclass(frozen=True)
class Base:
    """Healthy inputs, written once: `folder`/{pairs,site,run}; the model of the run; dataset=folder's options."""

    folder: Path
    model: trained.Trained
    options: dict[str, Any]

    @classmethod
    def prepared(cls, folder: Path) -> "Base":
        rng = np.random.default_rng(0)
        for i, suffix in enumerate(["png", "jpg", "tif", "png", "jpg"]):
            for kind in ("images", "masks"):
                (folder / "pairs" / kind).mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8))
            image.save(folder / f"pairs/images/{i}.{suffix}")
            mask = Image.fromarray(rng.integers(0, 3, (12, 16)).astype(np.uint8))
            mask.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])  # read by its indices or by its colours
            mask.save(folder / f"pairs/masks/{i}.{'tif' if suffix == 'tif' else 'png'}")
        labels = write_image(folder / "site/a.tif", (48, 64))
        write_image(folder / "site/b.tif", (48, 64), bands=4, dtype="uint16", nodata=0, compress="deflate")
        write_image(
            folder / "site/c.tif",
            (48, 64),
            bands=1,
            dtype="float32",
            nodata=-9999.0,
            tiled=True,
            blockxsize=16,
            blockysize=16,
        )
        write_image(folder / "site/d.png", (48, 64), crs=None)
        clicks = pixels(labels, 8)
        field = frame(clicks)
        field.to_file(folder / "site/p.gpkg")
        field.to_file(folder / "site/p.shp")
        field.to_crs("EPSG:4326").to_file(folder / "site/p.geojson")
        table = field.assign(x=field.geometry.x, y=field.geometry.y).drop(columns="geometry")
        table.to_csv(folder / "site/p.csv", index=False)
        table = table.assign(scene="a", row=[row for row, _, _ in clicks], col=[col for _, col, _ in clicks])
        table.drop(columns=["x", "y"]).to_csv(folder / "site/q.csv", index=False)
        train_run(composed(folder), folder / "run", {})
        write_calibration(folder / "run")
        options: Any = OmegaConf.to_container(OmegaConf.load(CONF / "dataset/folder.yaml"))
        return cls(folder, trained.load_run(folder / "run", "best", "cpu", False), options)


def composed(folder: Path, *overrides: str) -> Any:
    options = [
        "dataset=field",
        f"dataset.images={folder}/site/a.tif",
        f"points={folder}/site/p.gpkg",
        "dataset.block=8",
        "crops.number=2",
        "model=unet",
        "crop_size=32",
        "overlap=8",
        "batch_size=2",
        "trainer.max_epochs=1",
        "+trainer.enable_progress_bar=false",
        "trainer.accelerator=cpu",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", [*options, *overrides])


def write_calibration(run: Path) -> None:
    from pointseg.prediction.calibration import digest

    content = {"temperature": 1.5, "shift": [0.1, 0.0, -0.1], "weights": digest(run / "best.ckpt")}
    (run / "calibration.json").write_text(json.dumps(content))


Kind = Callable[[Rng, Base, Path], tuple[str, Callable[[], None]]]
"""Writes a damaged input into an empty folder; what was done to it, and the use of it."""


def pairs(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """Images and masks of dataset=folder."""
    shutil.copytree(base.folder / "pairs", folder, dirs_exist_ok=True)
    file = sorted(folder.rglob("*.*"))[int(rng.integers(10))]
    done = [damage_bytes, damage_bytes, declare_size, write_odd_image][int(rng.integers(4))](rng, file)
    colours = rng.random() < 0.3
    classes: dict[str, Any] = {"a": "#FF0000", "b": "#0000FF"} if colours else {"a": 1, "b": 2}
    arguments = {
        "classes": classes,
        "ignore": ["#000000"] if colours else [0],
        "val": 0.2,
        "test": 0.2,
        "scale": "native",
    }
    if rng.random() < 0.1:
        key = str(rng.choice([*arguments, "group_depth", "not_land_cover"]))
        arguments[key] = pick(rng)
        done += f", {key}={str(arguments[key])[:20]!r}"

    def use() -> None:
        node = base.options | {"images": str(folder / "images"), "masks": str(folder / "masks"), **arguments}
        dataset = construct(values(OmegaConf.create({"dataset": node}), "dataset")["dataset"])
        for scenes in dataset.splits.values():
            for scene in scenes:
                assert scene.image(whole(scene)).shape[:2] == scene.mask(whole(scene)).shape

    return done, use


def rasters(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """Imagery of dataset=field, predicted where its size is credible."""
    name = str(rng.choice(["a.tif", "b.tif", "c.tif", "d.png"]))
    file = folder / name
    shutil.copy(base.folder / "site" / name, file)
    done = [damage_bytes, damage_bytes, declare_size, write_odd_image, write_odd_raster][int(rng.integers(5))](
        rng, file
    )
    output = folder / f"maps/{name}"

    def use() -> None:
        (raster,) = open_rasters({"a": file})
        size = raster.shape[0] * raster.shape[1]
        corner = Window(0, 0, min(raster.shape[0], 64), min(raster.shape[1], 64))
        image, valid = raster.image(corner), raster.valid(corner)
        assert image.shape[:2] == valid.shape
        if size > 1 << 16 or raster.bands != base.model.bands:
            return
        try:
            predict.predict_map(base.model, raster, output, predict.Settings(32, 8, 4, probabilities=False))
        except InputError:
            assert not output.exists()
            raise
        with rasterio.open(output) as dataset:
            assert set(np.unique(dataset.read(1))) <= {0, 1, 2, 255}

    return done, use


def write_odd_raster(rng: Rng, file: Path) -> str:
    dtype = str(rng.choice(["uint8", "int16", "uint32", "float32", "float64", "complex64", "int8"]))
    bands, height, width = (int(rng.choice(sizes)) for sizes in ([1, 2, 3, 4, 9], [1, 3, 48, 64], [1, 48, 64, 700]))
    values = rng.choice([0, 1, 7, 100, 127], (bands, height, width)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        values[rng.random(values.shape) < rng.choice([0, 0.5, 1])] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
    transform = [ORIGIN, ORIGIN * ORIGIN.scale(0, 0), ORIGIN * ORIGIN.scale(1e300, np.nan), None][int(rng.integers(4))]
    profile: dict[str, Any] = {"height": height, "width": width, "count": bands, "dtype": dtype}
    profile |= {"crs": rng.choice([CRS, "EPSG:4326", "EPSG:4978"]), "transform": transform}
    if rng.random() < 0.5:
        profile["nodata"] = 0 if np.dtype(dtype).kind != "f" else float(rng.choice([0, np.nan, np.inf]))
    with rasterio.open(file, "w", driver="GTiff", **profile) as dataset:
        dataset.write(values)
        if bands == 1 and dtype == "uint8":
            dataset.write_colormap(1, {0: (1, 2, 3, 255)})
    return f"{file.name} of {bands}×{height}×{width} {dtype}, {profile.get('nodata')} without data"


def point_files(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """Files of points, read onto two scenes."""
    shutil.copytree(base.folder / "site", folder, dirs_exist_ok=True)
    name = str(rng.choice(["p.gpkg", "p.geojson", "p.csv", "q.csv", "p.shp", "p.dbf", "p.shx", "p.prj"]))
    file = folder / name
    odd = {".csv": odd_table, ".geojson": odd_geojson, ".gpkg": odd_points, ".shp": odd_points}
    done = (odd.get(file.suffix, damage_bytes) if rng.random() < 0.6 else damage_bytes)(rng, file)
    chosen = file if file.suffix in odd else folder / "p.shp"
    second = [folder / "p.gpkg"] if rng.random() < 0.2 else []
    crs = rng.choice([CRS, "EPSG:4326", "nonsense", "", "EPSG:999999"], p=[0.6, 0.2, 0.1, 0.05, 0.05])
    scenes = ["a.tif"] if rng.random() < 0.7 else ["a.tif", "d.png"] if rng.random() < 0.3 else ["a.tif", "b.tif"]
    rule = str(rng.choice(["skip", "refuse"]))

    def use() -> None:
        reader = Given("class", None, crs if crs else None, rule, rule, rule)  # type: ignore[arg-type]
        opened = [raster for scene in scenes for raster in open_rasters({scene[0]: folder / scene})]
        table = reader.read([chosen, *second], opened)
        for scene, row, col in table[["scene", "row", "col"]].itertuples(index=False):
            assert 0 <= row < opened[scene].shape[0]
            assert 0 <= col < opened[scene].shape[1]
        assert table["name"].notna().all()

    return f"{done}, crs={crs}, {scenes}", use


def odd_table(rng: Rng, file: Path) -> str:
    lines = [line.split(",") for line in file.read_text().splitlines()]
    cells = [
        "",
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e30",
        "-1",
        "99999999999999999999",
        "0x10",
        "1,5",
        '"',
        "'",
        "\0",
        "\r",
        "ü",
        "a;b",
    ]
    cells += ["../../x", "a\tb", " ", "TRUE", "2020-01-01", "9" * 400, "<NA>", "1_000"]
    done = []
    for _ in range(rng.integers(1, 4)):
        row = 0 if rng.random() < 0.3 else int(rng.integers(len(lines)))
        col = int(rng.integers(len(lines[row]))) if lines[row] else 0
        match rng.integers(6):
            case 0:
                lines[row] = lines[row][:col]
            case 1:
                lines[row] = [*lines[row], "more", "cells"]
            case 2:
                lines = [line[:col] + line[col + 1 :] for line in lines]
            case 3:
                lines = lines[: row + 1]
            case _ if lines[row]:
                lines[row][col] = str(rng.choice(cells))
        done.append(f"{row},{col}")
    file.write_text(
        str(rng.choice(["\n", "\r\n", "\r"])).join(str(rng.choice([",", ";", ","])).join(line) for line in lines)
    )
    return f"{file.name}, cells {' '.join(done)}"


def odd_geojson(rng: Rng, file: Path) -> str:
    file.write_text(json.dumps(mutate(rng, json.loads(file.read_text()))))
    return f"{file.name}, a node"


def odd_points(rng: Rng, file: Path) -> str:
    count = int(rng.integers(0, 5))
    geometries = [
        Point(300_010, 2_799_990),
        Point(np.nan, 1),
        Point(np.inf, -np.inf),
        Point(),
        None,
        Point(1e300, 1e300),
    ]
    geometries += [
        Polygon([(0, 0), (1, 0), (1, 1)]),
        MultiPoint([(300_001, 2_799_999), (300_002, 2_799_998)]),
        Point(1, 2, 3),
    ]
    chosen = [geometries[int(i)] for i in rng.integers(0, len(geometries), count)]
    classes = [["x", "y"], [1, 2], [1.5, np.nan], [None, None], ["", " "], [True, False], ["ü" * 300, "a\0b"]][
        int(rng.integers(7))
    ]
    columns = {str(rng.choice(["class", "class", "Class", "kind", "geometry_"])): (classes * 3)[:count]}
    crs = str(rng.choice([CRS, "EPSG:4326", "EPSG:4978", ""])) or None
    with contextlib.suppress(Exception):  # what the format cannot hold was never written
        geopandas.GeoDataFrame(columns, geometry=chosen, crs=crs).to_file(file, layer=str(rng.choice(["p", "other"])))
    return f"{file.name} of {[str(geometry)[:20] for geometry in chosen]}, {classes}, {crs}"


def configurations(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """config.yaml of a run, and a configuration as the command line gives it."""
    link_run(base, folder)
    file = folder / "config.yaml"
    if rng.random() < 0.3:
        done = damage_bytes(rng, file)
    else:
        tree = OmegaConf.to_container(OmegaConf.load(file))
        for _ in range(rng.integers(1, 3)):
            tree = mutate(rng, tree)
        file.write_text(OmegaConf.to_yaml(OmegaConf.create(tree)) if isinstance(tree, dict | list) else str(tree))
        done = "config.yaml, a node"
    way = int(rng.integers(3))

    def use() -> None:
        if way == 0:
            return probabilities_of(trained.load_run(folder, "best", "cpu", False))
        if way == 1:
            runs.load(folder, "best")
            return None
        config = parse(read(file))
        data, system = runs.build(config, folder / "new")
        make_trainer(config, logger=False, default_root_dir=folder)
        if (
            config.num_workers in (None, 0)
            and config.crop_size <= 64
            and config.batch_size <= 8
            and config.crops.get("tiles", 0) < 99
        ):
            batch = next(iter(data.train_dataloader()))
            assert torch.isfinite(system.loss(system.model(batch.images), batch))
        return None

    return f"{done}, {('predict', 'evaluate', 'train')[way]}", use


def probabilities_of(model: trained.Trained) -> None:
    images = torch.zeros(1, len(model.bands), 32, 32, dtype=torch.uint8)
    if not torch.isfinite(model.predict(images)).all():
        raise NoNumberError("probabilities")


def link_run(base: Base, folder: Path) -> None:
    """The run, its checkpoints as links, because most of the damage is to smaller files."""
    shutil.copytree(base.folder / "run", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.ckpt", "events*"))
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).hardlink_to(base.folder / "run" / name)


class Foreign:
    """What a checkpoint may not hold: unpickling it would run code."""

    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def checkpoints(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """best.ckpt of a run, also as pretrained weights."""
    link_run(base, folder)
    file = folder / "best.ckpt"
    content = file.read_bytes()
    file.unlink()  # it is a link
    file.write_bytes(content)
    if rng.random() < 0.4:
        done = damage_bytes(rng, file)
    else:
        saved = torch.load(file, weights_only=True)
        done = odd_checkpoint(rng, saved)
        torch.save(Foreign() if done == "foreign" else saved, file)
    way = int(rng.integers(3))

    def use() -> None:
        if way == 0:
            probabilities_of(trained.load_run(folder, "best", "cpu", False, calibrated=False))
        elif way == 1:
            runs.load(folder, "best")
        else:
            network = load_weights(unet(3, None), str(file), "unet")
            if not torch.isfinite(network.eval()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))).all():
                raise NoNumberError("logits")
        assert not Path("hacked").exists()

    return f"{done}, {('predict', 'evaluate', 'weights')[way]}", use


def odd_checkpoint(rng: Rng, saved: dict[str, Any]) -> str:
    """Change what was saved, in place."""
    state = saved["state_dict"]
    key = list(state)[int(rng.integers(len(state)))]
    match rng.integers(9):
        case 0:
            del state[key]
            return f"without {key}"
        case 1:
            state[key] = torch.zeros(3, 5)
            return f"{key} misshapen"
        case 2:
            state[key] = torch.full_like(state[key].float(), float(rng.choice([np.nan, np.inf])))
            return f"{key} NaN"
        case 3:
            state[key] = pick(rng)
            return f"{key} no tensor"
        case 4:
            state[f"{key}x"] = state[key]
            return "one too many"
        case 5:
            state[key] = state[key].to(torch.complex64)
            return f"{key} complex"
        case 6:
            return "foreign"
        case 7:
            name = str(rng.choice(["classes", "bands", "palette", "state_dict", "history"]))
            saved[name] = mutate(rng, saved[name]) if name != "state_dict" else pick(rng)
            return f"{name} mutated"
        case _:
            name = str(rng.choice(["classes", "bands", "palette", "state_dict"]))
            saved.pop(name)
            return f"without {name}"


def onnx_files(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """An exported network, its bytes or what its metadata say."""
    file = folder / "model.onnx"
    content = graph(50.0)
    said = export._metadata(base.model)
    key = str(rng.choice(sorted(said)))
    mutated = rng.random() < 0.5
    if mutated:
        text = json.dumps(mutate(rng, json.loads(said[key])))
        said[key] = text if rng.random() < 0.8 else text[: int(rng.integers(len(text)))]
    onnx.helper.set_model_props(content, said)
    onnx.save(content, file)
    done = f"{key} mutated" if mutated else damage_bytes(rng, file)
    return done, lambda: probabilities_of(export.load(file, "cpu", False))


def run_folders(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """scores.json, calibration.json and points of a run."""
    run = folder / "run"
    link_run(base, run)
    files = [run / "scores.json", run / "calibration.json", *sorted((run / "points").iterdir())]
    file = files[int(rng.choice(len(files)))]
    if file.suffix == ".json" and rng.random() < 0.6:
        file.write_text(json.dumps(mutate(rng, json.loads(file.read_text()))))
        done = f"{file.name}, a node"
    elif file.suffix == ".csv" and rng.random() < 0.6:
        done = odd_table(rng, file)
    else:
        done = damage_bytes(rng, file)

    def use() -> None:
        if file.suffix == ".csv":
            runs.load(run, "best")
            (raster,) = open_rasters({"a": base.folder / "site/a.tif"})
            predict._points(run / "points", raster, tuple(sorted(NAMES)))
        elif file.name == "calibration.json":
            probabilities_of(trained.load_run(run, "best", "cpu", False))
        else:
            use_scores(run)

    return done, use


def use_scores(run: Path) -> None:
    runs_read = sweeps.read(run.parent)
    table = results.table(runs_read)
    if runs_read[0].finished and not np.isfinite(table["best_miou"].to_numpy(float)).all():
        raise NoNumberError("best_miou")


def resumed(rng: Rng, base: Base, folder: Path) -> tuple[str, Callable[[], None]]:
    """last.ckpt of a run that is gone on with."""
    link_run(base, folder)
    file = folder / "last.ckpt"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    if rng.random() < 0.4:
        done = damage_bytes(rng, file)
    else:
        saved = torch.load(file, weights_only=True)
        if rng.random() < 0.5:
            done = odd_checkpoint(rng, saved)
        else:
            key = str(rng.choice([name for name in saved if name != "state_dict"]))
            done = f"{key} mutated"
            saved[key] = mutate(rng, saved[key])
        torch.save(Foreign() if done == "foreign" else saved, file)
    scores = json.loads((folder / "scores.json").read_text())
    del scores["finished"]
    (folder / "scores.json").write_text(json.dumps(scores))
    for name in ("best.ckpt",):
        (folder / name).unlink()

    def use() -> None:
        config = OmegaConf.load(folder / "config.yaml")
        config.resume = True
        score = train_run(config, folder, {})  # type: ignore[arg-type]
        if not np.isfinite(score):
            raise NoNumberError("score")

    return f"last.ckpt: {done}", use


KINDS: dict[str, tuple[Kind, int]] = {
    "images and masks": (pairs, 20),
    "rasters": (rasters, 20),
    "point files": (point_files, 25),
    "configurations": (configurations, 14),
    "checkpoints": (checkpoints, 8),
    "onnx": (onnx_files, 2),
    "run folders": (run_folders, 10),
    "resumed runs": (resumed, 1),
}
"""Each kind with its share of the inputs, in per cent."""

ORDER = [name for _, name in sorted((i / share, name) for name, (_, share) in KINDS.items() for i in range(share))]


@dataclass(frozen=True)
class Result:
    index: int
    kind: str
    damage: str
    outcome: str
    detail: str


def try_one(seed: int, index: int, base: Base, kind: str | None = None) -> Result:
    """Input `index` of the seed."""
    name = kind or ORDER[index % len(ORDER)]
    rng = np.random.default_rng([seed, index])
    random.seed(f"{seed} {index}")  # under pytest, types are checked of items that this draws
    with tempfile.TemporaryDirectory(dir=base.folder) as place, limits(Path(place)):
        folder = Path(place) / "x"
        folder.mkdir()
        damage, use = KINDS[name][0](rng, base, folder)
        outcome, detail = _outcome(use)
        begun = [file.name for file in folder.rglob(".*")]
        if begun:
            outcome, detail = "partial", ", ".join(begun)
        _opened.cache_clear()  # GDAL's handles of files that are gone
    return Result(index, name, damage, outcome, detail)


def _outcome(use: Callable[[], None]) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signal.setitimer(signal.ITIMER_PROF, LIMIT)
            faulthandler.dump_traceback_later(BACKSTOP, exit=True)
            use()
        return "read", ""
    except InputError as error:
        return "refused", str(error)
    except NoNumberError as error:
        return "nan", str(error)
    except Hang:
        return "hang", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def _hang(number: int, stack: Any) -> None:
    raise Hang


@contextlib.contextmanager
def limits(place: Path) -> Iterator[None]:
    """The scenes' cache in `place`, which is the working folder too; a clock; and MEMORY."""
    before, cache = Path.cwd(), os.environ.get("POINTSEG_CACHE")
    memory = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, memory[1]))
    handler = signal.signal(signal.SIGPROF, _hang)
    os.environ["POINTSEG_CACHE"] = str(place / "cache")
    os.chdir(place)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, memory)
        logging.disable(logging.NOTSET)
        os.chdir(before)
        signal.signal(signal.SIGPROF, handler)
        if cache is None:
            del os.environ["POINTSEG_CACHE"]
        else:
            os.environ["POINTSEG_CACHE"] = cache


OUTCOMES = ("read", "refused", "traceback", "hang", "nan", "partial")
GOOD = ("read", "refused")


def table(results: list[Result]) -> str:
    """Counts by kind and outcome, as Markdown."""
    rows = [f"| input | number | {' | '.join(OUTCOMES)} |", f"|---|{'---|' * (len(OUTCOMES) + 1)}"]
    for name in [*KINDS, "all"]:
        counts = Counter(result.outcome for result in results if name in ("all", result.kind))
        rows.append(f"| {name} | {counts.total():,} | {' | '.join(f'{counts[outcome]:,}' for outcome in OUTCOMES)} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the number of one input")
    parser.add_argument("--kind", choices=list(KINDS), help="inputs of this kind alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        base = Base.prepared(Path(place))
        indices = range(options.count) if options.only is None else [options.only]
        results = []
        for index in tqdm(indices, desc="damaged inputs", disable=None):
            result = try_one(options.seed, index, base, options.kind)
            results.append(result)
            if options.only is not None or result.outcome not in GOOD:
                print(
                    f"--- {result.index} ({result.kind}): {result.damage}\n{result.outcome}: {result.detail}",
                    flush=True,
                )
    print(f"\n`python -m tests.fuzz --count {options.count} --seed {options.seed}`\n\n{table(results)}")
    sys.exit(any(result.outcome not in GOOD for result in results))


if __name__ == "__main__":
    main()
