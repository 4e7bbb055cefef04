"""What tests share with those of metrics."""

import numpy as np
import torch

from pointseg.metrics import collection

CLASSES = ("a", "b", "c", "other")


LAND = (True, True, True, False)


def computed(truth: np.ndarray, prediction: np.ndarray, parts: int = 3) -> dict[str, torch.Tensor]:
    """The collection after several updates, as it is fed scene by scene."""
    metrics = collection(len(CLASSES))
    for part in zip(np.array_split(prediction, parts), np.array_split(truth, parts), strict=True):
        metrics.update(*(torch.from_numpy(values) for values in part))
    return metrics.compute()
