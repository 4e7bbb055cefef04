"""Area and accuracy of a map from a labelled sample, as tables, JSON and a picture."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
from jaxtyping import Int
from omegaconf import DictConfig
from pyproj import Geod
from rasterio.transform import rowcol
from tabulate import tabulate

from pointseg import plots
from pointseg.annotation import names
from pointseg.errors import InputError, counted, reading
from pointseg.evaluation.area import Assessment, Sample, assess
from pointseg.evaluation.class_map import HECTARE, OUTSIDE, ClassMap, open_map
from pointseg.evaluation.sample import named
from pointseg.files import writing

log = logging.getLogger(__name__)

DESIGN = ("stratum", "stratum_pixels", "stratum_area", "area", "inclusion")
PLACE = ("lon", "lat")  # of the pixel's centre; samples of earlier versions have none
GAP = 1e-3  # share of the map's area by which that of the strata may differ unsaid
SHOWN = 5  # points that a message lists
FIGURES = {"users_accuracy": "user's accuracy", "producers_accuracy": "producer's accuracy", "f1": "F1"}


def assess_map(cfg: DictConfig) -> None:
    """Write the assessment to the folder `cfg.output`; conf/assess.yaml says what each key means."""
    for key, options in {"unlabelled": ("refuse", "skip"), "others": ("refuse", "keep")}.items():
        if cfg[key] not in options:
            raise InputError(f"{key}={cfg[key]}: choose {' or '.join(options)}.")
    class_map = open_map(Path(cfg.map), named(cfg.classes))
    points = Path(cfg.points)
    table = read(points, class_map, cfg.column)
    table = _with_design(table, class_map, cfg.design, points)
    table = _labelled(table, cfg.unlabelled, points)
    classes = _classes(table, class_map, cfg.others, points)
    sample = sample_of(table, points)
    total = float(sample.areas.sum())
    _compare(total, class_map)
    mapped, truth = table["mapped"].to_numpy(), table["truth"].map(classes.index).to_numpy(np.int64)
    found = assess(sample, mapped, truth, len(classes))
    matrix = pd.DataFrame(found.matrix, pd.Index(classes, name="mapped"), classes)
    overall = {part: float(getattr(found.overall, part)[0]) for part in ("value", "error", "low", "high")}
    counts = _counts(mapped, truth, classes)
    rows = summary(found, class_map, classes, total, counts)
    content = {
        "map": str(class_map.file),
        "points": len(table),
        "unit": class_map.unit,
        "overall_accuracy": overall,
        "classes": rows.astype(object).where(rows.notna(), None).to_dict("records"),
        "matrix": {"classes": classes, "shares": matrix.to_numpy().tolist(), "points": counts.tolist()},
    }
    folder = points.with_name(f"{points.stem}_assessment") if cfg.output is None else Path(cfg.output)
    missed = np.full((len(classes) - len(class_map.classes), 3), 90, np.uint8)  # grey, as they are not on the map
    _write(folder, rows.set_index("class"), matrix, content, np.concatenate([class_map.palette, missed]))
    log.info("%s\nAssessment: %s", text(rows, overall, class_map.unit), folder)


def _counts(mapped: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> Int[np.ndarray, "k k"]:
    """Points by mapped and true class."""
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (mapped, truth), 1)
    return counts


def read(file: Path, class_map: ClassMap, column: str) -> pd.DataFrame:
    """The points: truth (missing where there is no label), mapped (class of the map) and what other columns there are.

    Raises InputError where the file cannot be read, or points lie where the map has no class.
    """
    if not file.is_file():
        raise InputError(f"points={file}: no such file; give the points of pointseg sample, labelled.")
    with reading(file, "points", "give a GeoPackage, GeoJSON or CSV."):
        table = pd.read_csv(file) if file.suffix.lower() == ".csv" else _read_layer(file)
    if column not in table:
        raise InputError(
            f"points={file}: has no column {column!r} for the class; column=<name> names another of {_listed(table)}."
        )
    _check_unmoved(table, file)
    rows, cols = _positions(table, class_map, file)
    spelled = names.unified(names.texts(table[column]), table[column])
    table = pd.DataFrame(table.drop(columns="geometry", errors="ignore"))
    found = {"truth": names.respelled(spelled, class_map.classes), "mapped": class_map.at(rows, cols)}
    table = table.assign(**found, row=rows, col=cols)
    if (lost := table["mapped"] == OUTSIDE).any():
        places = ", ".join(f"row {row}, col {col}" for row, col in zip(rows[lost][:SHOWN], cols[lost], strict=False))
        number = counted(int(lost.sum()), "point lies", "points lie")
        raise InputError(
            f"points={file}: {number} where {class_map.file} has no class ({places}); assess a map of "
            "the ground that the sample was drawn from."
        )
    return table


def _read_layer(file: Path) -> geopandas.GeoDataFrame:
    layers = geopandas.list_layers(file).dropna(subset="geometry_type")["name"].tolist()  # tables of styles have none
    if len(layers) != 1:
        raise ValueError(f"{len(layers)} layers of points ({', '.join(layers)}) in place of one")
    frame = geopandas.read_file(file, layer=layers[0])
    if frame.crs is None or set(frame.geom_type) != {"Point"}:
        raise ValueError(f"{', '.join(map(str, set(frame.geom_type)))} without points, or without a CRS")
    return frame


def _check_unmoved(table: pd.DataFrame, file: Path) -> None:
    """Raises InputError where points of pointseg sample do not lie where they were drawn: their labels would be held
    against other pixels than those of their strata.
    """
    if not isinstance(table, geopandas.GeoDataFrame) or not {*DESIGN, *PLACE} <= set(table):
        return
    degrees = table.to_crs("EPSG:4326").geometry
    lon, lat = (table[name].to_numpy(float) for name in PLACE)
    metres = Geod(ellps="WGS84").inv(lon, lat, degrees.x.to_numpy(), degrees.y.to_numpy())[2]
    side = np.sqrt(table["area"].to_numpy(float) * HECTARE)
    moved = ~(metres <= side / 2)
    if moved.any():
        worst = np.flatnonzero(moved)[0]
        raise InputError(
            f"points={file}: {moved.sum()} of {len(table)} points were moved from where they were drawn, the first "
            f"by {metres[worst]:.3g} m (drawn at lon {lon[worst]:.7f}, lat {lat[worst]:.7f}); put them back to their "
            "columns lon and lat. What was seen elsewhere says nothing about the pixels that were drawn."
        )


def _positions(table: pd.DataFrame, class_map: ClassMap, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that hold the points."""
    if isinstance(table, geopandas.GeoDataFrame):
        if class_map.crs is None:
            raise InputError(f"points={file}: has map coordinates, but {class_map.file} is not georeferenced.")
        places = table.to_crs(class_map.crs).geometry
        rows, cols = rowcol(class_map.transform, places.x.to_numpy(), places.y.to_numpy(), op=np.floor)
        return np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    if not {"row", "col"} <= set(table):
        raise InputError(f"points={file}: a CSV needs the columns row and col; it has {_listed(table)}.")
    return table["row"].to_numpy(np.int64), table["col"].to_numpy(np.int64)


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(str(name) for name in table if name != "geometry")


