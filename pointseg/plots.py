"""Pictures of scenes and scores, as matplotlib figures (no window is ever opened)."""

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pointseg.types import IGNORE, Points, Scene, whole

Palette = UInt8[np.ndarray, "k 3"]
SIDE = 700  # pixels to which the longer side of a scene is reduced in a picture
MANY = 30  # classes, above which a picture grows no further: they are drawn smaller, and without their numbers
TALLEST = 4  # times the width of a picture, for scenes that are long and narrow
COLUMNS = 8  # of a legend


def colour(classes_at: UInt8[np.ndarray, "h w"], palette: Palette) -> UInt8[np.ndarray, "h w 3"]:
    """A map of class indices in the palette's colours; IGNORE is black."""
    table = np.zeros((IGNORE + 1, 3), np.uint8)
    table[: len(palette)] = palette
    return np.asarray(table[classes_at])


def panel(
    scene: Scene, points: Points | None, prediction: UInt8[np.ndarray, "h w"], palette: Palette, classes: Sequence[str]
) -> Figure:
    """Image, points (where there are any), prediction, truth and errors (red), side by side."""
    window = whole(scene)
    image, truth = scene.image(window), scene.mask(window)
    factor = min(1.0, SIDE / max(scene.shape))
    labelled = truth != IGNORE
    wrong = labelled & (prediction != truth)
    pictures = {
        "image": _reduce(image, factor),
        "points": None if points is None else _reduce(image, factor),
        "prediction": _reduce(colour(prediction, palette), factor, cv2.INTER_NEAREST),
        "truth": _reduce(colour(truth, palette), factor, cv2.INTER_NEAREST),
        f"errors ({wrong.sum() / max(labelled.sum(), 1):.1%})": _reduce(_tint(image, wrong), factor),
    }
    shown = {title: picture for title, picture in pictures.items() if picture is not None}
    aspect = _aspect(scene.shape)
    height = 3.2 * aspect + 0.6 + _legend_height(classes)
    figure = Figure(figsize=(3.2 * len(shown), height), layout="constrained", dpi=130)
    for axes, (title, picture) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
        if title == "points" and points is not None:
            _mark(axes, points, palette, factor)
    figure.suptitle(plain(scene.id), fontsize=9)
    _legend(figure, palette, classes)
    return figure


def plain(name: str) -> str:
    """A name as it is, and no formula where it has dollar signs."""
    return name.replace("$", r"\$")


def _aspect(shape: tuple[int, ...]) -> float:
    """Height by width of a picture of a scene, of which no more is needed of one that is long and narrow."""
    return min(max(shape[0] / shape[1], 1 / TALLEST), TALLEST)


def _legend_height(classes: Sequence[str]) -> float:
    """In inches."""
    return 0.2 * math.ceil(len(classes) / COLUMNS)


def _legend(figure: Figure, palette: Palette, classes: Sequence[str]) -> None:
    handles = [Patch(color=rgb / 255) for rgb in palette]
    names = [plain(name) for name in classes]
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(len(classes), COLUMNS), fontsize=8, frameon=False
    )


def preview(
    image: UInt8[np.ndarray, "h w 3"],
    points: Points,
    class_map: UInt8[np.ndarray, "h w"],
    confidence: UInt8[np.ndarray, "h w"],
    palette: Palette,
    classes: Sequence[str],
) -> Figure:
    """A reduced scene and the points on it (in the reduced frame), its map, and where the map is unsure."""
    pictures = {f"{len(points)} points" if len(points) else "image": image, "map": colour(class_map, palette)}
    figure = Figure(
        figsize=(12, 4 * _aspect(image.shape) + 0.4 + _legend_height(classes)), layout="constrained", dpi=130
    )
    left, middle, right = figure.subplots(1, 3)
    for axes, (title, picture) in zip((left, middle), pictures.items(), strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=10)
    _mark(left, points, palette, 1)
    right.imshow(np.ma.masked_where(class_map == IGNORE, confidence), cmap="magma", vmin=0, vmax=255)
    right.set_title("confidence (bright: sure)", fontsize=10)
    for axes in (left, middle, right):
        axes.axis("off")
    _legend(figure, palette, classes)
    return figure


def _mark(axes: Axes, points: Points, palette: Palette, factor: float) -> None:
    # Many points are drawn small, so that they show their density; few are drawn as clicks.
    size = float(np.clip(3000 / max(len(points), 1), 0.6, 25))
    rim = {"edgecolors": "white", "linewidths": 0.5} if size > 8 else {"linewidths": 0}
    axes.scatter(points.cols * factor, points.rows * factor, size, palette[points.labels] / 255, **rim)


def _reduce(
    picture: UInt8[np.ndarray, "h w 3"], factor: float, interpolation: int = cv2.INTER_AREA
) -> UInt8[np.ndarray, "height width 3"]:
    height, width = (max(round(side * factor), 1) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation))


