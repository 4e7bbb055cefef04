import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pointseg.prediction.windows import (
    Views,
    averaged_over_flips,
    paste,
    probabilities,
    strips,
    views_at,
)
from pointseg.types import Window
from tests.support.windows import own_position, scene, stitched

geometry = st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(2, 40), st.floats(0, 0.95), st.integers(1, 5))


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


def test_at_most_batch_size_windows_are_predicted_at_once() -> None:
    sizes = []

    def predict(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return images.float()

    stitched(predict, 20, 100, 20, 0, 2)
    assert sizes == [2, 2, 1]


@settings(max_examples=60)
@given(geometry, st.data())
def test_strips_that_are_predicted_apart_are_those_of_the_whole(
    shape: tuple[int, int, int, float, int], data: st.DataObject
) -> None:
    height, width, tile, share, batch = shape
    overlap = int(share * tile)
    rows = strips(height, tile, overlap)
    first = data.draw(st.integers(0, len(rows) - 1))
    last = data.draw(st.integers(first + 1, len(rows)))
    whole = stitched(own_position, height, width, tile, overlap, batch)
    part = stitched(own_position, height, width, tile, overlap, batch, chosen=range(first, last))
    inside = slice(rows[first][0], rows[last - 1][1])
    assert torch.equal(part[:, inside], whole[:, inside])
    assert part[:, : inside.start].eq(0).all()
    assert part[:, inside.stop :].eq(0).all()


@settings(max_examples=60)
@given(geometry, st.data())
def test_where_only_some_windows_are_wanted_their_pixels_are_right(
    shape: tuple[int, int, int, float, int], data: st.DataObject
) -> None:
    """As in scoring at points: every window that holds the point is predicted, and no other."""
    height, width, tile, share, batch = shape
    overlap = int(share * tile)
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))

    def holds(window: Window) -> bool:
        return 0 <= row - window.row < window.height and 0 <= col - window.col < window.width

    whole = stitched(own_position, height, width, tile, overlap, batch)
    part = stitched(own_position, height, width, tile, overlap, batch, wanted=holds)
    assert torch.allclose(part[:, row, col], whole[:, row, col], atol=1e-5)


def two_classes(images: Tensor) -> Tensor:
    share = own_position(images) / 1000
    return torch.cat([share, 1 - share], 1)


def blended(views: Views) -> np.ndarray:
    sums = np.zeros((views.count, 2))
    np.add.at(sums, views.positions, np.exp(views.log_probabilities) * views.weights[:, None])
    return sums


@settings(max_examples=40)
@given(geometry, st.integers(1, 30), st.integers(0, 2**32))
def test_the_views_of_pixels_add_up_to_what_the_scene_is_predicted_as(
    shape: tuple[int, int, int, float, int], n: int, seed: int
) -> None:
    height, width, tile, share, batch = shape
    overlap = int(share * tile)
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, height, n), rng.integers(0, width, n)
    whole = stitched(two_classes, height, width, tile, overlap, batch)[:, rows, cols].T
    views = views_at(two_classes, scene(height, width), rows, cols, tile, overlap, batch, "cpu")
    assert views.count == n
    assert np.allclose(blended(views), whole, atol=1e-5)
    assert np.allclose(np.bincount(views.positions, views.weights), 1, atol=1e-5)
    # Of several scenes: the positions one scene after the other.
    first = views_at(two_classes, scene(5, 4), np.array([4, 0]), np.array([1, 3]), tile, overlap, batch, "cpu")
    both = Views.joined([first, views, first])
    assert both.count == n + 4
    assert np.allclose(blended(both), np.concatenate([blended(first), whole, blended(first)]), atol=1e-5)


def test_a_class_that_is_impossible_has_a_finite_logarithm() -> None:
    def certain(images: Tensor) -> Tensor:
        return torch.stack([torch.ones(len(images), *images.shape[2:]), torch.zeros(len(images), *images.shape[2:])], 1)

    views = views_at(certain, scene(8, 8), np.array([3]), np.array([4]), 8, 0, 1, "cpu")
    assert views.log_probabilities[0, 0] == 0
    assert -90 < views.log_probabilities[0, 1] < -80  # float32's smallest


def test_probabilities_are_those_of_the_upsampled_logits_in_float32() -> None:
    def coarse(images: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(images.float(), 8).div(50).bfloat16()

    class Network(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return coarse(images)

    images = torch.from_numpy(scene(32, 48).pixels).permute(2, 0, 1)[None]
    upsampled = torch.nn.functional.interpolate(coarse(images).float(), (32, 48), mode="bilinear").exp()
    found = probabilities(Network(), images)
    assert torch.allclose(found, upsampled / upsampled.sum(1, keepdim=True), atol=1e-6)


def test_a_block_is_pasted_where_it_lies() -> None:
    class_map = np.full((20, 30), 9, np.uint8)
    paste(class_map, Window(2, 3, 3, 2), torch.tensor([[0, 1], [2, 3], [4, 5]]))
    assert class_map[2:5, 3:5].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert (class_map == 9).sum() == 20 * 30 - 6


def test_averaging_over_flips_is_the_mean_over_the_four_mirror_images() -> None:
    ramp = torch.arange(12.0).view(1, 1, 3, 4)  # 4 row + col, whose mean over mirror images is 5.5 everywhere
    images = torch.randint(0, 256, (2, 3, 3, 4), dtype=torch.uint8)
    torch.testing.assert_close(averaged_over_flips(lambda mirrored: mirrored * ramp)(images), images * 5.5)