def _with_design(table: pd.DataFrame, class_map: ClassMap, design: str | None, file: Path) -> pd.DataFrame:
    """The table with the columns of the design: its own, or those that `design` stands for."""
    if design not in (None, "simple", "classes"):
        raise InputError(f"design={design}: choose null, simple or classes.")
    if design is None:
        if absent := [name for name in DESIGN if name not in table]:
            raise InputError(
                f"points={file}: has no column {absent[0]}, which pointseg sample writes. Areas need a probability "
                "sample. If these points were drawn at random over the whole map, say design=simple; if at random "
                "within each of its classes, design=classes. Points that a person chose cannot be used."
            )
        return table
    strata = np.zeros(len(table), np.int64) if design == "simple" else table["mapped"].to_numpy()
    pixels, areas = class_map.counts.sum(0), class_map.areas
    if design == "simple":
        pixels, areas = pixels.sum(keepdims=True), areas.sum(keepdims=True)
    elif unseen := [class_map.classes[i] for i in np.flatnonzero(pixels) if i not in strata]:
        raise InputError(f"points={file}: no point lies where the map says {unseen[0]}; each class needs two at least.")
    drawn = np.bincount(strata, minlength=len(pixels))
    columns = {"stratum": strata, "stratum_pixels": pixels[strata], "stratum_area": areas[strata]}
    columns |= {"area": class_map.pixel_areas[table["row"]], "inclusion": (drawn / np.maximum(pixels, 1))[strata]}
    return table.assign(**columns)


def _labelled(table: pd.DataFrame, rule: str, file: Path) -> pd.DataFrame:
    """The points that have a label. Raises InputError where others are not to be left out."""
    drawn = table.groupby("stratum")[["inclusion", "stratum_pixels"]].first().prod(axis=1).round().sum()
    labelled = table[table["truth"].notna()]
    if lacking := int(drawn) - len(labelled):
        have = "has" if lacking == 1 else "have"
        found = f"points={file}: {lacking} of the {int(drawn)} points that were drawn {have} no class"
        if rule == "refuse" or lacking < 0 or labelled.empty:
            raise InputError(
                f"{found}; label all of them, or, if those left say as much about the map as the others, leave them "
                "out with unlabelled=skip."
                if lacking > 0
                else f"points={file}: has {counted(-lacking, 'point', 'points')} more than were drawn; remove them."
            )
        log.warning("%s. They are left out, as if they had been left out at random.", found)
    return labelled


def _classes(table: pd.DataFrame, class_map: ClassMap, rule: str, file: Path) -> list[str]:
    """Those of the map, and after them those that only the points have."""
    others = sorted(set(table["truth"]) - set(class_map.classes))
    if others and rule == "refuse":
        raise InputError(
            f"points={file}: has classes that are not on the map: {', '.join(others)}. Mend them (the map has "
            f"{', '.join(class_map.classes)}), or let them be classes that it misses with others=keep."
        )
    return [*class_map.classes, *others]


