"""Class probabilities that can be relied on: a temperature, and the prior of the map in place of the training's.

A network's logits z become z / T + log(π / q): T its temperature (Guo et al. 2017, section 4.2), q the
class shares that training has shown it, π those of the map (Saerens, Latinne, Decaestecker 2002, equation 2.4).
"""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from torch import Tensor, nn

from pointseg.errors import reading
from pointseg.prediction.windows import Views

log = logging.getLogger(__name__)

FILE = "calibration.json"
BINS = 15  # of confidence, equally wide, as in Guo et al. 2017
TEMPERATURES = (0.05, 20.0)  # between which it is sought
SPREAD = 0.25  # of log T before any point is seen: 95 % between 0.6 and 1.6
LEAST = 1e-6  # the smallest share of a class that an estimate gives

Shares = Float[np.ndarray, "k"]


@dataclass(frozen=True)
class Calibration:
    """temperature: divides the logits. shift: log(π / q) of each class, zeros where the prior is left as it is."""

    temperature: float
    shift: tuple[float, ...]


class Calibrated(nn.Module):
    """A network whose logits are calibrated, at its own stride.

    To upsample them comes to the same afterwards: the weights of an interpolation sum to 1.
    """

    shift: Tensor

    def __init__(self, network: nn.Module, calibration: Calibration) -> None:
        super().__init__()
        self.network, self.temperature = network, calibration.temperature
        self.register_buffer("shift", torch.tensor(calibration.shift).view(1, -1, 1, 1))

    def forward(self, images: UInt8[Tensor, "b c height width"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self.network(images) / self.temperature + self.shift
        return logits


def read(folder: Path, checkpoint: str, classes: int) -> Calibration | None:
    """That of the run in `folder`; None where there is none for these weights.

    Raises InputError where the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    with reading(file, "a calibration", "write it anew with pointseg.calibrate."):
        saved = json.loads(file.read_text())
        found = Calibration(float(saved["temperature"]), tuple(map(float, saved["shift"])))
        weights = saved["weights"]
        if len(found.shift) != classes:
            raise ValueError(f"{len(found.shift)} shifts for {classes} classes")
        if not (0 < found.temperature < np.inf and np.isfinite(found.shift).all()):
            raise ValueError("a temperature above 0 and finite shifts are needed")
    if weights != digest(folder / f"{checkpoint}.ckpt"):
        log.warning("%s is of other weights than %s.ckpt and is not used; calibrate these.", file, checkpoint)
        return None
    return found


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def blend(views: Views, calibration: Calibration) -> Float[np.ndarray, "n k"]:
    """The class probabilities at the positions, as the map has them: each window calibrated, then blended."""
    shift = np.array(calibration.shift)
    values = softmax(views.log_probabilities / calibration.temperature + shift, axis=1) * views.weights[:, None]
    blended = np.zeros((views.count, len(shift)))
    np.add.at(blended, views.positions, values)
    return blended


def fit_temperature(
    views: Views, labels: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n"], shift: tuple[float, ...]
) -> float:
    """The most probable temperature: of the least negative log likelihood at the positions, each counted by its weight.

    Before any is seen, log T is normal around 0 with deviation SPREAD: a handful of points tells little, and a
    temperature fitted to their chance would, together with a corrected prior, cost rare classes. Weighted
    points count for as many as Kish's effective number, (Σw)² / Σw².
    """
    effective = weights.sum() ** 2 / np.square(weights).sum()

    def loss(logarithm: float) -> float:
        likelihood = nll(blend(views, Calibration(float(np.exp(logarithm)), shift)), labels, weights)
        return float(effective * likelihood + logarithm**2 / (2 * SPREAD**2))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def nll(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n"]
) -> float:
    """The weighted mean of −log p of the label, in nats."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(np.average(-np.log(chosen.clip(np.finfo(np.float32).tiny)), weights=weights))


def reliability(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "bins"], Float[np.ndarray, "bins"], Float[np.ndarray, "bins"]]:
    """By the confidence in the chosen class: the share of the positions in each bin, their confidence, their accuracy.

    Bin m of M holds ((m − 1) / M, m / M], as in Guo et al. 2017; an empty one has zeros.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = (np.ceil(confidence * BINS).astype(int) - 1).clip(0, BINS - 1)
    total, sure, correct = (np.bincount(bins, weights * x, BINS) for x in (np.ones_like(confidence), confidence, right))
    filled = np.where(total > 0, total, 1)
    return total / weights.sum(), sure / filled, correct / filled


def expected_error(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"], weights: Float[np.ndarray, "n"]
) -> float:
    """Expected calibration error of the chosen class: the mean distance of confidence and accuracy (ibid., eq. 3)."""
    share, confidence, accuracy = reliability(probabilities, labels, weights)
    return float((share * np.abs(accuracy - confidence)).sum())


def training_shares(counts: list[int], loss: nn.Module) -> Shares:
    """The class shares that training has shown the network: of its points, each weighted as the loss does.

    A loss that weighs classes has these weights in its buffer `weights` (k,).
    """
    weights = getattr(loss, "weights", None)
    shown = np.array(counts, float) if weights is None else counts * weights.cpu().double().numpy()
    return np.asarray(shown / shown.sum())


def prior_shift(prior: Shares, training: Shares) -> tuple[float, ...]:
    """log(π / q); 0 for a class that had no training point, of whose logit nothing is known."""
    return tuple(np.log(prior / np.where(training > 0, training, prior)).tolist())


def estimate_prior(posteriors: Float[np.ndarray, "n k"]) -> Shares:
    """The class shares of unlabelled positions: the mean of their posteriors under the training's shares.

    Bella et al. 2010, "probability average". It leans towards the training's shares, which is what a map from few
    points needs: expectation maximisation (Saerens et al. 2002, equation 2.9), of which it is the first step, goes on
    to let rare classes vanish, and harms the map (docs/calibration.md).
    """
    shares = posteriors.mean(0).clip(LEAST)
    return np.asarray(shares / shares.sum())
