"""Frozen features: what they are, where they lie, and the network made of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision.models.segmentation as segmentation
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn
from torchvision.models import mobilenet_v2, resnet50

from pointseg.errors import InputError
from pointseg.models.encoders import Level, build_encoder
from pointseg.models.filters import Filters
from pointseg.models.frozen import Frozen, added, frozen, read, set_layer
from pointseg.models.networks import fold_norms
from pointseg.training.point_features import cut, features_at, symmetric
from pointseg.types import RGB, Bands


def network(encoder: str | None = None, scales: int = 1, bands: Bands = RGB, weights: Any = None) -> Frozen:
    torch.manual_seed(0)
    return frozen(3, encoder, None if weights is None else str(weights), scales, "auto", bands)


def bands(number: int) -> Bands:
    return Bands("uint16", tuple(range(1, number + 1)), *((value,) * number for value in (0.0, 9e3, 100.0, 50.0)))  # type: ignore[arg-type]


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_filters_are_scipy_s_and_differences_of_them() -> None:
    image = pixels(1, 1, 120, 150)
    finest, next_, *_ = Filters(1)(image)
    smooth = gaussian_filter(image[0, 0].numpy() / 255.0, 1, truncate=3, mode="nearest")
    np.testing.assert_allclose(finest[0, 0], smooth, atol=1e-6)
    smooth, gradient, larger, smaller = next_[0].numpy()  # against scipy's: the next test
    inner = (slice(2, -2),) * 2
    down, across = np.gradient(smooth)
    np.testing.assert_allclose(gradient[inner], np.hypot(down, across)[inner], atol=1e-6)
    dd, aa = (np.roll(smooth, 1, axis) - 2 * smooth + np.roll(smooth, -1, axis) for axis in (0, 1))
    da = np.gradient(np.gradient(smooth, axis=0), axis=1)
    expected = np.linalg.eigvalsh(np.stack([dd, da, da, aa], -1).reshape(*smooth.shape, 2, 2))
    np.testing.assert_allclose(smaller[inner], expected[..., 0][inner], atol=1e-6)
    np.testing.assert_allclose(larger[inner], expected[..., 1][inner], atol=1e-6)


def test_coarser_filters_are_of_twice_the_deviation_on_every_second_pixel() -> None:
    image = pixels(1, 1, 320, 336)
    for octave, found in enumerate(Filters(1)(image)[:-1]):
        smooth = gaussian_filter(image[0, 0].numpy() / 255.0, 2.0**octave, mode="nearest")[:: 2**octave, :: 2**octave]
        inner = (slice(4, -4),) * 2
        difference = np.abs(found[0, 0].numpy() - smooth)[inner].max()
        assert difference < 0.02 * np.ptp(smooth[inner]) + 1e-4  # weights are cut at three σ, and taken twice


def test_textures_are_averages_of_edges_on_every_eighth_pixel() -> None:
    image = pixels(1, 1, 320, 336)
    maps = Filters(1)(image)
    textures = maps[-1][0].numpy()
    assert len(textures) == 9  # of three scales
    for i, (found, stride) in enumerate(zip(maps[1:4], (2, 4, 8), strict=True)):
        gradient = found[0, 1].numpy()
        halvings = [0.5 * (2**step * stride) ** 2 for step in range(3 - i)][: 2 - i]  # variances add up
        spread = np.sqrt(sum(halvings) + 8**2) / stride
        expected = gaussian_filter(gradient, spread, mode="nearest")[:: 8 // stride, :: 8 // stride]
        inner = (slice(4, -4),) * 2
        difference = np.abs(textures[3 * i] - expected)[inner].max()
        assert difference < 0.1 * np.ptp(expected[inner])
        assert np.corrcoef(textures[3 * i][inner].ravel(), expected[inner].ravel())[0, 1] > 0.99


def test_pairs_of_more_than_three_bands_have_their_normalised_difference() -> None:
    image = torch.tensor([10, 20, 60, 180], dtype=torch.uint8).view(1, 4, 1, 1).expand(1, 4, 20, 20)
    found = Filters(4)(image)
    assert [maps.shape[1] for maps in found] == [4 + 6, *[4 * 4 + 6] * 4, 3 * 3 * 4]
    ndvi = found[0][0, 4:10, 5, 5][5]  # of the last pair: red at 60, near infrared at 180
    assert float(ndvi) == pytest.approx((60 - 180) / 241, abs=1e-6)
    assert Filters(3)(image[:, :3])[1].shape[1] == 12


@pytest.mark.parametrize("way", range(8))
def test_filters_are_the_same_under_every_symmetry(way: int) -> None:
    image, at = pixels(1, 3, 65, 65), (torch.tensor([3.0, 40.0]), torch.tensor([17.0, 60.0]))
    filters, none = Filters(3), torch.zeros(2, dtype=torch.long)
    turned, moved = symmetric(image, at, way)
    expected = read(filters(image), filters.levels, none, *at)
    assert torch.allclose(read(filters(turned), filters.levels, none, *moved), expected, atol=1e-5)


def test_the_eight_symmetries_are_eight_and_positions_go_with_the_image() -> None:
    image, rows, cols = pixels(1, 1, 5, 7), torch.tensor([0.0, 4.0, 2.0]), torch.tensor([6.0, 1.0, 2.0])
    seen = []
    for way in range(8):
        turned, (row, col) = symmetric(image, (rows, cols), way)
        assert torch.equal(turned[0, 0, row.long(), col.long()], image[0, 0, rows.long(), cols.long()])
        seen.append(tuple(map(tuple, turned[0, 0].tolist())))
    assert len(set(seen)) == 8


LEVELS = [Level(2, 1), Level(2, 2), Level(2, 16), Level(2, 32), Level(2, 14, 6.5), Level(2, 12)]


def ramp(level: Level, shape: tuple[int, int]) -> torch.Tensor:
    """A map whose cells hold the row and the column of the pixel they lie on."""
    axes = [torch.arange(-(-size // level.stride)) * level.stride + level.offset for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).float()[None]


@pytest.mark.parametrize("level", LEVELS)
def test_a_map_is_read_and_interpolated_where_its_cells_lie(level: Level) -> None:
    shape = (97, 130)
    maps = ramp(level, shape)
    rows, cols = torch.tensor([7.0, 20.0, 61.5]), torch.tensor([100.0, 33.0, 8.25])
    found = read([maps], [level], torch.zeros(3, dtype=torch.long), rows, cols)
    assert torch.allclose(found, torch.stack([rows, cols], 1), atol=1e-4)
    everywhere = added([maps], [level], shape)
    assert everywhere.shape == (1, 2, *shape)
    assert everywhere[0, :, 20, 33].tolist() == pytest.approx([20, 33], abs=1e-4)


@given(st.integers(33, 80), st.integers(33, 80), st.integers(0, 1000))
def test_the_sum_of_maps_is_what_is_read_at_each_pixel(height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(ramp(level, (height, width)).shape, generator=generator) for level in LEVELS]
    total = added([cells.clone() for cells in maps], LEVELS, (height, width))
    rows, cols = (torch.randint(size, (9,), generator=generator) for size in (height, width))
    each = read(maps, LEVELS, torch.zeros(9, dtype=torch.long), rows.float(), cols.float()).view(9, len(LEVELS), 2)
    assert torch.allclose(total[0, :, rows, cols].T, each.sum(1), atol=1e-4)


def test_the_network_is_its_head_on_the_features_of_each_pixel() -> None:
    net = network("mobilenet_v2", scales=2)
    images = pixels(2, 3, 75, 90)
    crops, rows, cols = torch.tensor([0, 1, 1]), torch.tensor([3, 74, 40]), torch.tensor([89, 0, 41])
    with torch.no_grad():
        features = read(net.features(images), net.levels, crops, rows.float(), cols.float())
        weight, bias = torch.randn(3, features.shape[1]), torch.randn(3)
        set_layer(net.classifier.linear, weight, bias)
        logits = net(images)
        assert logits.shape == (2, 3, 75, 90)
        expected = features @ weight.T + bias
        assert torch.allclose(logits[crops, :, rows, cols], expected, atol=1e-4 * float(expected.abs().max()))


def test_a_hidden_layer_is_added_kept_with_the_weights_and_taken_away() -> None:
    net = network()
    images = pixels(1, 3, 40, 40)
    straight = net(images)
    net.classifier.bend(8)
    nn.init.normal_(net.classifier.hidden[0].weight, std=10)  # type: ignore[index, arg-type]
    bent = net(images)
    assert not torch.allclose(bent, straight)
    features = read(net.features(images), net.levels, torch.tensor([0]), torch.tensor([8.0]), torch.tensor([4.0]))
    hidden = torch.cat([layer.weight[:, :, 0, 0] for layer in net.classifier.hidden], 1)  # type: ignore[union-attr, index, misc]
    layer = (features @ hidden.T + net.classifier.hidden[0].bias).relu()  # type: ignore[index, operator]
    expected = straight[0, :, 8, 4] + net.classifier.out(layer[:, :, None, None])[0, :, 0, 0]  # type: ignore[misc]
    assert torch.allclose(bent[0, :, 8, 4], expected, atol=1e-4)
    again = network()
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(images), bent)
    net.classifier.bend(0)
    assert torch.equal(net(images), straight)


def test_a_tile_has_the_scene_s_logits_away_from_its_border() -> None:
    """Beyond what the encoder sees about a pixel, 267 pixels at scale ½, on the grid of the largest stride."""
    net = fold_norms(network("mobilenet_v2", scales=2))
    scene = pixels(1, 3, 768, 704)
    with torch.no_grad():
        whole, tile = net(scene), net(scene[:, :, 64:768, 32:704])
    inner = whole[:, :, 64 + 288 : 768 - 288, 32 + 288 : 704 - 288]
    assert inner.shape[2:] == (128, 96)
    assert torch.allclose(tile[:, :, 288:-288, 288:-288], inner, atol=1e-4 * float(inner.abs().max()))


def test_nothing_but_the_head_is_trained() -> None:
    net = network("mobilenet_v2").train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(pixels(2, 3, 64, 64)).square().mean().backward()
    trained = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in net.named_parameters() if name.startswith("classifier.")}
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_the_encoder_sees_three_bands_and_the_filters_all() -> None:
    net = network("mobilenet_v2", bands=bands(5))
    images = pixels(1, 5, 64, 64)
    other = images.clone()
    other[:, 4] = 0
    assert all(torch.equal(a, b) for a, b in zip(net.encoded(images), net.encoded(other), strict=True))
    assert not torch.equal(net.filtered(images)[0], net.filtered(other)[0])
    grey = network("mobilenet_v2", bands=bands(1))
    assert grey(images[:, :1]).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("way", ["alone", "together"])
def test_features_of_points_are_those_of_the_whole_image(way: str) -> None:
    net = network("mobilenet_v2", scales=2)
    images = pixels(2, 3, 100, 120)  # no larger than what a point is shown
    points = torch.tensor([[0, 5.0, 7.0], [1, 50.0, 50.0], [1, 99.0, 119.0]])
    with torch.no_grad():
        found = features_at(net, images, points if way == "together" else points[1:2], ways=8)
        expected = read(net.features(images), net.levels, points[:, 0].long(), points[:, 1], points[:, 2])
    assert torch.allclose(found[:, 0], expected if way == "together" else expected[1:2], atol=1e-3)
    assert found.shape[1] == 8
    filters = sum(level.channels for level in net.filters.levels)
    assert torch.equal(found[:, 0, :filters], found[:, 5, :filters])
    assert not torch.allclose(found[:, 0, filters:], found[:, 5, filters:], atol=1e-3)


@given(st.integers(20, 90), st.integers(20, 90), st.integers(1, 40), st.integers(0, 99))
def test_a_part_shows_its_positions_and_the_ground_about_them(height: int, width: int, margin: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.stack(
        [torch.arange(height)[:, None].expand(height, width), torch.arange(width).expand(height, width)]
    )
    images = torch.stack([images, images + 100]).byte()
    crops = torch.tensor([0, 0, 1])
    at = tuple(torch.randint(size, (3,), generator=generator).float() for size in (height, width))
    parts, (rows, cols) = cut(images, crops, at, margin)  # type: ignore[arg-type]
    assert torch.equal(parts[crops, :, rows.long(), cols.long()], images[crops, :, at[0].long(), at[1].long()])
    for moved, position, size, side in zip((rows, cols), at, (height, width), parts.shape[2:], strict=True):
        assert bool((moved >= torch.minimum(position, torch.tensor(float(margin)))).all())
        beyond = side - 1 - moved
        assert bool((beyond >= torch.minimum(size - 1 - position, torch.tensor(float(margin)))).all())


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("mobilenet_v2", [2, 4, 8, 16, 16]),
        ("resnet18", [2, 4, 8, 16]),
        ("deeplabv3_resnet50", [2, 4, 8, 8]),
        ("timm/resnet18", [2, 4, 8, 16]),
        ("timm/convnext_atto", [4, 8, 16]),
        ("timm/tf_efficientnet_lite0", [2, 4, 8, 16]),
        ("timm/vit_small_patch14_dinov2.lvd142m", [14] * 4),
    ],
)
def test_an_encoder_s_maps_are_those_of_its_levels(name: str, strides: list[int]) -> None:
    net = network(name)
    levels = build_encoder(name, None).levels
    assert [level.stride for level in levels] == strides
    maps = net.encoded(pixels(1, 3, 97, 131))  # sides that no stride divides
    assert [found.shape[1] for found in maps] == [level.channels for level in levels]
    for found, (_, stride, _) in zip(maps, levels, strict=True):
        for cells, side in zip(found.shape[2:], (97, 131), strict=True):  # all of the image, and no coarse cell more
            assert -(-side // stride) <= cells < -(-side // stride) + levels[-1].stride / stride
    assert net(pixels(1, 3, 97, 131)).shape == (1, 3, 97, 131)


@pytest.mark.parametrize(
    ("name", "offset"),
    [("resnet18", 0), ("convnext_atto", 3.5), ("tf_efficientnet_lite0", 7), ("vit_small_patch14_dinov2", 6.5)],
)
def test_the_cells_of_timm_s_maps_lie_where_their_layers_put_them(name: str, offset: float) -> None:
    stride = 14 if name.startswith("vit") else 8
    (found,) = {level.offset for level in build_encoder(f"timm/{name}", None).levels if level.stride == stride}
    assert found == offset


@pytest.mark.parametrize(("name", "build"), [("mobilenet_v2", mobilenet_v2), ("resnet50", resnet50)])
def test_a_file_of_a_classifier_loads_into_the_encoder(name: str, build: Any, tmp_path: Path) -> None:
    saved = build(weights=None).state_dict()
    torch.save(saved, tmp_path / "encoder.pth")
    state = network(name, weights=tmp_path / "encoder.pth").state_dict()
    own = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    assert len(own) > 50
    assert all(torch.equal(value, saved.get(key, saved.get(f"features.{key}"))) for key, value in own.items())


def test_a_file_of_a_segmentation_network_loads_into_its_encoder(tmp_path: Path) -> None:
    whole = segmentation.deeplabv3_resnet50(weights=None, weights_backbone=None, aux_loss=True)
    torch.save(whole.state_dict(), tmp_path / "coco.pth")
    net = network("deeplabv3_resnet50", weights=tmp_path / "coco.pth")
    assert torch.equal(net.state_dict()["backbone.layer3.0.conv1.weight"], whole.backbone.layer3[0].conv1.weight)


def test_timm_s_weights_come_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = timm.create_model("resnet18").eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    net = network("timm/resnet18", weights=tmp_path / "resnet18.pth")
    assert torch.equal(net.state_dict()["backbone.layer2.0.conv1.weight"], theirs.layer2[0].conv1.weight)
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "other.pth")
    for weights in ("other.pth", "absent.pth"):
        with pytest.raises(InputError) as raised:
            network("timm/resnet18", weights=tmp_path / weights)
        assert weights in str(raised.value)


@pytest.mark.parametrize("name", ["mobilenet_v9", "timm/nothing", "timm/swin_tiny_patch4_window7_224"])
def test_an_encoder_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(InputError) as raised:
        network(name)
    assert name in str(raised.value)


def test_a_transformer_s_windows_are_as_large_in_training_as_in_prediction() -> None:
    assert build_encoder("timm/vit_small_patch14_dinov2", None).whole
    assert not build_encoder("timm/resnet18", None).whole
