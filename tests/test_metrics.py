import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, jaccard_score

from pointseg.metrics import collection, interval, scores, table
from pointseg.types import IGNORE

CLASSES = ("a", "b", "c", "other")
LAND = (True, True, True, False)


def computed(truth: np.ndarray, prediction: np.ndarray, parts: int = 3) -> dict[str, torch.Tensor]:
    """The collection after several updates, as it is fed scene by scene."""
    metrics = collection(len(CLASSES))
    for part in zip(np.array_split(prediction, parts), np.array_split(truth, parts), strict=True):
        metrics.update(*(torch.from_numpy(values) for values in part))
    return metrics.compute()


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


def test_rows_of_the_confusion_are_truth() -> None:
    """IoU and accuracy are the same for the transpose, so the matrix itself is looked at."""
    truth, prediction = np.array([0, 0, 0, 1, IGNORE]), np.array([2, 2, 0, 1, 3])
    confusion = computed(truth, prediction, parts=1)["confusion"]
    assert confusion.tolist() == confusion_matrix(truth[:4], prediction[:4], labels=range(4)).tolist()
    assert confusion[0, 2] == 2
    assert confusion[2, 0] == 0


def test_one_state_is_shared() -> None:
    metrics = collection(4)
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert len(metrics.compute_groups) == 1


def test_the_two_means_are_told_apart_in_words() -> None:
    text = table(scores(computed(np.arange(4), np.arange(4), parts=1), CLASSES, LAND), CLASSES, LAND)
    assert "all 4 classes" in text
    assert "3 land-cover classes" in text


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


def test_a_table_shows_intervals_where_there_are_any() -> None:
    names = ("accuracy", "miou_all_classes", "miou_land_cover", "f1_all_classes", "kappa", "iou/a")
    values = dict.fromkeys(names, 0.5)
    text = table({**values, "accuracy/low": 0.4, "accuracy/high": 0.6}, ["a"], [True])
    assert "0.500  (95 %: 0.400 to 0.600)" in text.splitlines()[0]
    assert "(95 %" not in text.splitlines()[1]