def _tint(image: UInt8[np.ndarray, "h w 3"], where: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    grey: UInt8[np.ndarray, "h w 3"] = image.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    grey[where] = (220, 30, 30)
    return grey


def confusion(matrices: Mapping[str, Int[np.ndarray, "k k"]], classes: Sequence[str]) -> Figure:
    """Truth × prediction, each row as shares of that truth; a panel for each title."""
    columns = min(3, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    shown = min(len(classes), MANY)
    side = 1.5 + 0.6 * shown
    figure = Figure(figsize=(side * columns + 1, side * rows), layout="constrained", dpi=110)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    names, size = [plain(name) for name in classes], 10 * shown / len(classes)
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=False):
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.set_title(title)
        for (row, col), share in np.ndenumerate(shares if len(classes) <= MANY else np.zeros((0, 0))):
            axes.text(col, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")
    for axes in panels[len(matrices) :]:
        axes.remove()
    figure.supxlabel("prediction")
    figure.supylabel("truth")
    return figure


def counts(numbers: Sequence[int], palette: Palette, classes: Sequence[str]) -> Figure:
    """Labelled points of each class."""
    shown = min(len(classes), MANY)
    figure = Figure(figsize=(1.5 + 0.8 * shown, 3), layout="constrained", dpi=110)
    axes, size = figure.subplots(), 10 * shown / len(classes)
    bars = axes.bar(range(len(classes)), numbers, color=palette / 255, edgecolor="black", linewidth=0.5)
    axes.bar_label(bars, [f"{number:,}" for number in numbers], fontsize=0.8 * size)
    turned = 90 if len(classes) > MANY else 0
    axes.set_xticks(range(len(classes)), [plain(name) for name in classes], fontsize=size, rotation=turned)
    axes.set_ylabel("points in the training scenes")
    return figure


Bins = Float[np.ndarray, "bins"]


def reliability(diagrams: Mapping[str, tuple[Bins, Bins, Bins]]) -> Figure:
    """Accuracy against confidence, a diagram for each title: the bins' shares of the points, confidence, accuracy."""
    figure = Figure(figsize=(3.6 * len(diagrams), 3.8), layout="constrained", dpi=130)
    for axes, (title, (share, confidence, accuracy)) in zip(
        figure.subplots(1, len(diagrams), squeeze=False)[0], diagrams.items(), strict=True
    ):
        width, filled = 1 / len(share), share > 0
        edges = np.arange(len(share)) * width
        axes.bar(edges, share, width, align="edge", color="lightgrey", label="share of the points")
        axes.bar(edges, accuracy, width, align="edge", fill=False, edgecolor="tab:blue", label="accuracy")
        axes.plot(confidence[filled], accuracy[filled], "o", markersize=3, color="tab:blue")
        axes.plot([0, 1], [0, 1], "--", linewidth=1, color="black")
        axes.set(title=title, xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(fontsize=8, loc="upper left")
    return figure


def audit(
    shares: Mapping[str, Float[np.ndarray, "k"]],
    seams: Mapping[str, tuple[float, float]],
    palette: Palette,
    classes: Sequence[str],
) -> Figure:
    """Class shares of each split and, of tiles, the agreement of masks across their cuts and beside them."""
    size = (4.5 * (1 + bool(seams)), 3.2 + _legend_height(classes))
    figure = Figure(figsize=size, layout="constrained", dpi=130)
    axes, *more = figure.subplots(1, 1 + bool(seams), squeeze=False)[0]
    left = np.zeros(len(shares))
    for label in range(len(classes)):
        widths = [values[label] for values in shares.values()]
        axes.barh(list(shares), widths, left=left, color=palette[label] / 255, edgecolor="black", linewidth=0.5)
        left += widths
    axes.set(xlabel="share of the labels", xlim=(0, 1))
    axes.invert_yaxis()
    _legend(figure, palette, classes)
    for beside in more:
        for i, (what, offset) in enumerate({"across the cuts": -0.2, "beside them": 0.2}.items()):
            places = np.arange(len(seams)) + offset
            beside.bar(
                places, [values[i] for values in seams.values()], 0.4, color=("tab:red", "lightgrey")[i], label=what
            )
        beside.set_xticks(range(len(seams)), list(seams), rotation=45, fontsize=8)
        beside.set(title="pixel pairs of equal class", ylim=(0, 1.2))
        beside.legend(fontsize=7, loc="upper right", ncols=2)
    return figure


def assessment(rows: pd.DataFrame, matrix: pd.DataFrame, palette: Palette, unit: str) -> Figure:
    """Areas on the map and estimated, with 95 % intervals, and the error matrix in shares of the area."""
    classes = list(rows.index)
    shown = min(len(classes), MANY)
    names, size = [plain(name) for name in classes], 10 * shown / len(classes)
    figure = Figure(figsize=(5 + 1.2 * shown, 1.8 + 0.6 * shown), layout="constrained", dpi=130)
    left, right = figure.subplots(1, 2)
    places = np.arange(len(classes))
    errors = np.abs(rows[["area_low", "area_high"]].to_numpy().T - rows["area"].to_numpy())
    left.barh(places - 0.2, rows["mapped_area"], 0.36, color=palette / 255, alpha=0.4)
    left.barh(places + 0.2, rows["area"], 0.36, xerr=errors, color=palette / 255, capsize=3)
    left.set_yticks(places, names, fontsize=size)
    left.invert_yaxis()
    left.set_xlabel(f"area, {unit}")
    left.set_title("pale: on the map; full: estimated, with 95 % interval", fontsize=8)
    right.imshow(matrix, cmap="Blues", vmin=0)
    right.set_xticks(places, names, rotation=45, ha="right", fontsize=size)
    right.set_yticks(places, names, fontsize=size)
    right.set(xlabel="truth", ylabel="map")
    right.set_title("shares of the area", fontsize=8)
    for (row, col), share in np.ndenumerate(matrix.to_numpy() if len(classes) <= MANY else np.zeros((0, 0))):
        colour = "white" if share > 0.6 * matrix.to_numpy().max() else "black"
        right.text(col, row, f"{share:.3f}", ha="center", va="center", color=colour, fontsize=8)
    return figure
