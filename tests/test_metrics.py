import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, jaccard_score

from pointseg.metrics import class_intervals, collection, ends, interval, scores, table
from pointseg.types import IGNORE
from tests.support.metrics import CLASSES, LAND, computed


def test_scores_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 500)
    prediction = np.where(rng.random(500) < 0.6, truth, rng.integers(0, 4, 500))
    ignored = rng.random(500) < 0.3
    result = scores(computed(np.where(ignored, IGNORE, truth), prediction), CLASSES, LAND)
    truth, prediction = truth[~ignored], prediction[~ignored]
    iou = jaccard_score(truth, prediction, average=None)
    assert result["accuracy"] == pytest.approx(accuracy_score(truth, prediction))
    assert result["kappa"] == pytest.approx(cohen_kappa_score(truth, prediction), abs=1e-6)
    assert result["miou_all_classes"] == pytest.approx(iou.mean())
    assert result["miou_land_cover"] == pytest.approx(iou[:3].mean())
    assert result["f1_all_classes"] == pytest.approx(f1_score(truth, prediction, average="macro"))
    assert result["f1_land_cover"] == pytest.approx(f1_score(truth, prediction, average=None)[:3].mean())
    assert [result[f"iou/{name}"] for name in CLASSES] == pytest.approx(iou)
    assert [result[f"f1/{name}"] for name in CLASSES] == pytest.approx(f1_score(truth, prediction, average=None))


def test_rows_of_the_confusion_are_truth() -> None:
    """IoU and accuracy are the same for the transpose, so the matrix itself is looked at."""
    truth, prediction = np.array([0, 0, 0, 1, IGNORE]), np.array([2, 2, 0, 1, 3])
    confusion = computed(truth, prediction, parts=1)["confusion"]
    assert confusion.tolist() == confusion_matrix(truth[:4], prediction[:4], labels=range(4)).tolist()
    assert confusion[0, 2] == 2
    assert confusion[2, 0] == 0


def test_one_state_is_shared_also_where_a_process_has_had_no_scene() -> None:
    """Found out by the first update otherwise: processes with and without scenes would exchange different sums."""
    assert len(collection(4).compute_groups) == 1


