import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.strategies import DrawFn
from omegaconf import OmegaConf

from pointseg.config import construct
from pointseg.samplers.per_object import PerObject
from pointseg.samplers.random import Random
from pointseg.samplers.stratified import Stratified, shares
from pointseg.types import IGNORE, Points, Sampler
from tests.conftest import CONF, options

SAMPLERS = options("sampler")


@st.composite
def masks(draw: DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    return draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 4, IGNORE])))


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    built = construct(OmegaConf.load(CONF / "sampler" / f"{request.param}.yaml"))
    assert isinstance(built, Sampler)
    return built


@settings(max_examples=100)
@given(masks(), st.integers(0, 200), st.integers(0, 2**32))
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_keeps_the_contract(name: str, mask: np.ndarray, count: int, seed: int) -> None:
    sampler = construct(OmegaConf.load(CONF / "sampler" / f"{name}.yaml"))
    points: Points = sampler(mask, count, np.random.default_rng(seed))
    rows, cols = points.rows.astype(int), points.cols.astype(int)
    assert len(points) <= count
    assert len(set(zip(rows, cols, strict=True))) == len(points)
    assert (points.rows == rows).all()
    assert (mask[rows, cols] == points.labels).all()
    assert (points.labels != IGNORE).all()
    again = sampler(mask, count, np.random.default_rng(seed))
    assert (again.rows == points.rows).all()
    assert (again.cols == points.cols).all()


def test_the_seed_decides(sampler: Sampler) -> None:
    mask = np.random.default_rng(0).integers(0, 3, (6, 6), np.uint8).repeat(10, 0).repeat(10, 1)
    drawn = [sampler(mask, 20, np.random.default_rng(seed)) for seed in range(2)]
    assert len(drawn[0]) > 3
    assert {*zip(drawn[0].rows, drawn[0].cols, strict=True)} != {*zip(drawn[1].rows, drawn[1].cols, strict=True)}


@given(masks(), st.integers(0, 200))
@pytest.mark.parametrize("sampler", [Random(), Stratified()])
def test_the_budget_is_met_exactly(sampler: Sampler, mask: np.ndarray, count: int) -> None:
    points = sampler(mask, count, np.random.default_rng(0))
    assert len(points) == min(count, int((mask != IGNORE).sum()))


def test_random_points_follow_the_area() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[:, :20] = 1
    mask[:50] = IGNORE
    points = Random()(mask, 2000, np.random.default_rng(0))
    assert abs((points.labels == 1).mean() - 0.2) < 0.03
    assert abs(points.rows.mean() - 74.5) < 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 100))
def test_shares_are_as_even_as_the_classes_allow(sizes: list[int], count: int) -> None:
    quotas = shares(sizes, count)
    assert all(0 <= quota <= size for quota, size in zip(quotas, sizes, strict=True))
    assert sum(quotas) == min(count, sum(sizes))
    # Whoever is not exhausted has as much as anyone, up to the one point that does not divide.
    open_bins = [quota for quota, size in zip(quotas, sizes, strict=True) if quota < size]
    assert not open_bins or max(quotas) - min(open_bins) <= 1


def test_stratified_points_are_uniform_within_a_class() -> None:
    mask = np.zeros((100, 100), np.uint8)
    mask[0, :10] = 1
    points = Stratified()(mask, 1000, np.random.default_rng(0))
    assert (points.labels == 1).sum() == 10
    assert abs(points.rows[points.labels == 0].mean() - 49.6) < 3


def regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scipy's connected regions (8 neighbours) of every class, numbered through, and their sizes."""
    numbered, total = np.zeros(mask.shape, int), 0
    for label in np.unique(mask[mask != IGNORE]):
        found, n = scipy.ndimage.label(mask == label, np.ones((3, 3)))
        numbered[found > 0] = found[found > 0] + total
        total += n
    return numbered, np.bincount(numbered.ravel(), minlength=total + 1)


@given(masks(), st.integers(0, 60))
def test_per_object_clicks_the_largest_regions_once(mask: np.ndarray, count: int) -> None:
    numbered, sizes = regions(mask)
    points = PerObject()(mask, count, np.random.default_rng(0))
    clicked = numbered[points.rows.astype(int), points.cols.astype(int)]
    assert len(set(clicked)) == len(clicked) == min(count, len(sizes) - 1)
    left = [size for region, size in enumerate(sizes) if region and region not in clicked]
    assert not left or not len(clicked) or max(left) <= sizes[clicked].min()


def test_per_object_clicks_inside_rather_than_on_the_edge() -> None:
    mask = np.full((40, 60), IGNORE, np.uint8)
    mask[5:30, 10:50] = 2  # 25 rows deep: its middle is 13 pixels from the edge
    mask[33:40, 0:60] = 3  # reaches the scene's border, which is an edge too
    for seed in range(50):
        points = PerObject()(mask, 2, np.random.default_rng(seed))
        big, low = points.rows[points.labels == 2][0], points.rows[points.labels == 3][0]
        assert 11 - 0.5 <= big <= 23.5
        assert low in (34, 35, 36, 37, 38)


def test_regions_of_one_size_are_clicked_in_a_fixed_order() -> None:
    """numpy's default sort puts equal ones in an order that depends on the processor, and with it the points drawn."""
    mask = np.full((200, 14), IGNORE, np.uint8)
    mask[::2, [1, 6, 7]] = 0  # in every other row a region of one pixel and one of two
    mask[::2, [11, 12]] = 1  # and another of two
    points = PerObject()(mask, 50, np.random.default_rng(0))
    assert points.rows.tolist() == list(range(0, 100, 2))
    assert set(points.cols) == {6, 7}
