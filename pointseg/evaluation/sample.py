"""Which pixels of a map a person looks at, so that its areas and accuracy can be estimated: a probability sample.

At random without replacement from each class of the map (Olofsson et al. 2014, section 3). The file does not say what
the map shows at a point, so that whoever labels it is not led: strata have numbers in no order.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
from jaxtyping import Float, Int
from omegaconf import DictConfig, OmegaConf
from rasterio.transform import xy

from pointseg import qgis
from pointseg.errors import InputError
from pointseg.evaluation.class_map import ClassMap, open_map
from pointseg.files import writing

log = logging.getLogger(__name__)
logging.getLogger("pyogrio").setLevel(logging.WARNING)  # it counts records

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".csv": None}
ALLOCATIONS = ("neyman", "proportional", "equal")
MOST = 10_000  # points that an error may ask for, as nobody labels more; count may ask for any number
ASSUMED = 0.8  # user's accuracy where nothing is known of it

Strata = Float[np.ndarray, "h"]


def sample(cfg: DictConfig) -> None:
    """Write the points to `cfg.output`; conf/sample.yaml says what each key means."""
    output = Path(cfg.output)
    if output.suffix.lower() not in DRIVERS:
        raise InputError(f"output={output}: points are written to {', '.join(DRIVERS)}.")
    if output.exists():
        raise InputError(f"output={output}: exists, and may hold labels; choose another name.")
    class_map = open_map(Path(cfg.map), named(cfg.classes))
    if (class_map.crs is None) != (output.suffix.lower() == ".csv"):
        kind = "not georeferenced; write rows and columns to a .csv" if class_map.crs is None else "georeferenced"
        raise InputError(f"output={output}: the map is {kind}{'' if class_map.crs is None else '; write a .gpkg'}.")
    pixels = class_map.counts.sum(0)
    if not pixels.any():
        raise InputError(f"map={class_map.file}: holds no pixel with a class.")
    expected = _accuracies(cfg.accuracy, class_map)
    numbers = _numbers(cfg, pixels, expected)
    table = draw(class_map, numbers, np.random.default_rng(cfg.seed))
    labels = class_map.classes if cfg.labels is None else tuple(map(str, cfg.labels))
    write(table, class_map, labels, output)
    listing = ", ".join(f"{name} {number}" for name, number in zip(class_map.classes, numbers, strict=True))
    log.info(
        "Sample: %s (%d points; mapped as %s). Expected standard error of the overall accuracy: %.3f. Label every "
        "point by what is on the ground, then: pointseg assess map=%s points=%s",
        *(output, numbers.sum(), listing, expected_error(numbers, pixels, expected), cfg.map, output),
    )


def named(classes: Any) -> dict[str, int] | None:
    """The option `classes`. Raises InputError where it gives no values."""
    if classes is None:
        return None
    found = OmegaConf.to_container(classes) if OmegaConf.is_config(classes) else classes
    if not isinstance(found, Mapping):
        raise InputError(f"classes={found}: give the map's value of each class, as in classes={{water: 1, land: 2}}.")
    return {str(name): value for name, value in found.items()}


def _numbers(cfg: DictConfig, pixels: Int[np.ndarray, "h"], expected: Strata) -> Int[np.ndarray, "h"]:
    """Points of each class: `count` of them, or as few as keep the expected error."""
    if cfg.allocation not in ALLOCATIONS:
        raise InputError(f"allocation={cfg.allocation}: choose {', '.join(ALLOCATIONS)}.")
    if (cfg.count is None) == (cfg.error is None):
        raise InputError("Give either count, the number of points, or error, the standard error to be reached.")
    if cfg.count is not None:
        return allocate(cfg.count, cfg.allocation, pixels, expected, cfg.least)
    if not 0 < cfg.error < 1:
        raise InputError(f"error={cfg.error}: give a standard error of the overall accuracy, such as 0.02.")

    def error_of(count: int) -> float:
        return expected_error(allocate(count, cfg.allocation, pixels, expected, cfg.least), pixels, expected)

    low, high = int(np.minimum(pixels, cfg.least).sum()), int(min(MOST, pixels.sum()))
    if (reached := error_of(high)) > cfg.error:
        needed = high * (reached / cfg.error) ** 2
        raise InputError(
            f"error={cfg.error}: would take about {needed:,.0f} points of a map of {pixels.sum():,} pixels; {high:,} "
            f"give an error of {reached:.2g}. Give a larger error, or in count as many points as you mean to label."
        )
    while low < high:  # the smallest number that is enough
        middle = (low + high) // 2
        low, high = (low, middle) if error_of(middle) <= cfg.error else (middle + 1, high)
    return allocate(low, cfg.allocation, pixels, expected, cfg.least)


def allocate(count: int, how: str, pixels: Int[np.ndarray, "h"], expected: Strata, least: int) -> Int[np.ndarray, "h"]:
    """`count` points over strata of so many pixels: `least` in each, if it has them, and none more than it has.

    equal: as many in each. proportional: by pixels. neyman: by pixels times the deviation that is expected of a
    pixel's being right, which gives the overall accuracy its smallest error (Cochran 1977, equation 5.26).
    Raises InputError where the least are more than `count`, or the map has fewer pixels.
    """
    lowest = np.minimum(pixels, least)
    if least < 2 or not lowest.sum() <= count <= pixels.sum():
        raise InputError(
            f"count={count}, least={least}: give at least 2 points for each of the {np.count_nonzero(pixels)} classes "
            f"on the map, {lowest.sum()} in all with this least, and no more than its {pixels.sum():,} pixels."
        )
    weights = {"equal": pixels > 0, "proportional": pixels, "neyman": pixels * _deviation(expected)}[how].astype(float)
    low, high = 0.0, float(pixels.max() / weights[weights > 0].min())  # of the factor, for any `count`
    for _ in range(200):
        factor = (low + high) / 2
        enough = np.clip(factor * weights, lowest, pixels).sum() >= count
        low, high = (low, factor) if enough else (factor, high)
    wanted = np.clip(high * weights, lowest, pixels)
    numbers = np.floor(wanted).astype(np.int64)
    rest = np.argsort(numbers - wanted, kind="stable")[: count - numbers.sum()]
    numbers[rest] += 1
    return np.asarray(numbers)


def expected_error(numbers: Int[np.ndarray, "h"], pixels: Int[np.ndarray, "h"], expected: Strata) -> float:
    """The standard error of the overall accuracy (Olofsson et al. 2014, equation 6), if accuracies are as expected."""
    there = numbers > 0
    shares = pixels[there] / pixels.sum()
    return float(np.sqrt(np.sum((shares * _deviation(expected[there])) ** 2 / numbers[there])))


def _deviation(accuracy: Strata) -> Strata:
    return np.asarray(np.sqrt(accuracy * (1 - accuracy)))


def _accuracies(given: Any, class_map: ClassMap) -> Strata:
    """The user's accuracy that is expected of each class: as given, or as sure as the map is."""
    if given is None:
        return _confidences(class_map)
    found = OmegaConf.to_container(given) if OmegaConf.is_config(given) else given
    each = found if isinstance(found, Mapping) else dict.fromkeys(class_map.classes, found)
    numbers = [each.get(name) for name in class_map.classes]
    if set(each) != set(class_map.classes) or not all(isinstance(n, int | float) and 0 < n < 1 for n in numbers):
        raise InputError(
            f"accuracy={found}: give one number between 0 and 1, or one for each class "
            f"({', '.join(class_map.classes)})."
        )
    return np.array(numbers, float)


