"""Calibration of a run on pixels of its validation scenes: calibration.json and reliability.png in its folder."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from omegaconf import DictConfig, OmegaConf
from sklearn.model_selection import GroupKFold, KFold

from pointseg import plots
from pointseg.errors import InputError
from pointseg.evaluation import prior
from pointseg.evaluation.positions import Numbers, Sample, draw_sample
from pointseg.files import writing
from pointseg.prediction import calibration, trained
from pointseg.prediction.calibration import Calibration, Shares, blend, fit_temperature
from pointseg.prediction.trained import Trained
from pointseg.training import runs

log = logging.getLogger(__name__)

FOLDS = 5


def calibrate(cfg: DictConfig) -> None:
    """Calibrate the run `cfg.run`; conf/calibrate.yaml says what each key means.

    "before" and "after" are scores at the same positions; those after, of temperatures fitted without the
    position's group of scenes (where there is one group: without its fold of positions).
    """
    folder = Path(cfg.run)
    _, data, system = runs.load(folder, cfg.checkpoint, cfg.overrides)
    model = trained.load_run(folder, cfg.checkpoint, cfg.accelerator, flips=False, calibrated=False)
    random = cfg.budget is not None and data.dataset.points is None
    chosen = OmegaConf.to_container(cfg.prior) if OmegaConf.is_config(cfg.prior) else cfg.prior
    prior.check(chosen, cfg.input, random, model.classes)
    sample = draw_sample(model, data, cfg.budget if random else None)
    training = calibration.training_shares(data.counts, system.loss)
    shares = prior.prior_of(chosen, cfg.input, model, sample, training)
    weights = np.ones(len(sample.labels)) if shares is None or sample.random else sample.weights(shares)
    prior.check_estimate(chosen, shares, weights, model.classes)
    result, diagrams = _fit(sample, weights, shares, training, model)
    facts = {"checkpoint": cfg.checkpoint, "weights": calibration.digest(folder / f"{cfg.checkpoint}.ckpt")}
    facts["prior_from"] = chosen if isinstance(chosen, str | None) else "given"
    _write(folder, facts | result, diagrams)


def _fit(
    sample: Sample, weights: Numbers, prior: Shares | None, training: Shares, model: Trained
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The calibration with its scores before and after, and a reliability diagram of each."""
    none = (0.0,) * len(model.classes)
    shift = none if prior is None else calibration.prior_shift(prior, training)
    before = blend(sample.views, Calibration(1.0, none))
    after, folds = _held_out(sample, weights, shift)
    result = {
        "temperature": fit_temperature(sample.views, sample.labels, weights, shift),
        "shift": shift,
        "prior": None if prior is None else _named(prior, model),
        "training_prior": _named(training, model),
        "points": sample.words,
        "n": len(sample.labels),
        "after_is": folds,
        "before": _scores(before, sample.labels, weights),
        "after": _scores(after, sample.labels, weights),
    }
    diagrams = {
        title: calibration.reliability(probabilities, sample.labels, weights)
        for title, probabilities in {"before": before, "after (held out)": after}.items()
    }
    return result, diagrams


def _write(folder: Path, result: Mapping[str, Any], diagrams: Mapping[str, Any]) -> None:
    with writing(folder / "reliability.png") as partial:
        plots.reliability(diagrams).savefig(partial)
    with writing(folder / calibration.FILE) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    log.info("%s", _table(result))
    if result["after"]["nll"] > result["before"]["nll"]:
        log.warning(
            "The points held out became no likelier: their scenes need another calibration than the others. "
            "Calibrate on more varied scenes or with another prior; predict calibrated=false gives the network's own "
            "probabilities."
        )
    log.info("Calibration: %s\nDiagram: %s", folder / calibration.FILE, folder / "reliability.png")


def _held_out(
    sample: Sample, weights: Numbers, shift: tuple[float, ...]
) -> tuple[Float[np.ndarray, "n k"], dict[str, Any]]:
    """The calibrated probabilities of each position, by a temperature fitted without its group; what was done."""
    groups, n = len(np.unique(sample.groups)), len(sample.labels)
    if n < 2:
        raise InputError(f"{sample.words}: too few to calibrate on; label more points in the validation scenes.")
    folds = GroupKFold(min(FOLDS, groups)) if groups > 1 else KFold(min(FOLDS, n), shuffle=True, random_state=0)
    values, temperatures = np.zeros((n, len(shift))), []
    for rest, held in folds.split(np.zeros(n), groups=sample.groups if groups > 1 else None):
        fitted = np.zeros(n)
        fitted[rest] = weights[rest]
        temperatures.append(fit_temperature(sample.views, sample.labels, fitted, shift))
        values[held] = blend(sample.views, Calibration(temperatures[-1], shift))[held]
    what = f"{groups} groups of scenes" if groups > 1 else "positions, neighbours of others"
    return values, {"held_out": f"{len(temperatures)} folds of {what}", "temperatures": temperatures}


def _scores(
    probabilities: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"], weights: Numbers
) -> dict[str, float]:
    return {
        "ece": calibration.expected_error(probabilities, labels, weights),
        "nll": calibration.nll(probabilities, labels, weights),
        "accuracy": float(np.average(probabilities.argmax(1) == labels, weights=weights)),
    }


def _named(shares: Shares, model: Trained) -> dict[str, float]:
    return dict(zip(model.classes, shares.tolist(), strict=True))


def _table(result: Mapping[str, Any]) -> str:
    """The result as lines of text, for a terminal."""
    lines = [f"{result['points']}; after: {result['after_is']['held_out']}, each calibrated by the others"]
    lines.append(f"  {'':<30}{'before':>8}{'after':>8}")
    names = {"ece": "expected calibration error", "nll": "negative log likelihood", "accuracy": "accuracy"}
    lines += [f"  {what:<30}{result['before'][key]:>8.3f}{result['after'][key]:>8.3f}" for key, what in names.items()]
    lines.append(f"  temperature {result['temperature']:.3f}")
    if result["prior"] is not None:
        shares = [f"{name} {result['training_prior'][name]:.3f} → {pi:.3f}" for name, pi in result["prior"].items()]
        lines.append(f"  class shares, training → map: {', '.join(shares)}")
    return "\n".join(lines)
