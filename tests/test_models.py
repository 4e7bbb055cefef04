import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models.segmentation as zoo
from omegaconf import OmegaConf
from torch import nn
from torchvision.models import mobilenet_v2, resnet50

from pointseg.config import construct
from pointseg.errors import InputError
from pointseg.models import networks
from pointseg.models.logits import upsample
from pointseg.models.weights import read_checkpoint, restore
from pointseg.types import RGB, Bands
from tests.conftest import CONF, options

STRIDE = {
    "deeplabv3_resnet50": 8,
    "deeplabv3_resnet101": 8,
    "fcn_resnet50": 8,
    "lraspp_mobilenet_v3": 8,
    "deeplabv3_mobilenet_v3": 16,
    "deeplabv3_mobilenet_v2": 16,
    "deeplabv3plus_mobilenet_v2": 4,
    "unet": 2,
    "frozen": 1,
}


def build(name: str, weights: Any = None, bands: Bands = RGB) -> nn.Module:
    node = OmegaConf.load(CONF / "model" / f"{name}.yaml")
    node.weights = None if weights is None else str(weights)  # type: ignore[union-attr]
    network = construct(node, classes=5, bands=bands)  # type: ignore[arg-type]
    assert isinstance(network, nn.Module)
    return network


@pytest.mark.parametrize("name", options("model"))
def test_logits_lie_at_the_network_s_stride_and_gradients_reach_everything(name: str) -> None:
    network = build(name)
    logits = network(torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8))
    assert logits.shape == (2, 5, 64 // STRIDE[name], 96 // STRIDE[name])
    logits.square().mean().backward()
    untouched = [
        key for key, parameter in network.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert untouched == []


@pytest.mark.parametrize(
    "name", ["deeplabv3plus_mobilenet_v2", "deeplabv3_mobilenet_v3", "lraspp_mobilenet_v3", "unet"]
)
def test_a_batch_norm_that_is_part_of_a_convolution_changes_no_logit(name: str) -> None:
    network = build(name)
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:  # far from the identity, with which a network begins
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
        norm.running_mean, norm.running_var = torch.randn(norm.num_features), torch.rand(norm.num_features) + 0.5
    images = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        before = network.eval()(images)
        after = networks.fold_norms(network)(images)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4 * float(before.abs().max()))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


@pytest.mark.parametrize(
    ("name", "builder"),
    [
        ("deeplabv3_resnet50", zoo.deeplabv3_resnet50),
        ("lraspp_mobilenet_v3", zoo.lraspp_mobilenet_v3_large),
        ("deeplabv3_mobilenet_v3", zoo.deeplabv3_mobilenet_v3_large),
    ],
)
def test_a_torchvision_file_gives_torchvision_s_prediction(name: str, builder: Any, tmp_path: Path) -> None:
    """With normalisation, own stride and upsampling, the same numbers as torchvision's network."""
    options = {} if name.startswith("lraspp") else {"aux_loss": True}
    theirs = builder(weights=None, weights_backbone=None, num_classes=5, **options).eval()
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    ours = build(name, tmp_path / "whole.pth").eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = theirs((images / 255 - mean) / std)["out"]
        assert torch.allclose(upsample(ours(images), (64, 96)), expected, atol=1e-4)


def test_a_file_of_other_classes_leaves_only_the_last_layer_new(tmp_path: Path) -> None:
    coco = zoo.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    torch.save(coco, tmp_path / "coco.pth")
    state = build("deeplabv3_resnet50", tmp_path / "coco.pth").state_dict()
    differing = {key for key, value in state.items() if key not in coco or not torch.equal(value, coco[key])}
    assert differing == {"classifier.4.weight", "classifier.4.bias"}


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("deeplabv3_resnet50", resnet50),
        ("deeplabv3_mobilenet_v2", mobilenet_v2),
        ("deeplabv3plus_mobilenet_v2", mobilenet_v2),
    ],
)
def test_an_encoder_file_loads_into_the_encoder(name: str, encoder: Any, tmp_path: Path) -> None:
    saved = encoder(weights=None).state_dict()
    torch.save(saved, tmp_path / "encoder.pth")
    state = build(name, tmp_path / "encoder.pth").state_dict()
    for key, value in state.items():
        if key.startswith("backbone."):
            bare = key.removeprefix("backbone.")
            assert torch.equal(value, saved[bare] if bare in saved else saved[f"features.{bare}"])


@pytest.mark.weights
def test_the_real_encoder_loads(real_encoder: Path) -> None:
    state = build("deeplabv3_mobilenet_v2", real_encoder).state_dict()
    saved = torch.load(real_encoder, weights_only=True)
    assert torch.equal(state["backbone.0.0.weight"], saved["features.0.0.weight"])
    assert torch.equal(state["backbone.17.conv.2.weight"], saved["features.17.conv.2.weight"])


def test_every_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    state = build("deeplabv3_mobilenet_v2").state_dict()
    state["backbone.1.conv.1.weight"] = torch.zeros(3, 3)
    state["backbone.extra"] = torch.zeros(1)
    del state["backbone.0.0.weight"]
    torch.save(state, tmp_path / "damaged.pth")
    with pytest.raises(InputError) as error:
        build("deeplabv3_mobilenet_v2", tmp_path / "damaged.pth")
    assert "backbone.0.0.weight" in str(error.value)
    assert "backbone.extra" in str(error.value)
    assert "backbone.1.conv.1.weight" in str(error.value)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    torch.save(resnet50(weights=None).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"backbone\.0\.0\.weight"):
        build("deeplabv3_mobilenet_v2", tmp_path / "resnet.pth")


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pth: "):
        build("deeplabv3_mobilenet_v2", tmp_path / "bad.pth")


