"""The class prior of a map: the class shares that its pixels have, which the points' need not be."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from pointseg.errors import InputError
from pointseg.evaluation.positions import Numbers, Sample, views_of
from pointseg.imagery import paths, rasters
from pointseg.imagery.rasters import Raster
from pointseg.prediction import calibration
from pointseg.prediction.calibration import Calibration, Shares, blend, fit_temperature
from pointseg.prediction.trained import Trained
from pointseg.prediction.windows import Views
from pointseg.types import Window

VANISHING, FEWEST = 1e-3, 5  # a share, and an effective number of points, below which an estimate is not believed
PER_IMAGE = 2000  # pixels of each image whose class shares are estimated


def check(chosen: Any, images: Any, random: bool, classes: tuple[str, ...]) -> None:
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


def prior_of(chosen: Any, images: Any, model: Trained, sample: Sample, training: Shares) -> Shares | None:
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
    temperature = fit_temperature(sample.views, sample.labels, sample.weights(training), none)
    return calibration.estimate_prior(blend(unlabelled, Calibration(temperature, none)))


def check_estimate(chosen: Any, prior: Shares | None, weights: Numbers, classes: tuple[str, ...]) -> None:
    """Raises InputError where an estimated prior says that classes vanish, or leaves too few points to judge it by."""
    if chosen != "estimate" or prior is None:
        return
    effective = weights.sum() ** 2 / np.square(weights).sum()  # Kish
    vanished = [name for name, share in zip(classes, prior, strict=True) if share < VANISHING]
    if vanished or effective < FEWEST:
        found = ", ".join(f"{name} {share:.4f}" for name, share in zip(classes, prior, strict=True))
        raise InputError(
            f"prior=estimate: found {found}, by which {effective:.1f} points count. Such shares come from a network "
            "that is weak, or from imagery unlike its training's; nothing is changed. Give the shares, as in "
            "prior={water: 0.1, …}, or leave them with prior=null."
        )


def _unlabelled(model: Trained, images: Any) -> Views:
    """Views at random pixels of the images, those with data."""
    opened = rasters.open_rasters(paths.find(images, "input"), bands=model.bands)
    rng = np.random.default_rng(0)
    parts = [(raster, *_valid_pixels(raster, rng)) for raster in opened]
    if not (kept := [views_of(model, *part) for part in parts if len(part[1])]):
        raise InputError(f"input={images}: no pixel with data was found; is the images' nodata value right?")
    return Views.joined(kept)


def _valid_pixels(raster: Raster, rng: np.random.Generator) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    rows, cols = (rng.integers(0, side, PER_IMAGE) for side in raster.shape)
    valid = [raster.valid(Window(int(row), int(col), 1, 1)).item() for row, col in zip(rows, cols, strict=True)]
    return rows[valid], cols[valid]
