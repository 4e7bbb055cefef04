import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, f1_score, jaccard_score

from pointseg.metrics import collection, scores, table
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


def test_a_class_that_occurs_nowhere_has_no_iou_and_one_that_is_only_predicted_has_zero() -> None:
    result = scores(computed(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), parts=1), CLASSES, LAND)
    assert math.isnan(result["iou/other"])
    assert result["iou/c"] == 0
    assert result["miou_all_classes"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_pooled_is_not_the_mean_over_scenes() -> None:
    truth = np.array([0] * 90 + [1] * 10 + [0] * 10)
    prediction = np.array([0] * 90 + [0] * 10 + [0] * 10)
    result = scores(computed(truth, prediction, parts=11), CLASSES, LAND)
    assert result["iou/a"] == pytest.approx(100 / 110)
    assert result["miou_all_classes"] == pytest.approx(50 / 110)


def test_one_state_is_shared() -> None:
    metrics = collection(4)
    metrics.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
    assert len(metrics.compute_groups) == 1


def test_the_two_means_are_told_apart_in_words() -> None:
    text = table(scores(computed(np.arange(4), np.arange(4), parts=1), CLASSES, LAND), CLASSES, LAND)
    assert "all 4 classes" in text
    assert "3 land-cover classes" in text