def test_a_flipped_byte_of_a_tensor_is_noticed(tmp_path: Path) -> None:
    """torch writes checksums and does not read them: it would load the wrong weight."""
    file = tmp_path / "bad.pth"
    torch.save({"weight": torch.arange(1000.0)}, file)
    content = bytearray(file.read_bytes())
    content[content.index(np.float32(500).tobytes() + np.float32(501).tobytes())] ^= 1
    file.write_bytes(content)
    assert torch.load(file, weights_only=True)["weight"][500] != 500
    with pytest.raises(InputError, match=r"bad\.pth: .*ValueError"):
        read_checkpoint(file)


def test_weights_of_a_run_that_do_not_fit_or_are_no_numbers_are_refused(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    for wrong, message in {
        "no weight": ({"bias": state["bias"]}, "Missing key"),
        "other shape": ({**state, "bias": torch.zeros(3)}, "size mismatch"),
        "nan": ({**state, "bias": torch.tensor([0.0, torch.nan])}, r"best\.ckpt: bias"),
        "no dict": (3, r"best\.ckpt: "),
    }.values():
        with pytest.raises(InputError, match=message):
            restore(layer, wrong, tmp_path / "best.ckpt")
    restore(layer, state, tmp_path / "best.ckpt")


class _Hostile:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_loading_weights_runs_no_code(tmp_path: Path) -> None:
    torch.save({"backbone": _Hostile(tmp_path / "made")}, tmp_path / "hostile.pth")
    with pytest.raises(InputError, match=r"hostile\.pth: "):
        build("deeplabv3_mobilenet_v2", tmp_path / "hostile.pth")
    assert not (tmp_path / "made").exists()


def test_a_failed_download_says_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    monkeypatch.setattr("os.makedirs", lambda *arguments, **options: None)
    with pytest.raises(InputError, match=r"model\.weights=<file>") as error:
        build("deeplabv3_resnet50", "COCO_WITH_VOC_LABELS_V1")
    assert "deeplabv3_resnet50_coco" in str(error.value)
    assert "no network" in str(error.value)


def test_a_download_is_asked_for_by_torchvision_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    coco = zoo.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    urls = []

    def download(url: str, **options: object) -> dict[str, torch.Tensor]:
        urls.append(url)
        return coco

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    state = build("deeplabv3_resnet50", "COCO_WITH_VOC_LABELS_V1").state_dict()
    assert torch.equal(state["backbone.conv1.weight"], coco["backbone.conv1.weight"])
    assert "deeplabv3_resnet50_coco" in urls[0]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="COCO_WITH_VOC_LABELS_V1"):
        build("deeplabv3_resnet50", "COCO_V9")


def bands(count: int) -> Bands:
    limits = (0.0,) * count, (255.0,) * count
    return Bands("uint8", tuple(range(1, count + 1)), *limits, (100.0,) * count, (50.0,) * count)


@pytest.mark.parametrize("name", options("model"))
def test_every_network_takes_any_number_of_bands(name: str) -> None:
    for count in (1, 5):
        logits = build(name, bands=bands(count)).eval()(torch.randint(0, 256, (2, count, 64, 64), dtype=torch.uint8))
        assert logits.shape[:2] == (2, 5)


def test_pretrained_weights_are_kept_for_rgb_and_other_bands_begin_at_nothing(tmp_path: Path) -> None:
    rgb = build("deeplabv3_mobilenet_v2", bands=bands(3)).eval()
    torch.save(rgb.state_dict(), tmp_path / "rgb.pth")
    five = build("deeplabv3_mobilenet_v2", tmp_path / "rgb.pth", bands(5)).eval()
    images = torch.randint(0, 256, (2, 5, 64, 64), dtype=torch.uint8)
    assert torch.equal(five(images), rgb(images[:, :3]))


def test_a_grey_image_is_seen_as_the_same_in_rgb(tmp_path: Path) -> None:
    rgb = build("deeplabv3_mobilenet_v2", bands=bands(3)).eval()
    torch.save(rgb.state_dict(), tmp_path / "rgb.pth")
    grey = build("deeplabv3_mobilenet_v2", tmp_path / "rgb.pth", bands(1)).eval()
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    assert torch.allclose(grey(images), rgb(images.expand(-1, 3, -1, -1)), atol=1e-5)


def test_a_run_of_five_bands_goes_on_from_its_own_weights(tmp_path: Path) -> None:
    first = build("unet", bands=bands(5))
    torch.save(first.state_dict(), tmp_path / "five.pth")
    again = build("unet", tmp_path / "five.pth", bands(5))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


def rgb_only(classes: int) -> nn.Module:
    return nn.Conv2d(3, classes, 1)


def test_a_network_that_knows_rgb_alone_is_refused_other_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTSEG_TRUST", "tests")
    node = {"_target_": "tests.test_models.rgb_only"}
    assert networks.build_network(node, 5, RGB).out_channels == 5
    with pytest.raises(InputError, match=r"rgb_only.* 5 "):
        networks.build_network(node, 5, bands(5))
