"""Exports for other programs: the Deepness plugin of QGIS, STAC catalogues."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio

import pointseg
from pointseg.errors import InputError
from pointseg.interactive import Model
from pointseg.prediction import deepness
from pointseg.prediction.export import _describe, _for_all, export
from pointseg.prediction.load import load
from pointseg.types import Window
from tests.site import NAMES, frame, pixels, write_image

SMALL = ("model.encoder=null", "crop_size=64", "overlap=16", "dataset.block=8", "trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("site")
    frame(pixels(write_image(folder / "a.tif"))).to_file(folder / "field.gpkg")
    return pointseg.fit(folder / "a.tif", folder / "field.gpkg", folder=folder / "run", overrides=SMALL)


@pytest.fixture(scope="module")
def exported(model: Model) -> Path:
    file = model.folder.parent / "deepness.onnx"
    export(model.folder, file, "best", True, "deepness")
    return file


def test_deepness_finds_what_it_looks_for(exported: Path) -> None:
    """As its model_base.py, segmentor.py and deepness_dockwidget.py read a file."""
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    (images,), (output,) = session.get_inputs(), session.get_outputs()
    assert (images.type, images.shape) == ("tensor(float)", [1, 3, 64, 64])
    assert output.shape[-3] == 3
    found = session.get_modelmeta().custom_metadata_map
    assert str(json.loads(found["model_type"])).capitalize() == "Segmentor"
    names = json.loads(found["class_names"])
    assert [name for _, name in sorted(names.items(), key=lambda item: int(item[0]))] == list(NAMES)
    assert float(json.loads(found["resolution"])) == 50  # the site's pixels are half a metre
    assert int(json.loads(found["tile_size"])) == 64
    assert int(json.loads(found["tiles_overlap"])) == 25  # percent
    assert float(json.loads(found["seg_thresh"])) == 0  # or unsure pixels would become the first class
    assert int(json.loads(found["seg_small_segment"])) == 0
    assert not {"standardization_mean", "standardization_std"} & set(found)
    content = onnx.load(exported)
    assert content.ir_version <= 9
    assert max(entry.version for entry in content.opset_import) <= 20


def test_its_map_is_that_of_predict_within_the_blending(model: Model, exported: Path, tmp_path: Path) -> None:
    """Tiles as Deepness cuts them, whose overlaps are cropped; away from their edges the windows say the same."""
    trained = load(model.folder, "best", "cpu", flips=False)
    with rasterio.open(model.folder.parent / "a.tif") as dataset:
        image = np.moveaxis(dataset.read(), 0, -1)
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    model.predict(model.folder.parent / "a.tif", tmp_path / "map.tif", flips=False)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        ours = dataset.read(1)
    stride, theirs = 64 - 16, np.zeros_like(ours)
    for row in (0, stride - 16):  # 96 rows: the last tile is moved inside
        for col in (0, stride, 64):
            window = Window(row, col, 64, 64)
            tile = image[window.row : window.row + 64, window.col : window.col + 64]
            (values,) = session.run(None, {"images": (tile.transpose(2, 0, 1)[None] / 255).astype(np.float32)})
            inner = (slice(8 if row else 0, 64), slice(8 if col else 0, 64))
            theirs[window.row :, window.col :][:64, :64][inner] = values[0].argmax(0)[inner]
    assert (theirs == ours).mean() > 0.97
    assert trained.classes == NAMES


def test_predict_refuses_it_and_says_why(exported: Path) -> None:
    with pytest.raises(InputError, match="Deepness"):
        load(exported, "best", "cpu", flips=False)


def test_stretched_bands_are_refused(model: Model, tmp_path: Path) -> None:
    trained = load(model.folder, "best", "cpu", flips=False)
    with pytest.raises(InputError, match="uint16"):
        deepness.check(replace(trained, bands=replace(trained.bands, dtype="uint16")))
    with pytest.raises(InputError, match="format=tflite"):
        export(model.folder, tmp_path / "a.onnx", "best", True, "tflite")


def test_without_its_images_the_resolution_is_asked_for(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "moved")
    config = (tmp_path / "moved/config.yaml").read_text()
    (tmp_path / "moved/config.yaml").write_text(config.replace("a.tif", "gone.tif"))
    with pytest.raises(InputError, match=r"gone\.tif"):
        export(tmp_path / "moved", tmp_path / "a.onnx", "best", True, "deepness")
    with pytest.raises(InputError, match="resolution=-1"):
        export(tmp_path / "moved", tmp_path / "a.onnx", "best", True, "deepness", -1)


@pytest.fixture(params=["deepness", "onnx"])
def item(request: pytest.FixtureRequest, model: Model, exported: Path, tmp_path: Path) -> dict[str, Any]:
    file = exported
    if request.param == "onnx":  # whose translation cannot be traced where shapes are checked: see test_onnxfile
        file, trained = tmp_path / "model.onnx", load(model.folder, "best", "cpu", flips=False)
        _describe(file, trained, _for_all(trained))
    content: dict[str, Any] = json.loads(file.with_suffix(".json").read_text())
    assert (file.parent / content["assets"]["model"]["href"]).resolve() == file.resolve()
    return content


def test_a_catalogue_learns_what_goes_in_and_what_comes_out(item: dict[str, Any]) -> None:
    (images,), (output,) = item["properties"]["mlm:input"], item["properties"]["mlm:output"]
    fixed = item["id"] == "deepness"
    assert images["input"]["shape"] == ([1, 3, 64, 64] if fixed else [-1, 3, -1, -1])
    assert images["input"]["data_type"] == ("float32" if fixed else "uint8")
    assert output["result"]["shape"][1] == 3
    assert [one["description"] for one in output["classification:classes"]] == list(NAMES)
    assert {band["name"] for band in item["assets"]["model"]["bands"]} == set(images["bands"])
    assert "mlm:model" in item["assets"]["model"]["roles"]
    assert item["assets"]["model"]["mlm:artifact_type"]
    assert item["properties"]["mlm:total_parameters"] > 100


@pytest.mark.skipif(find_spec("stac_model") is None, reason="stac-model is not installed")
def test_the_item_is_valid(item: dict[str, Any]) -> None:
    from pystac import STACObjectType
    from pystac.validation import validate_dict
    from stac_model.schema import MLModelProperties

    MLModelProperties.model_validate(item["properties"])
    # The extensions' own schemas would have to be fetched.
    assert validate_dict({**item, "stac_extensions": []}, STACObjectType.ITEM, "1.1.0", extensions=[])


def test_the_stretch_of_other_values_is_told() -> None:
    from pointseg.imagery.rasters import stretch
    from pointseg.prediction.stac import stretched
    from pointseg.types import RGB, Bands

    assert stretched(RGB) == []
    bands = Bands("uint16", (1, 2), (1000.0, 500.0), (5000.0, 900.0), (0.0, 0.0), (1.0, 1.0))
    values = np.random.default_rng(0).integers(0, 6000, (20, 20, 2)).astype(np.uint16)
    for band, scaling in enumerate(stretched(bands)):
        told = eval(scaling["expression"], {"numpy": np, "values": values[..., band].astype(np.float32)})
        assert np.abs(told - stretch(values, bands)[..., band]).max() <= 1
