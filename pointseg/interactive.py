"""pointseg in notebooks and scripts: the commands as functions of Python.

import pointseg

model = pointseg.fit("site/*.tif", "field.gpkg", folder="outputs/field")
model.score()
model.predict("site/a.tif", "a_map.tif")

Every method calls what the command of its name calls, with the same keys; a model is a run's folder, so that both can
go on with what the other has made. Paths are relative to the working directory.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas
import pandas as pd
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from pointseg import metrics
from pointseg.config import CONF, check_keys
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.maps.predict import predict
from pointseg.prediction.trained import config_file
from pointseg.suggestions.suggest import suggest
from pointseg.training.train import train

Names = str | Path | Sequence[str | Path]


def fit(
    images: Names, points: Names, column: str = "class", folder: str | Path | None = None, overrides: Sequence[str] = ()
) -> "Model":
    """A model of labelled points on imagery, as `pointseg train experiment=field` fits it.

    images: files, folders or patterns. points: files of points, whose `column` names the class.
    folder: of the run; None: a temporary one, which is gone with the model unless it is saved.
    overrides: further keys of the command, such as "model.encoder=null".

    Raises InputError for input that cannot be used.
    """
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", ["experiment=field", *overrides], return_hydra_config=True)
    choices = dict(composed.hydra.runtime.choices)
    cfg = OmegaConf.masked_copy(composed, [str(key) for key in composed if key not in ("hydra", "experiment")])
    cfg.dataset.images, cfg.points, cfg.annotation.column = _listed(images), _listed(points), column
    temporary = TemporaryDirectory(prefix="pointseg_") if folder is None else None
    run = Path(temporary.name) / "run" if temporary else Path(str(folder))
    train(cfg, run, choices)
    return Model(run, temporary)


def load(folder: str | Path) -> "Model":
    """The model in a run's folder. Raises InputError where that is none."""
    config_file(Path(folder))
    return Model(Path(folder))


class Model:
    """A run's folder, and what can be done with it."""

    def __init__(self, folder: Path, temporary: "TemporaryDirectory[str] | None" = None) -> None:
        self.folder = folder
        self._temporary = temporary  # kept: the folder goes with it

    def __repr__(self) -> str:
        return f"<pointseg model in {self.folder}>"

    def score(self, split: str = "val", **options: Any) -> pd.DataFrame:
        """The scores at points held out: score, value and, where there are, the ends of a 95 % interval."""
        cfg = self._config("evaluate", split=split, **options)
        scores = evaluate(
            self.folder, cfg.split, cfg.checkpoint, cfg.overrides, cfg.colour_baseline, calibrated=cfg.calibrated
        )
        ends = {end for name in scores for end in metrics.ends(name)}
        rows = [[name, scores[name], *map(scores.get, metrics.ends(name))] for name in scores if name not in ends]
        return pd.DataFrame(rows, columns=["score", "value", "low", "high"]).set_index("score")

    def predict(self, input: Names, output: str | Path, **options: Any) -> list[Path]:
        """Map images; the maps' files. options: further keys of the command, such as polygons=True."""
        return predict(self._config("predict", input=_listed(input), output=str(output), **options))

    def suggest(self, input: Names, count: int = 50, output: str | Path | None = None, **options: Any) -> pd.DataFrame:
        """The points most worth labelling next, those worth most first; written to `output` too, if it is given.

        Of georeferenced images they are a GeoDataFrame.
        """
        plain = any(raster.crs is None for raster in open_rasters(find(_listed(input), "input")))
        with TemporaryDirectory() as folder:
            file = Path(folder) / f"next.{'csv' if plain else 'gpkg'}" if output is None else Path(output)
            suggest(self._config("suggest", input=_listed(input), count=count, output=str(file), **options))
            return pd.read_csv(file) if file.suffix.lower() == ".csv" else geopandas.read_file(file, layer=0)

    def show(self, input: str | Path, **options: Any) -> Image.Image:
        """A picture of an image with the model's points, its map, and where the map is unsure."""
        (raster,) = open_rasters(find(str(input), "input"))
        with TemporaryDirectory() as folder:
            (file,) = self.predict(input, Path(folder) / f"map.{'png' if raster.crs is None else 'tif'}", **options)
            with Image.open(file.with_name(f"{file.stem}_preview.jpg")) as picture:
                picture.load()
                return picture.copy()

    def save(self, folder: str | Path) -> None:
        """Keep the run in `folder`, which must not be there yet."""
        if Path(folder).exists():
            raise InputError(f"{folder}: exists; choose another folder.")
        shutil.copytree(self.folder, folder)
        self.folder = Path(folder)

    def _config(self, command: str, **values: Any) -> DictConfig:
        """That of the command, with its defaults."""
        stored: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{command}.yaml"))
        own = {key: value for key, value in stored.items() if key not in ("defaults", "hydra")}
        cfg = OmegaConf.create(own | {"run": str(self.folder)} | values)
        check_keys(cfg, command)
        return cfg


def _listed(names: Names) -> list[str]:
    return [str(names)] if isinstance(names, str | Path) else [str(name) for name in names]
