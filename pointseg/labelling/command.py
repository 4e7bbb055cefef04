"""pointseg label: from its configuration to the page."""

import copy
import logging
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pointseg.annotation.readers.labels import Columns
from pointseg.config import values
from pointseg.datasets.field import label_files
from pointseg.errors import InputError
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.labelling.features import Features
from pointseg.labelling.jobs import Jobs
from pointseg.labelling.learner import Learner
from pointseg.labelling.others import Others
from pointseg.labelling.session import Session, open_points
from pointseg.models.frozen import Frozen
from pointseg.models.networks import build_network, fold_norms

log = logging.getLogger(__name__)

MEGABYTE = 10**6


def label(cfg: DictConfig) -> None:
    """Serve the page until it is ended; conf/label.yaml says what each key means."""
    logging.getLogger("pointseg.training.head").setLevel(logging.WARNING)  # it speaks at each fit
    # NiceGUI looks at every object of the process to find its server, torch's old names among them.
    warnings.filterwarnings("ignore", message=".*reduce_op.*")
    try:
        from pointseg.labelling.server import serve  # before any file is made
    except ImportError as error:
        raise InputError(
            f"The labelling page needs the extra `label` (missing: {error.name}); pip install 'pointseg[label]'."
        ) from error
    session, learner, jobs = prepare(cfg)
    serve(session, learner, jobs, cfg.host, cfg.port, cfg.show)


def prepare(cfg: DictConfig) -> tuple[Session, Learner, Jobs]:
    """All but the server. Raises InputError for images, points or a model that cannot be used."""
    if not 0 <= cfg.overlap < cfg.window_size or min(cfg.memory, cfg.survey, cfg.per_shape) < 1:
        raise InputError(
            f"window_size={cfg.window_size}, overlap={cfg.overlap}, memory={cfg.memory}, survey={cfg.survey}, "
            f"per_shape={cfg.per_shape}: give an overlap from 0 to less than window_size, and 1 at least of the others."
        )
    files = find(_plain(cfg.images), "images")
    scenes = open_rasters(files, cfg.bands)
    points = open_points(Path(cfg.points), scenes, cfg.column, cfg.layer)
    others = None
    if cfg.others is not None:
        columns = Columns(cfg.column, points.layers)
        others = Others(label_files(_plain(cfg.others)), scenes, columns, cfg.per_shape)
    session = Session(scenes, points, _plain(cfg.classes), cfg.per_shape, others)
    network = frozen_network(values(cfg, "model")["model"], scenes[0].bands)
    features = Features(network, scenes, cfg.window_size, cfg.overlap, cfg.memory * MEGABYTE)
    learner = Learner(session, features, cfg.survey * MEGABYTE)
    return session, learner, Jobs(_settings(cfg, [str(file) for file in files.values()]), Path(cfg.output))


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def frozen_network(node: dict[str, Any], bands: Any) -> Frozen:
    """The features of `model`, with normalisation folded in. Raises InputError for networks that have to be trained."""
    network = build_network(node, 2, bands)  # of whose head nothing is used
    if not isinstance(network, Frozen):
        raise InputError("model: the page needs model=frozen; other networks take minutes to train.")
    return fold_norms(copy.deepcopy(network)).eval()


def _settings(cfg: DictConfig, images: list[str]) -> dict[str, Any]:
    """What `train` is given, so that the run is of the same features on the same points."""
    return {
        "model": _plain(cfg.model),
        "dataset": {"images": images, "bands": _plain(cfg.bands)},
        "annotation": {"column": cfg.column, "per_shape": cfg.per_shape},
        "crop_size": cfg.window_size,
        "overlap": cfg.overlap,
    }
