import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, jaccard_score

from pointseg.metrics import collection, interval, scores, table
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


def test_the_bootstrap_interval_is_that_of_resampled_points() -> None:
    """Against scipy's bootstrap of the points themselves, and wider for fewer points."""
    from scipy.stats import bootstrap

    confusion = torch.tensor([[40, 5, 0], [10, 20, 5], [1, 4, 15]])
    pairs = np.repeat(np.stack(np.indices((3, 3)).reshape(2, -1), 1), confusion.flatten().numpy(), 0)

    def miou(index: np.ndarray) -> float:
        matrix = np.zeros((3, 3))
        np.add.at(matrix, tuple(pairs[index].T), 1)
        hits = matrix.diagonal()
        return float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())

    options = {"n_resamples": 1000, "vectorized": False, "method": "percentile", "rng": np.random.default_rng(1)}
    theirs = bootstrap((np.arange(len(pairs)),), miou, **options).confidence_interval
    ours = interval(confusion, [True, True, True])
    assert (ours["miou_all_classes/low"], ours["miou_all_classes/high"]) == pytest.approx(
        (theirs.low, theirs.high), abs=0.02
    )
    assert ours["accuracy/low"] < 75 / 100 < ours["accuracy/high"]
    few = interval((confusion + 4) // 5, [True, True, True])
    assert few["accuracy/high"] - few["accuracy/low"] > ours["accuracy/high"] - ours["accuracy/low"]


def test_names_that_are_fewer_than_the_classes_are_no_scores() -> None:
    with pytest.raises(ValueError, match="longer"):
        scores(computed(np.arange(4), np.arange(4)), CLASSES[:3], LAND)


def test_the_ends_of_the_interval_are_the_quantiles_of_95_percent() -> None:
    """Of the accuracy they are known: those of the binomial distribution."""
    found = interval(torch.tensor([[500, 100], [150, 250]]), [True, True], draws=100_000)
    expected = binom.ppf([0.025, 0.975], 1000, 0.75) / 1000
    assert [found["accuracy/low"], found["accuracy/high"]] == pytest.approx(expected, abs=0.0011)


def test_intervals_are_the_same_each_time_and_others_for_another_seed() -> None:
    confusion = torch.tensor([[40, 5], [10, 20]])
    assert interval(confusion, [True, True]) == interval(confusion, [True, True])
    assert interval(confusion, [True, True]) != interval(confusion, [True, True], seed=1)


def test_classes_that_do_not_occur_among_the_points_drawn_anew_are_left_out() -> None:
    perfect = interval(torch.diag(torch.tensor([50, 1, 0])), [True, True, True])
    assert set(perfect.values()) == {1}
    wrong = interval(torch.tensor([[0, 1], [0, 0]]), [True, False])
    assert set(wrong.values()) == {0}


def test_the_interval_over_land_cover_is_of_its_classes_alone() -> None:
    found = interval(torch.tensor([[50, 0, 0], [0, 20, 10], [0, 10, 10]]), [True, False, False])
    assert found["miou_land_cover/low"] == found["miou_land_cover/high"] == 1
    assert found["miou_all_classes/high"] < 1


def test_the_table_tells_the_two_means_apart_and_shows_intervals_where_there_are_any() -> None:
    names = ("accuracy", "miou_all_classes", "miou_land_cover", "f1_all_classes", "kappa", "iou/Water", "iou/Other")
    values = {name: i / 10 for i, name in enumerate(names, 2)} | {"accuracy/low": 0.1234, "accuracy/high": 0.9876}
    assert table(values, ["Water", "Other"], [True, False]).splitlines() == [
        "  accuracy                            0.200  (95 %: 0.123 to 0.988)",
        "  mean IoU over all 2 classes         0.300",
        "  mean IoU over 1 land-cover classes  0.400",
        "  mean F1 over all 2 classes          0.500",
        "  kappa                               0.600",
        "  IoU Water                           0.700",
        "  IoU Other                           0.800",
    ]