def sample_of(table: pd.DataFrame, file: Path) -> Sample:
    """Raises InputError where the columns of the design contradict each other, or a stratum has too few points."""
    codes, names = pd.factorize(table["stratum"])
    groups = table.groupby(codes)
    with reading(file, "a sample", "restore its columns as pointseg sample wrote them."):
        numbers = table[list(DESIGN[1:])].to_numpy(float)
        if not (np.isfinite(numbers) & (numbers > 0)).all() or (groups[list(DESIGN[1:3])].nunique() > 1).any(axis=None):
            raise ValueError("the pixels and the area of a stratum are not one number above 0")
    pixels, areas = (groups[name].first().to_numpy(float) for name in DESIGN[1:3])
    counts = groups.size().to_numpy()
    if len(few := np.flatnonzero((counts < 2) & (pixels > counts))):
        raise InputError(f"points={file}: stratum {names[few[0]]} has one labelled point; two at least are needed.")
    if len(many := np.flatnonzero(counts > pixels)):
        raise InputError(f"points={file}: stratum {names[many[0]]} has more points than pixels; a pixel stands twice.")
    return Sample(codes, pixels, areas, table["area"].to_numpy(float))


def _compare(total: float, class_map: ClassMap) -> None:
    """Tell of strata that are missing, which would make areas wrong without a sign of it."""
    whole = float(class_map.areas.sum())
    if abs(total - whole) > GAP * whole:
        log.warning(
            "The strata of the points cover %s %s, the map %s: the sample is of other ground, or lacks strata.",
            *(f"{total:,.1f}", class_map.unit, f"{whole:,.1f}"),
        )


def summary(
    found: Assessment, class_map: ClassMap, classes: Sequence[str], total: float, counts: Int[np.ndarray, "k k"]
) -> pd.DataFrame:
    """A row for each class: points, its area on the map, and each figure with standard error and interval.

    total: the area of all strata. counts: points by mapped and true class.
    """
    mapped = np.zeros(len(classes))
    mapped[: len(class_map.classes)] = class_map.areas
    figures = {"area": found.shares.times(total)}
    figures |= {"users_accuracy": found.users, "producers_accuracy": found.producers, "f1": found.f1}
    columns: dict[str, Any] = {"class": list(classes), "points_mapped": counts.sum(1), "points_true": counts.sum(0)}
    columns |= {"unit": class_map.unit, "mapped_area": mapped}
    for name, figure in figures.items():
        columns |= {name: figure.value, f"{name}_error": figure.error}
        columns |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
    return pd.DataFrame(columns)


def text(rows: pd.DataFrame, overall: dict[str, float], unit: str) -> str:
    """The figures, their standard errors and 95 % intervals, for a terminal."""
    size = ",.0f" if unit == "pixels" else ",.2f"
    head = ["", "points\nmapped so", "points\ntruly so", f"mapped,\n{unit}", f"estimated,\n{unit}"]
    doubt = ["standard\nerror", "95 % interval"]
    head_columns = ("class", "points_mapped", "points_true")
    areas = [
        [*(row[name] for name in head_columns), format(row["mapped_area"], size), *_cells(row, "area", size)]
        for row in rows.to_dict("records")
    ]
    accuracies = [
        [row["class"], title, *_cells(row, name, ".3f")]
        for row in rows.to_dict("records")
        for name, title in FIGURES.items()
    ]
    whole = {"overall": overall["value"]} | {f"overall_{part}": overall[part] for part in ("error", "low", "high")}
    accuracies.append(["", "overall accuracy", *_cells(whole, "overall", ".3f")])
    return f"{_aligned(areas, [*head, *doubt])}\n\n{_aligned(accuracies, ['', '', '', *doubt], words=2)}"


def _cells(row: Mapping[str, Any], name: str, form: str) -> list[str]:
    """A figure, its standard error and its interval."""
    value, error, low, high = (format(row[f"{name}{part}"], form) for part in ("", "_error", "_low", "_high"))
    return ["none", "", ""] if value == "nan" else [value, error, f"{low} to {high}"]


def _aligned(rows: list[list[Any]], head: list[str], words: int = 1) -> str:
    """words: number of columns that hold words."""
    sides = ["left"] * words + ["right"] * (len(head) - words)
    return str(tabulate(rows, head, tablefmt="plain", disable_numparse=True, colalign=sides))


def _write(
    folder: Path, rows: pd.DataFrame, matrix: pd.DataFrame, content: dict[str, Any], palette: plots.Palette
) -> None:
    """All four files, or none: those of two assessments side by side would look like one."""
    with ExitStack() as stack:
        classes, shares, everything, picture = (
            stack.enter_context(writing(folder / name))
            for name in ("classes.csv", "matrix.csv", "assessment.json", "assessment.png")
        )
        rows.to_csv(classes)
        matrix.to_csv(shares)
        everything.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        plots.assessment(rows, matrix, palette, content["unit"]).savefig(picture)
