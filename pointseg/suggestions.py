"""The points most worth labelling next (margin sampling; PixelPick, Shin et al. 2021, section 3).

Drawn at random from the pixels of smallest margin, because the very smallest lie side by side on one
outline; equally many of each predicted class, because a rare class is what a network lacks.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rasterio.transform import xy
from tqdm import tqdm

from pointseg import loading
from pointseg.datasets.scenes import kept_points
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.inference import predict_scene, strips
from pointseg.rasters import Raster, find, open_rasters
from pointseg.trained import Trained

log = logging.getLogger(__name__)

SAMPLE = 1_000_000  # pixels, drawn at random over all scenes, among which the most uncertain are looked for
DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".csv": None}


@dataclass(frozen=True)
class Rules:
    """How points are chosen; conf/suggest.yaml says what each means. Raises InputError where they cannot be."""

    count: int
    share: float
    distance: float
    seed: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.share <= 1 or self.distance < 0:
            raise InputError(
                f"count={self.count}, share={self.share}, distance={self.distance}: give 1 point at least, a share in "
                "(0, 1] and a distance from 0 on."
            )


def suggest(cfg: DictConfig) -> None:
    """Write the points to `cfg.output`; conf/suggest.yaml says what each key means."""
    output = Path(cfg.output)
    if output.suffix.lower() not in DRIVERS:
        raise InputError(f"output={output}: points are written to {', '.join(DRIVERS)}.")
    if output.exists():
        raise InputError(f"output={output}: exists, and may hold labels; choose another name.")
    rules = Rules(cfg.count, cfg.share, cfg.distance, cfg.seed)
    model = loading.load(Path(cfg.run), cfg.checkpoint, cfg.accelerator, flips=False)
    rasters = open_rasters(find(cfg.input, "input"), bands=model.bands)
    batch_size = model.batch_size if cfg.batch_size is None else cfg.batch_size
    if output.suffix.lower() != ".csv" and any(raster.crs is None for raster in rasters):
        raise InputError(f"output={output}: the images are not georeferenced; write rows and columns to a .csv.")
    folder = Path(cfg.run) / "points"
    taken = pd.concat([kept_points(folder, raster).assign(scene=i) for i, raster in enumerate(rasters)])
    chosen = choose(sample(model, rasters, batch_size, rules.seed), taken, rules)
    if len(chosen) < rules.count:
        log.warning("Only %d points lie %g pixels apart; lower distance for more.", len(chosen), rules.distance)
    write(chosen, rasters, model.classes, output)
    counts = chosen["predicted"].value_counts()
    listing = ", ".join(f"{model.classes[label]} {counts.get(label, 0)}" for label in range(len(model.classes)))
    log.info("Suggested: %s (%d points; predicted %s)", output, len(chosen), listing)


def sample(model: Trained, rasters: Sequence[Raster], batch_size: int, seed: int) -> pd.DataFrame:
    """About SAMPLE random pixels with data: scene (index), row, col, predicted, margin.

    The margin is the probability of the best class less that of the next, in [0, 1].
    """
    rng = np.random.default_rng(seed)
    rate = SAMPLE / sum(raster.shape[0] * raster.shape[1] for raster in rasters)
    parts = []
    for scene, raster in enumerate(rasters):
        blocks = predict_scene(
            model.predict,
            raster,
            model.tile_size,
            model.overlap,
            batch_size,
            model.device,
            wanted=lambda window, raster=raster: bool(raster.valid(window).any()),  # type: ignore[misc]
        )
        total = len(strips(raster.shape[0], model.tile_size, model.overlap))
        progress = tqdm(desc=f"looking at {raster.id}", total=total, unit="strip", disable=None)
        for window, values in blocks:
            best, classes = values.topk(2, dim=0)
            margin = (best[0] - best[1]).cpu().numpy()
            drawn = (rng.random(margin.shape) < rate) & raster.valid(window)
            rows, cols = np.nonzero(drawn)
            part = {"row": rows + window.row, "col": cols + window.col, "margin": margin[drawn]}
            parts.append(pd.DataFrame({**part, "predicted": classes[0].cpu().numpy()[drawn], "scene": scene}))
            progress.update(window.col == 0)
        progress.close()
    if not sum(map(len, parts)):
        raise InputError("input: no pixel of the images holds data.")
    return pd.concat(parts, ignore_index=True)


def choose(pixels: pd.DataFrame, taken: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """`rules.count` of the pixels: in turn one of each predicted class, at random from its most uncertain.

    None lies nearer than `rules.distance` to another or to one that is `taken`; there may be fewer then.
    """
    rng = np.random.default_rng(rules.seed)
    queues = []
    for _, of_class in pixels.groupby("predicted"):
        uncertain = of_class.nsmallest(max(round(rules.share * len(of_class)), 1), "margin")
        queues.append(iter(uncertain.sample(frac=1, random_state=rng).itertuples()))
    near = {scene: list(zip(rows["row"], rows["col"], strict=True)) for scene, rows in taken.groupby("scene")}
    chosen: list[int] = []
    while queues and len(chosen) < rules.count:
        queue = queues.pop(0)
        for pixel in queue:
            others = near.setdefault(pixel.scene, [])
            if not others or np.hypot(*(np.array(others) - (pixel.row, pixel.col)).T).min() >= rules.distance:
                others.append((pixel.row, pixel.col))
                chosen.append(pixel.Index)
                queues.append(queue)  # its class waits for its next turn; one that has run out does not come back
                break
    return pixels.loc[chosen]


def write(chosen: pd.DataFrame, rasters: Sequence[Raster], classes: Sequence[str], output: Path) -> None:
    """The points with an empty column `class`, to be filled in; georeferenced ones in the CRS of the first image."""
    table = pd.DataFrame(
        {
            "class": "",
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
            crs = "EPSG:4326" if driver == "GeoJSON" else rasters[0].crs  # GeoJSON is in degrees (RFC 7946)
            located = _georeferenced(table, chosen["scene"].to_numpy(), rasters).to_crs(crs)
            located.to_file(partial, driver=driver, layer=output.stem)


def _georeferenced(table: pd.DataFrame, scenes: np.ndarray, rasters: Sequence[Raster]) -> geopandas.GeoDataFrame:
    parts = []
    for scene in np.unique(scenes):
        part = table[scenes == scene]
        x, y = xy(rasters[scene].transform, part["row"].to_numpy(), part["col"].to_numpy())
        located = geopandas.GeoDataFrame(part, geometry=geopandas.points_from_xy(x, y), crs=rasters[scene].crs)
        parts.append(located.to_crs(rasters[0].crs))
    return geopandas.GeoDataFrame(pd.concat(parts), crs=rasters[0].crs)
