"""Calibration of a run on pixels of its validation scenes: calibration.json and reliability.png in its folder."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from omegaconf import DictConfig, OmegaConf
from sklearn.model_selection import GroupKFold, KFold

from pointseg import plots
from pointseg.annotation.drawn import draw
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.imagery import rasters
from pointseg.imagery.rasters import Raster
from pointseg.prediction import calibration, trained
from pointseg.prediction.calibration import Calibration, Shares, blend, fit_temperature
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import Imagery, Views, views_at
from pointseg.samplers.random import Random
from pointseg.training import runs
from pointseg.training.data import PointData
from pointseg.types import Window

log = logging.getLogger(__name__)

FOLDS = 5
VANISHING, FEWEST = 1e-3, 5  # a share, and an effective number of points, below which an estimate is not believed
PER_IMAGE = 2000  # pixels of each image whose class shares are estimated

Numbers = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Sample:
    """Labelled positions of the validation scenes. groups: of their scenes; words: where they come from.

    random: their classes have the scenes' own shares, as those of points that a person chose or that a
    sampler balanced have not.
    """

    views: Views
    labels: Int[np.ndarray, "n"]
    groups: Int[np.ndarray, "n"]
    random: bool
    words: str

    def shares(self, classes: int) -> Shares:
        return np.bincount(self.labels, minlength=classes) / len(self.labels)


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
    _check(chosen, cfg.input, random, model.classes)
    sample = _sample(model, data, cfg.budget if random else None)
    training = calibration.training_shares(data.counts, system.loss)
    prior = _prior(chosen, cfg.input, model, sample, training)
    shift = (0.0,) * len(model.classes) if prior is None else calibration.prior_shift(prior, training)
    weights = np.ones(len(sample.labels)) if prior is None or sample.random else _as_if(prior, sample)
    _check_estimate(chosen, prior, weights, model)
    before = blend(sample.views, Calibration(1.0, (0.0,) * len(model.classes)))
    after, folds = _held_out(sample, weights, shift)
    result: dict[str, Any] = {
        "checkpoint": cfg.checkpoint,
        "weights": calibration.digest(folder / f"{cfg.checkpoint}.ckpt"),
        "temperature": fit_temperature(sample.views, sample.labels, weights, shift),
        "shift": shift,
        "prior": None if prior is None else _named(prior, model),
        "prior_from": chosen if isinstance(chosen, str | None) else "given",
        "training_prior": _named(training, model),
        "points": sample.words,
        "n": len(sample.labels),
        "after_is": folds,
        "before": _scores(before, sample.labels, weights),
        "after": _scores(after, sample.labels, weights),
    }
    diagrams = {
        title: calibration.reliability(said, sample.labels, weights)
        for title, said in {"before": before, "after (held out)": after}.items()
    }
    with writing(folder / "reliability.png") as partial:
        plots.reliability(diagrams).savefig(partial)
    with writing(folder / calibration.FILE) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    log.info("%s", _table(result))
    if result["after"]["nll"] > result["before"]["nll"]:
        log.warning(
            "What was held out became no likelier: its scenes want another calibration than the others. Calibrate on "
            "more unlike scenes or with another prior; predict calibrated=false gives the network's own probabilities."
        )
    log.info("Calibration: %s\nDiagram: %s", folder / calibration.FILE, folder / "reliability.png")


def _sample(model: Trained, data: PointData, budget: int | float | None) -> Sample:
    """`budget` pixels of each validation scene's mask at random; None: the run's points."""
    scenes = data.dataset.splits["val"]
    if budget is None:
        drawn = [data.points[scene.id] for scene in scenes]
    else:
        drawn = [draw(scene, Random(), budget, data.seed) for scene in scenes]
    labelled = [(scene, found) for scene, found in zip(scenes, drawn, strict=True) if len(found)]
    names = sorted({scene.group for scene, _ in labelled})
    what = "points of the run in" if budget is None else "pixels drawn at random from the masks of"
    views = [_views(model, scene, found.rows.astype(int), found.cols.astype(int)) for scene, found in labelled]
    return Sample(
        Views.joined(views),
        np.concatenate([found.labels for _, found in labelled]),
        np.concatenate([np.full(len(found), names.index(scene.group)) for scene, found in labelled]),
        budget is not None,
        f"{sum(len(found) for _, found in labelled):,} {what} {len(labelled)} validation scenes",
    )


def _views(model: Trained, scene: Imagery, rows: Int[np.ndarray, "n"], cols: Int[np.ndarray, "n"]) -> Views:
    return views_at(model.predict, scene, rows, cols, model.window_size, model.overlap, model.batch_size, model.device)


def _check(chosen: Any, images: Any, random: bool, classes: tuple[str, ...]) -> None:
    """Raises InputError where the map's class shares cannot be had as `chosen` says (see conf/calibrate.yaml)."""
    if images is not None and chosen != "estimate":
        raise InputError(f"input={images}: is for prior=estimate alone; leave it out or give that.")
    if isinstance(chosen, Mapping):
        numbers = [value for value in chosen.values() if isinstance(value, int | float) and value > 0]
        if set(chosen) != set(classes) or len(numbers) < len(chosen) or abs(sum(numbers) - 1) > 0.01:
            raise InputError(f"prior={dict(chosen)}: give each class ({', '.join(classes)}) a share above 0, 1 in all.")
    elif chosen not in (None, "points", "estimate"):
        raise InputError(f"prior={chosen}: give null, points, estimate or a share of each class, as {{water: 0.1, …}}.")
    elif chosen is not None and not random and (chosen == "points" or images is None):
        raise InputError(
            f"prior={chosen}: the run's own points have not the map's class shares. Give them, as in "
            "prior={water: 0.1, …}, or images to find them in, as in prior=estimate input=site.tif."
        )