def _confidences(class_map: ClassMap) -> Strata:
    """The mean confidence in each class, of the file that predict writes beside a map."""
    file = class_map.file.with_stem(f"{class_map.file.stem}_confidence")
    if not file.is_file():
        log.info("No %s: each class is expected to be %.0f %% right; accuracy=… says otherwise.", file, 100 * ASSUMED)
        return np.full(len(class_map.classes), ASSUMED)
    sums = np.zeros(len(class_map.classes))
    with rasterio.open(file) as dataset:
        for first, labels in class_map.strips():
            window = rasterio.windows.Window(0, first, labels.shape[1], labels.shape[0])
            sure = dataset.read(1, window=window).astype(float) / 255
            sums += np.bincount(labels[labels >= 0], sure[labels >= 0], len(sums))
    means = sums / np.maximum(class_map.counts.sum(0), 1)
    return np.asarray(means.clip(0.01, 0.99))  # no class is beyond doubt


def draw(class_map: ClassMap, numbers: Int[np.ndarray, "h"], rng: np.random.Generator) -> pd.DataFrame:
    """The pixels, in random order: row, col, and the columns of the design.

    stratum: a number that does not tell the class. stratum_pixels, stratum_area: of the whole stratum. area: of the
    pixel. inclusion: the probability with which it was drawn.
    """
    codes = rng.permutation(len(numbers)) + 1
    parts = []
    for label, number in enumerate(numbers):
        if number:
            rows, cols = _pixels(class_map, label, int(number), rng)
            total = class_map.counts[:, label].sum()
            part = {"row": rows, "col": cols, "stratum": codes[label], "stratum_pixels": total}
            part |= {"stratum_area": class_map.areas[label], "area": class_map.pixel_areas[rows]}
            parts.append(pd.DataFrame(part | {"inclusion": number / total}))
    return pd.concat(parts).sample(frac=1, random_state=rng).reset_index(drop=True)


