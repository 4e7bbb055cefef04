"""Area and accuracy from a labelled sample: both papers' worked examples, limits, and how often intervals hold."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pointseg.evaluation.area import Assessment, Sample, assess
from pointseg.evaluation.sample import allocate, expected_error

Z = 1.96  # half a 95 % interval in standard errors, as both papers have it

# Olofsson et al. 2014, section 5: mapped class × true class (deforestation, forest gain, stable forest, stable
# non-forest), and the pixels of 30 m that the map has of each.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = 0.09


def pixels_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mapped and true class of each point that the matrix counts."""
    mapped, truth = np.nonzero(counts)
    times = counts[counts > 0]
    return mapped.repeat(times), truth.repeat(times)


def by_class(counts: np.ndarray, pixels: np.ndarray, size: float = 1.0) -> Assessment:
    """Of a sample whose strata are the map's classes."""
    mapped, truth = pixels_of(counts)
    sample = Sample(mapped, pixels.astype(float), pixels * size, np.full(len(mapped), size))
    return assess(sample, mapped, truth, len(counts))


def test_the_worked_example_of_olofsson() -> None:
    # The paper leaves the correction for finite strata out: as if each held very many pixels.
    many = 1e9
    found = by_class(COUNTS, PIXELS * many, HECTARES / many)
    areas = found.shares.times(PIXELS.sum() * HECTARES)
    assert areas.value.round().tolist() == [21_158, 11_686, 285_770, 581_386]
    assert (Z * areas.error).round().tolist() == [6_158, 3_756, 15_510, 16_282]
    pixels = found.shares.times(float(PIXELS.sum()))
    assert (pixels.value[0].round(), (Z * pixels.error)[0].round()) == (235_086, 68_418)
    assert found.users.value.round(2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert (Z * found.users.error).round(2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert found.producers.value.round(2).tolist() == [0.75, 0.85, 0.93, 0.96]
    # Two more are printed, 0.23 and 0.01, that the paper's own equation 7 does not give.
    assert (Z * found.producers.error).round(2)[[0, 2]].tolist() == [0.21, 0.03]
    assert (found.overall.value.round(2), (Z * found.overall.error).round(2)) == (0.95, 0.02)
    expected = [[0.0176, 0, 0.0013, 0.0011], [0, 0.0110, 0.0016, 0.0024]]
    expected += [[0.0019, 0, 0.2967, 0.0213], [0.0040, 0.0020, 0.0179, 0.6212]]
    assert found.matrix.round(4).tolist() == expected


def test_the_worked_example_of_stehman() -> None:
    strata = np.repeat(np.arange(4), 10)
    mapped = np.array(["ABCD".index(c) for c in "AAAAAAABBBABBBBBBBBBBBCCCCCCBBDDDDDDDDDD"])
    truth = np.array(["ABCD".index(c) for c in "AAAAACBABCABBBBBAABBCCCCCDDBBADDDDDDDCCB"])
    pixels = np.array([40_000.0, 30_000, 20_000, 10_000])
    found = assess(Sample(strata, pixels, pixels, np.ones(40)), mapped, truth, 4)
    assert found.shares.value[[0, 2]] == pytest.approx([0.35, 0.20])
    assert found.shares.error[[0, 2]].round(3).tolist() == [0.082, 0.064]
    assert (found.overall.value[0], found.overall.error[0].round(3)) == (pytest.approx(0.63), 0.085)
    assert (found.users.value[1].round(3), found.users.error[1].round(3)) == (0.574, 0.125)
    assert (found.producers.value[1].round(3), found.producers.error[1].round(3)) == (0.794, 0.117)
    assert found.matrix[1, 2] == pytest.approx(0.08)


def test_the_error_of_f1_is_that_of_the_same_sample_drawn_again_and_again() -> None:
    population = np.array([[800, 150, 50], [100, 500, 100], [30, 20, 250]])
    rng = np.random.default_rng(0)
    numbers = [60, 50, 40]
    drawn = [
        np.stack([rng.multivariate_hypergeometric(row, n) for row, n in zip(population, numbers, strict=True)])
        for _ in range(500)
    ]
    found = [by_class(counts, population.sum(1)).f1 for counts in drawn]
    values, errors = (np.array([getattr(f1, name) for f1 in found]) for name in ("value", "error"))
    assert np.sqrt((errors**2).mean(0)) == pytest.approx(values.std(0), rel=0.12)


def test_who_has_seen_every_pixel_knows_the_areas() -> None:
    counts = np.array([[5, 2], [1, 3]])
    found = by_class(counts, counts.sum(1))
    assert found.shares.value == pytest.approx(counts.sum(0) / 11)
    for figure in (found.shares, found.users, found.producers, found.overall):
        assert figure.high - figure.low == pytest.approx(0, abs=1e-6)


def test_a_class_that_is_not_there_has_no_accuracy() -> None:
    mapped, truth = pixels_of(np.array([[9, 1], [2, 8]]))
    found = assess(Sample(mapped, np.array([500.0, 400]), np.array([500.0, 400]), np.ones(20)), mapped, truth, 3)
    assert np.isnan(found.users.value[2])
    assert found.shares.value[2] == 0
    assert np.isfinite(found.users.value[:2]).all()


def test_pixels_of_unequal_size_count_by_their_area() -> None:
    # One stratum of two kinds of pixels; every one is in the sample, so that shares are exact.
    sizes, truth = np.array([1.0, 1, 1, 3, 3]), np.array([0, 0, 1, 1, 0])
    found = assess(Sample(np.zeros(5, int), np.array([5.0]), np.array([9.0]), sizes), truth, truth, 2)
    assert found.shares.value == pytest.approx([5 / 9, 4 / 9])


@pytest.mark.parametrize("how", ["proportional", "equal", "neyman"])
def test_intervals_hold_the_truth_as_often_as_they_say(how: str) -> None:
    """A map that is often wrong where little of a class is, as maps are: the papers' own intervals fail there."""
    population = np.array([[940, 30, 29, 1], [60, 180, 55, 5], [40, 20, 60, 0], [3, 1, 1, 45]]) * 1000
    truth = population.sum(0) / population.sum()
    users = population.diagonal() / population.sum(1)
    numbers = allocate(200, how, population.sum(1), users, 20)
    rng = np.random.default_rng(0)
    held, narrow = [], []
    for _ in range(300):
        drawn = [rng.multivariate_hypergeometric(row, n) for row, n in zip(population, numbers, strict=True)]
        shares = by_class(np.stack(drawn), population.sum(1)).shares
        held.append((shares.low <= truth) & (truth <= shares.high))
        narrow.append(np.abs(shares.value - truth) <= Z * shares.error)
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.mean(held, 0).min() > 0.9
    assert np.mean(narrow, 0).min() < np.mean(held, 0).min()


@pytest.mark.parametrize("right", [19, 20])
def test_of_one_class_on_the_map_the_interval_is_the_exact_one(right: int) -> None:
    """That of the binomial distribution, from which 20 pixels of very many hardly differ."""
    found = by_class(np.array([[right, 20 - right], [6, 14]]), np.array([10**9, 10**9])).users
    exact = binomtest(right, 20).proportion_ci(method="exact")
    assert (found.low[0], found.high[0]) == pytest.approx((exact.low, exact.high), abs=0.01)
    if right == 20:  # the imagined pixel decides nothing where the sample has no doubt
        assert found.low[0] == pytest.approx(exact.low, abs=1e-6)


def test_intervals_hold_for_rare_and_for_nearly_perfect_classes() -> None:
    population = np.array([[99_000, 800, 200], [10, 7_990, 0], [60, 0, 940]]) * 10
    pixels, right = population.sum(1), population.diagonal()
    truth = {"users": right / pixels, "producers": right / population.sum(0)}
    rng = np.random.default_rng(0)
    held: dict[str, list[np.ndarray]] = {name: [] for name in truth}
    for _ in range(300):
        drawn = [rng.multivariate_hypergeometric(row, n) for row, n in zip(population, (100, 30, 20), strict=True)]
        found = by_class(np.stack(drawn), pixels)
        for name, share in truth.items():
            figure = getattr(found, name)
            held[name].append((figure.low <= share) & (share <= figure.high))
    for name in truth:
        assert np.mean(held[name], 0).min() > 0.93, name


def test_a_sample_is_shared_out_as_asked() -> None:
    pixels = np.array([1000, 6000, 3000, 5, 0])
    accuracy = np.array([0.5, 0.9, 0.8, 0.8, 0.8])
    proportional = allocate(200, "proportional", pixels, accuracy, 10)
    assert proportional.sum() == 200
    assert proportional[[3, 4]].tolist() == [5, 0]  # all that there are
    assert proportional[1] / proportional[2] == pytest.approx(2, rel=0.03)
    equal = allocate(200, "equal", pixels, accuracy, 10)
    assert equal.sum() == 200
    assert np.ptp(equal[:3]) <= 1
    neyman = allocate(200, "neyman", pixels, accuracy, 2)
    weights = pixels * np.sqrt(accuracy * (1 - accuracy))
    assert neyman[:3] / neyman[:3].sum() == pytest.approx(weights[:3] / weights[:3].sum(), abs=0.02)
    assert expected_error(neyman, pixels, accuracy) < expected_error(proportional, pixels, accuracy)


def test_the_sample_size_of_olofsson() -> None:
    """Equation 13 for a standard error of 0.01 with the accuracies of table 5: 641 points."""
    users = np.array([0.7, 0.6, 0.9, 0.95])
    sizes = [expected_error(allocate(n, "neyman", PIXELS, users, 2), PIXELS, users) for n in (635, 645)]
    assert sizes[1] < 0.01 < sizes[0]
