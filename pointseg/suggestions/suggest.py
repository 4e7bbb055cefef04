"""The points most worth labelling next, as a file for the person who labels them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rasterio.transform import xy

from pointseg import plots, qgis
from pointseg.annotation.identity import elsewhere
from pointseg.config import read
from pointseg.datasets.field import labelled_ground
from pointseg.errors import InputError, counted
from pointseg.files import for_gis, writing
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.prediction import load
from pointseg.prediction.trained import config_file
from pointseg.suggestions.margin import Rules, choose, sample

log = logging.getLogger(__name__)
logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts records

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".csv": None}


def suggest(cfg: DictConfig) -> None:
    """Write the points to `cfg.output`; conf/suggest.yaml says what each key means."""
    output = Path(cfg.output)
    if output.suffix.lower() not in DRIVERS:
        raise InputError(f"output={output}: points are written to {', '.join(DRIVERS)}.")
    if output.exists():
        raise InputError(f"output={output}: exists, and may hold labels; choose another name.")
    rules = Rules(cfg.count, cfg.share, cfg.distance, cfg.seed)
    model = load.load(Path(cfg.run), cfg.checkpoint, cfg.accelerator, flips=False)
    rasters = open_rasters(find(cfg.input, "input"), bands=model.bands)
    batch_size = model.batch_size if cfg.batch_size is None else cfg.batch_size
    _check_places(output, rasters)
    folder = Path(cfg.run) / "points"
    taken = pd.concat([labelled_ground(folder, raster).assign(scene=i) for i, raster in enumerate(rasters)])
    chosen = choose(sample(model, rasters, Raster.valid, batch_size, rules.seed), taken, rules, elsewhere(rasters))
    if chosen.empty:
        raise InputError(
            f"distance={rules.distance:g}: no pixel lies so far from the points that are labelled; lower distance, or "
            "raise share."
        )
    if len(chosen) < rules.count:
        log.warning(
            "Only %s %g pixels apart; for more, lower distance and choose another output.",
            *(counted(len(chosen), "point lies", "points lie"), rules.distance),
        )
    write(chosen, rasters, model.classes, model.palette, output, _column(Path(cfg.run)))
    counts = chosen["predicted"].value_counts()
    listing = ", ".join(f"{model.classes[label]} {counts.get(label, 0)}" for label in range(len(model.classes)))
    log.info("Suggested: %s (%s; predicted %s)", output, counted(len(chosen), "point", "points"), listing)


def _check_places(output: Path, rasters: Sequence[Raster]) -> None:
    """Raises InputError where the images have not the coordinates that such a file needs."""
    if (suffix := output.suffix.lower()) == ".csv":
        return
    if not all(raster.mapped for raster in rasters):
        raise InputError(f"output={output}: the images are not georeferenced; write rows and columns to a .csv.")
    local = [raster for raster in rasters if raster.local]
    if local and suffix == ".geojson":
        raise InputError(f"output={output}: GeoJSON is in degrees, and {local[0].file} has no CRS; write a .gpkg.")
    if 0 < len(local) < len(rasters) or len({raster.crs for raster in local}) > 1:
        raise InputError(
            f"output={output}: {local[0].file} is in coordinates of its own, other than those of other images; write "
            "rows and columns to a .csv, or give the images one at a time."
        )


def _column(run: Path) -> str:
    """The column that names the class in the run's own files of points."""
    if run.suffix == ".onnx":
        return "class"
    return str(read(config_file(run)).annotation.get("column", "class"))


def write(
    chosen: pd.DataFrame,
    rasters: Sequence[Raster],
    classes: Sequence[str],
    palette: plots.Palette,
    output: Path,
    column: str = "class",
) -> None:
    """The points with an empty column for their class, those most worth labelling first.

    Georeferenced ones are in the CRS of the first image; a GeoPackage offers the classes in QGIS.
    """
    chosen = chosen.sort_values("margin", ignore_index=True)
    table = pd.DataFrame(
        {
            column: "",
            "predicted": [classes[label] for label in chosen["predicted"]],
            "margin": chosen["margin"].round(4).to_numpy(),
            "scene": [rasters[scene].id for scene in chosen["scene"]],
            "row": chosen["row"].to_numpy(),
            "col": chosen["col"].to_numpy(),
        }
    )
    driver = DRIVERS[output.suffix.lower()]
    with writing(output) as partial:
        if driver is None:
            table.to_csv(partial, index=False)
        else:
            located = _georeferenced(table, chosen["scene"].to_numpy(), rasters)
            if driver == "GeoJSON":
                located = located.to_crs("EPSG:4326")  # it is in degrees (RFC 7946)
            for_gis(located).to_file(partial, driver=driver, layer=output.stem)
            if driver == "GPKG":
                style = qgis.points_to_label(classes, palette, column, order="margin")
                qgis.save_style(partial, output.stem, style)


def _georeferenced(table: pd.DataFrame, scenes: np.ndarray, rasters: Sequence[Raster]) -> geopandas.GeoDataFrame:
    parts = []
    for scene in np.unique(scenes):
        part = table[scenes == scene]
        x, y = xy(rasters[scene].transform, part["row"].to_numpy(), part["col"].to_numpy())
        located = geopandas.GeoDataFrame(part, geometry=geopandas.points_from_xy(x, y), crs=rasters[scene].crs)
        parts.append(located if located.crs == rasters[0].crs else located.to_crs(rasters[0].crs))
    return geopandas.GeoDataFrame(pd.concat(parts).sort_index(), crs=rasters[0].crs)