def _check_estimate(chosen: Any, prior: Shares | None, weights: Numbers, model: Trained) -> None:
    """Raises InputError where an estimated prior says that classes vanish, or leaves too few points to judge it by."""
    if chosen != "estimate" or prior is None:
        return
    effective = weights.sum() ** 2 / np.square(weights).sum()  # Kish
    vanished = [name for name, share in zip(model.classes, prior, strict=True) if share < VANISHING]
    if vanished or effective < FEWEST:
        found = ", ".join(f"{name} {share:.4f}" for name, share in zip(model.classes, prior, strict=True))
        raise InputError(
            f"prior=estimate: found {found}, by which {effective:.1f} points count. Such shares come from a network "
            "that is weak, or from imagery unlike its training's; nothing is changed. Give the shares, as in "
            "prior={water: 0.1, …}, or leave them with prior=null."
        )


def _prior(chosen: Any, images: Any, model: Trained, sample: Sample, training: Shares) -> Shares | None:
    """The map's class shares as `chosen` says; None: the training's are left."""
    if chosen is None:
        return None
    if chosen == "points":
        return sample.shares(len(training)).clip(calibration.LEAST)
    if chosen != "estimate":
        return np.array([chosen[name] for name in model.classes], float)
    unlabelled = sample.views if images is None else _unlabelled(model, images)
    # The estimate wants calibrated posteriors of the training's prior: calibrated on points with its shares.
    none = (0.0,) * len(training)
    temperature = fit_temperature(sample.views, sample.labels, _as_if(training, sample), none)
    return calibration.estimate_prior(blend(unlabelled, Calibration(temperature, none)), training)


def _as_if(shares: Shares, sample: Sample) -> Numbers:
    """Weights of the sample's positions by which its classes have these shares."""
    own = sample.shares(len(shares))
    return np.asarray((shares / np.where(own > 0, own, 1))[sample.labels])


def _unlabelled(model: Trained, images: Any) -> Views:
    """Views at random pixels of the images, those with data."""
    opened = rasters.open_rasters(rasters.find(images, "input"), bands=model.bands)
    rng = np.random.default_rng(0)
    parts = [(raster, *_valid_pixels(raster, rng)) for raster in opened]
    if not (kept := [_views(model, *part) for part in parts if len(part[1])]):
        raise InputError(f"input={images}: no pixel with data was found; is the images' nodata value right?")
    return Views.joined(kept)


def _valid_pixels(raster: Raster, rng: np.random.Generator) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    rows, cols = (rng.integers(0, side, PER_IMAGE) for side in raster.shape)
    valid = [raster.valid(Window(int(row), int(col), 1, 1)).item() for row, col in zip(rows, cols, strict=True)]
    return rows[valid], cols[valid]


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