def test_intervals_of_many_points_are_those_of_resampled_points() -> None:
    """Against scipy's bootstrap of the points themselves, and wider for fewer points."""
    from scipy.stats import bootstrap

    confusion = torch.tensor([[400, 50, 0], [100, 200, 50], [10, 40, 150]])
    pairs = np.repeat(np.stack(np.indices((3, 3)).reshape(2, -1), 1), confusion.flatten().numpy(), 0)
    land = [True, True, False]
    ours = interval(confusion, land)
    for name in ("miou_all_classes", "miou_land_cover", "f1_all_classes", "kappa"):

        def score(index: np.ndarray, name: str = name) -> float:
            truth, prediction = pairs[index].T
            if name == "kappa":
                return float(cohen_kappa_score(truth, prediction))
            labels = [0, 1] if "land" in name else [0, 1, 2]
            measure = f1_score if name.startswith("f1") else jaccard_score
            return float(measure(truth, prediction, average="macro", labels=labels))

        options = {"n_resamples": 200, "vectorized": False, "method": "percentile", "rng": np.random.default_rng(1)}
        theirs = bootstrap((np.arange(len(pairs)),), score, **options).confidence_interval
        assert [ours[end] for end in ends(name)] == pytest.approx([theirs.low, theirs.high], abs=0.012), name
    few = interval((confusion + 4) // 10, land)
    for name in ("accuracy", "miou_all_classes", "kappa"):
        low, high = ends(name)
        assert few[high] - few[low] > 2 * (ours[high] - ours[low])


def test_names_that_are_fewer_than_the_classes_are_no_scores() -> None:
    with pytest.raises(ValueError, match="longer"):
        scores(computed(np.arange(4), np.arange(4)), CLASSES[:3], LAND)


def test_intervals_of_shares_are_exact() -> None:
    """Of accuracy among all points, of an IoU among those of its class: those of the binomial distribution."""
    confusion = torch.tensor([[50, 10], [15, 25]])
    found = interval(confusion, [True, True]) | class_intervals(confusion, ["a", "b"])
    for name, hits, count in (("accuracy", 75, 100), ("iou/a", 50, 75), ("iou/b", 25, 50)):
        exact = binomtest(hits, count).proportion_ci(method="exact")
        assert [found[end] for end in ends(name)] == pytest.approx([exact.low, exact.high])
    low, high = (found[end] for end in ends("iou/b"))
    assert [found[end] for end in ends("f1/b")] == pytest.approx([2 * low / (1 + low), 2 * high / (1 + high)])


def test_intervals_are_the_same_each_time_and_others_for_another_seed() -> None:
    confusion = torch.tensor([[40, 5], [10, 20]])
    assert interval(confusion, [True, True]) == interval(confusion, [True, True])
    assert interval(confusion, [True, True]) != interval(confusion, [True, True], seed=1)


@pytest.mark.parametrize("counts", [(20, 20, 20), (50, 1, 0), (20, 0, 0)])
def test_few_points_that_are_all_right_leave_doubt(counts: tuple[int, ...]) -> None:
    confusion = torch.diag(torch.tensor(counts))
    found = interval(confusion, [True, True, False]) | class_intervals(confusion, CLASSES[:3])
    value = scores({"confusion": confusion, "iou": torch.ones(3), "kappa": torch.tensor(1.0)}, CLASSES[:3], LAND[:3])
    for name in ("accuracy", "miou_all_classes", "miou_land_cover", "f1_all_classes", "iou/a", "f1/a"):
        low, high = (found[end] for end in ends(name))
        assert low < 0.98, name
        assert high == value[name] == 1
    assert ("iou_low/c" in found) == (counts[2] > 0)
    assert np.isnan(found["kappa/low"]) == (counts[1] == 0)  # of one class it has no value


def test_points_that_are_all_wrong_leave_doubt_too() -> None:
    found = interval(torch.tensor([[0, 9], [0, 0]]), [True, False])
    assert found["accuracy/low"] == found["miou_all_classes/low"] == 0
    assert found["accuracy/high"] > 0.1 < found["miou_all_classes/high"]


def test_intervals_of_few_points_hold_the_truth() -> None:
    """Of nearly perfect predictions, where those of resampled points alone hold it in a third of the cases."""
    population = np.array([[0.49, 0.01, 0], [0, 0.3, 0], [0.01, 0, 0.19]])
    truth = interval(torch.from_numpy(population * 1e9).round().long(), [True] * 3)
    rng = np.random.default_rng(0)
    names = ("accuracy", "miou_all_classes", "f1_all_classes", "kappa")
    held: dict[str, list[bool]] = {name: [] for name in names}
    for counts in rng.multinomial(30, population.ravel(), 200):
        found = interval(torch.from_numpy(counts.reshape(3, 3)), [True] * 3, draws=300)
        for name in names:
            low, high = ends(name)
            held[name].append(found[low] <= truth[low] + 1e-3 and truth[high] - 1e-3 <= found[high])
    for name in names:
        assert np.mean(held[name]) > 0.92, name


def test_the_interval_over_land_cover_is_of_its_classes_alone() -> None:
    found = interval(torch.tensor([[500, 0, 0], [0, 200, 100], [0, 100, 100]]), [True, False, False])
    assert found["miou_land_cover/low"] > 0.98
    assert found["miou_all_classes/high"] < 0.8


def test_the_table_tells_the_two_means_apart_and_shows_intervals_where_there_are_any() -> None:
    names = ("accuracy", "miou_all_classes", "miou_land_cover", "f1_all_classes", "kappa", "iou/Water", "iou/Other")
    values = {name: i / 10 for i, name in enumerate(names, 2)} | {"accuracy/low": 0.1234, "accuracy/high": 0.9876}
    values |= {"iou_low/Water": 0.6, "iou_high/Water": 0.8, "kappa/low": 0.5, "kappa/high": 0.7}
    assert table(values, ["Water", "Other"], [True, False]).splitlines() == [
        "  accuracy                            0.200  (95 %: 0.123 to 0.988)",
        "  mean IoU over all 2 classes         0.300",
        "  mean IoU over 1 land-cover classes  0.400",
        "  mean F1 over all 2 classes          0.500",
        "  kappa                               0.600  (95 %: 0.500 to 0.700)",
        "  IoU Water                           0.700  (95 %: 0.600 to 0.800)",
        "  IoU Other                           0.800",
    ]
