"""What colour alone can tell: a random forest over the colours of the labelled points.

The classifier that practitioners have at hand; a network that does not beat it has learnt no shapes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from sklearn.ensemble import RandomForestClassifier

from pointseg import metrics
from pointseg.training.data import PointData
from pointseg.types import whole

BITS = 5  # colours are told apart to 1/32: 32,768 predictions serve every pixel of every scene
LIMIT = 50_000  # points that the forest is grown on, so that it takes seconds


def score(data: PointData, split: str, seed: int = 0) -> dict[str, float]:
    """Scores on `split` of a forest grown on the colours at the training points."""
    colours, labels = _training_set(data, seed)
    forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=seed).fit(colours, labels)
    levels = np.indices((1 << BITS,) * 3).reshape(3, -1).T
    table = forest.predict(levels).astype(np.uint8)
    dataset = data.dataset
    collected = metrics.collection(len(dataset.classes))
    for scene in dataset.splits[split]:
        prediction = table[_codes(scene.image(whole(scene)))]
        collected.update(torch.from_numpy(prediction).flatten(), torch.from_numpy(scene.mask(whole(scene))).flatten())
    return metrics.scores(collected.compute(), dataset.classes, dataset.land_cover)


def _training_set(data: PointData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    colours: list[np.ndarray] = []
    labels: Sequence[np.ndarray] = [data.points[scene.id].labels for scene in data.dataset.splits["train"]]
    for scene in data.dataset.splits["train"]:
        points = data.points[scene.id]
        colours.append(scene.image(whole(scene))[points.rows.astype(int), points.cols.astype(int)] >> (8 - BITS))
    order = np.random.default_rng(seed).permutation(sum(map(len, labels)))[:LIMIT]
    return np.concatenate(colours)[order], np.concatenate(labels)[order]


def _codes(image: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    red, green, blue = np.moveaxis(image.astype(np.int64) >> (8 - BITS), -1, 0)
    return np.asarray((red << 2 * BITS) + (green << BITS) + blue)
