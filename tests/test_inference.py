import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pointseg.inference import predict_scene
from tests.conftest import ArrayScene

geometry = st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(2, 40), st.floats(0, 0.95), st.integers(1, 5))


def scene(height: int, width: int) -> ArrayScene:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return ArrayScene("a", pixels, np.zeros((height, width), np.uint8))


def stitched(predict: object, height: int, width: int, tile: int, overlap: int, batch: int) -> Tensor:
    strips, following = [], 0
    for row, probabilities in predict_scene(predict, scene(height, width), tile, overlap, batch, "cpu"):  # type: ignore[arg-type]
        assert row == following
        following += probabilities.shape[1]
        strips.append(probabilities)
    return torch.cat(strips, 1)


@settings(max_examples=80)
@given(geometry)
def test_an_identity_gives_back_its_input_at_every_pixel_once(shape: tuple[int, int, int, float, int]) -> None:
    height, width, tile, share, batch = shape
    result = stitched(lambda images: images.float(), height, width, tile, int(share * tile), batch)
    expected = torch.from_numpy(scene(height, width).pixels).permute(2, 0, 1).float()
    assert result.shape == expected.shape
    assert torch.allclose(result, expected, atol=1e-3)


@settings(max_examples=40)
@given(geometry)
def test_a_constant_gives_a_constant(shape: tuple[int, int, int, float, int]) -> None:
    height, width, tile, share, batch = shape
    result = stitched(
        lambda images: torch.full((len(images), 2, *images.shape[2:]), 0.5),
        height,
        width,
        tile,
        int(share * tile),
        batch,
    )
    assert torch.allclose(result, torch.tensor(0.5), atol=1e-6)


def test_windows_fade_into_each_other() -> None:
    """Windows that disagree (each predicts its own mean) leave no step where the next one begins."""

    def own_mean(images: Tensor) -> Tensor:
        return images.float().mean((2, 3), keepdim=True).expand(-1, -1, *images.shape[2:])

    blended = stitched(own_mean, 64, 200, 64, 32, 2)
    abrupt = stitched(own_mean, 64, 200, 64, 0, 2)
    assert blended.diff(dim=2).abs().max() < abrupt.diff(dim=2).abs().max() / 4


def test_at_most_batch_size_windows_are_predicted_at_once() -> None:
    sizes = []

    def predict(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.float()

    stitched(predict, 20, 100, 20, 0, 2)
    assert sizes == [2, 2, 1]