def _pixels(
    class_map: ClassMap, label: int, number: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Rows and columns of pixels of the class: ranks are drawn among all of them, and found again in their rows."""
    ends = np.cumsum(class_map.counts[:, label])
    ranks = np.sort(rng.choice(ends[-1], number, replace=False))
    rows = np.searchsorted(ends, ranks, side="right")
    before = ends[rows] - class_map.counts[rows, label]
    cols = np.empty_like(rows)
    for row in np.unique(rows):
        at = rows == row
        cols[at] = np.flatnonzero(class_map.read(int(row), 1)[0] == label)[(ranks - before)[at]]
    return rows, cols


def write(table: pd.DataFrame, class_map: ClassMap, labels: tuple[str, ...], output: Path) -> None:
    """The points with an empty column `class`; in a GeoPackage it offers the labels."""
    driver = DRIVERS[output.suffix.lower()]
    table = table.assign(number=np.arange(1, len(table) + 1), **{"class": ""})
    design = [name for name in table if name not in ("number", "class", "row", "col")]
    with writing(output) as partial:
        if driver is None:
            table[["number", "class", "row", "col", *design]].to_csv(partial, index=False)
            return
        x, y = xy(class_map.transform, table["row"].to_numpy(), table["col"].to_numpy())
        points = geopandas.points_from_xy(x, y, crs=class_map.crs)
        if class_map.crs is not None and class_map.crs.geodetic_crs is not None:
            degrees = points.to_crs("EPSG:4326")
            table = table.assign(lon=degrees.x, lat=degrees.y)  # by which assess knows a point that was moved
            design += ["lon", "lat"]
        located = geopandas.GeoDataFrame(table[["number", "class", *design]], geometry=points)
        located = located.to_crs("EPSG:4326") if driver == "GeoJSON" else located  # in degrees (RFC 7946)
        located.to_file(partial, driver=driver, layer=output.stem)
        if driver == "GPKG":
            palette = class_map.palette if labels == class_map.classes else None
            qgis.save_style(partial, output.stem, qgis.points_to_label(labels, palette, "class", hidden=design))
