"""The figures of an experiment's folder."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from pointseg import plots
from pointseg.files import writing
from pointseg.prediction.windows import paste, predict_scene
from pointseg.reports import curves
from pointseg.reports.statistics import confidence
from pointseg.reports.sweeps import Run
from pointseg.training import runs
from pointseg.training.data import PointData
from pointseg.training.system import PointSeg
from pointseg.types import IGNORE, Scene

Arms = Sequence[tuple[str, pd.DataFrame]]
"""An arm in words, and its runs by seed."""

SPLIT_OF = {"validation": "val", "test": "test"}  # in noise.csv
PAIRS = 5000  # of neighbouring pixels; the agreement of fewer says little of a whole split
PANELS = {"miou_all_classes": "validation mIoU", "accuracy": "validation accuracy", "loss": "validation loss"}


def save(figure: Figure, file: Path, *kinds: str) -> None:
    """As `file` with each of `kinds`, png or svg; an SVG is the same every time it is drawn."""
    for kind in kinds:
        with writing(Path(f"{file}.{kind}")) as partial, mpl.rc_context({"svg.hashsalt": "pointseg"}):
            figure.savefig(partial, dpi=130, metadata={"Date": None} if kind == "svg" else None)


def learning_curves(arms: Arms, epochs: pd.DataFrame) -> Figure:
    """Of learning_curves.csv: mean over seeds, with a band from the lowest to the highest."""
    figure = Figure(figsize=(4.2 * len(PANELS), 3.6 + 0.2 * len(arms)), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        _lines(axes, [(name, epochs[epochs.run.isin(members.run)]) for name, members in arms], "epoch", column)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    return figure


def score_against_budget(arms: Arms, splits: Mapping[str, str], noise: pd.DataFrame) -> Figure:
    """mIoU over land cover against the training points, a line an arm: mean over seeds with its 95 % interval.

    An arm's runs differ in seed and budget. splits: a panel for each, from its column. noise: of noise.csv; how far
    neighbouring masks agree, as lines.
    """
    figure, panels = _against_budget(arms, {f"{split} mIoU, land cover": column for split, column in splits.items()})
    for axes, split in zip(panels, splits, strict=True):
        along = noise[(noise.split == SPLIT_OF[split]) & (noise.pairs >= PAIRS)] if len(noise) else noise
        for row, style in zip(along.itertuples(), cycle(("--", ":", "-.", (0, (1, 5)))), strict=False):
            name = f"masks along the cuts of tiles{'' if pd.isna(row.setting) else f', {row.setting}'}"
            axes.axhline(row.miou_land_cover, color="grey", linestyle=style, label=name)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def iou_per_class_against_budget(arms: Arms) -> Figure:
    """As score_against_budget, a panel for each class: IoU at the best epoch, on the validation split."""
    classes = [column for column in arms[0][1] if column.startswith("iou/")]
    figure, panels = _against_budget(arms, {f"IoU, {column.partition('/')[2]}": column for column in classes})
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _against_budget(arms: Arms, measures: Mapping[str, str]) -> tuple[Figure, list[Axes]]:
    """A panel for each title and its column."""
    columns = min(3, len(measures))
    rows = math.ceil(len(measures) / columns)
    figure = Figure(figsize=(12.8, (4 if columns < 3 else 3) * rows + 0.2 * len(arms)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    ticks = curves.points(pd.concat([members for _, members in arms]))
    for axes, (title, column) in zip(panels, measures.items(), strict=False):
        for name, members in arms:
            scores = curves.by_points(members.reset_index(), column)
            mean, half = np.transpose([confidence(row.dropna().tolist()) for _, row in scores.iterrows()])
            axes.errorbar(scores.index, mean, yerr=half, marker=".", capsize=3, label=name)
        axes.set(xscale="log", xlabel="labelled training pixels", ylabel=title)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(ticks, [f"{points:,.0f}" for points in ticks], rotation=30)
        axes.grid(alpha=0.3)
    for axes in panels[len(measures) :]:
        axes.remove()
    return figure, list(panels[: len(measures)])


def _lines(axes: Axes, arms: Arms, x: str, y: str) -> None:
    for name, members in arms:
        values = members.groupby(x)[y]
        (line,) = axes.plot(values.mean(), marker=".", label=name)
        axes.fill_between(values.min().index, values.min(), values.max(), color=line.get_color(), alpha=0.2)


def means(arms: Arms, measures: Mapping[str, str]) -> Figure:
    """Each arm's mean over seeds with its 95 % interval, and its runs; a panel for each title and its column."""
    figure = Figure(figsize=(2 + 3 * len(measures), 1.2 + 0.3 * len(arms)), layout="constrained")
    places = np.arange(len(arms))[::-1]  # the first on top
    for axes, (title, column) in zip(
        figure.subplots(1, len(measures), sharey=True, squeeze=False)[0], measures.items(), strict=True
    ):
        for place, (_, members) in zip(places, arms, strict=True):
            mean, half = confidence(members[column].tolist())
            axes.errorbar(mean, place, xerr=half, fmt="|", markersize=12, capsize=3, color="tab:blue")
            axes.plot(members[column], [place] * len(members), "o", markersize=3, color="black", alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set(title=title, yticks=places, yticklabels=[name for name, _ in arms], ylim=(-0.5, len(arms) - 0.5))
        axes.grid(axis="x", alpha=0.3)
    return figure


def iou_per_class(arms: Arms) -> Figure:
    """At the best epoch: mean over seeds, with its 95 % interval."""
    classes = [column for column in arms[0][1] if column.startswith("iou/")]
    figure = Figure(
        figsize=(2 + len(classes) * max(1.0, 0.25 * len(arms)), 3.6 + 0.2 * len(arms)), layout="constrained"
    )
    axes = figure.subplots()
    for i, (name, members) in enumerate(arms):
        intervals = [confidence(members[column].tolist()) for column in classes]
        at = np.arange(len(classes)) + (i - (len(arms) - 1) / 2) * 0.8 / len(arms)
        axes.bar(at, [x.mean for x in intervals], 0.8 / len(arms), yerr=[x.half for x in intervals], label=name)
    axes.set_xticks(range(len(classes)), [column.partition("/")[2] for column in classes])
    axes.set_ylabel("IoU at the best epoch")
    figure.legend(loc="outside lower center", fontsize=8)
    return figure


def class_shares(runs: pd.DataFrame) -> Figure:
    """Shares of the training points, of the first run of each sampler and budget, a panel a sampler."""
    first = runs.drop_duplicates(["sampler", "budget"])
    points = first.filter(regex="^points/")
    first = first.iloc[points.sum(axis=1).argsort(kind="stable")]
    samplers = list(dict.fromkeys(runs.sampler))
    figure = Figure(figsize=(2 + 1.1 * points.shape[1] * len(samplers), 3.6), layout="constrained")
    for axes, sampler in zip(figure.subplots(1, len(samplers), sharey=True, squeeze=False)[0], samplers, strict=True):
        members = first[first.sampler == sampler]
        colours = colormaps["viridis"](np.linspace(0, 0.9, len(members)))
        for i, (_, run) in enumerate(members.iterrows()):
            counts = run[points.columns].astype(float)
            at = np.arange(len(counts)) + (i - (len(members) - 1) / 2) * 0.8 / len(members)
            axes.bar(at, counts / counts.sum(), 0.8 / len(members), label=f"budget {run.budget}", color=colours[i])
        axes.set_xticks(range(points.shape[1]), [column.partition("/")[2] for column in points], rotation=30)
        axes.set(title=sampler, ylabel="share of the training points" if sampler == samplers[0] else "")
        axes.legend(fontsize=8)
    return figure


def confusion(panels: Mapping[str, list[Run]]) -> Figure | None:
    """Of the best epochs, pooled over the runs of each title; None where no record has it."""
    best = {title: [run.scores["val"]["best"] for run in members] for title, members in panels.items()}
    found = {title: [x for x in scores if "confusion" in x] for title, scores in best.items()}
    matrices = {title: np.sum([x["confusion"] for x in scores], 0) for title, scores in found.items() if scores}
    first = next(iter(best.values()))[0]
    classes = [key.partition("/")[2] for key in first if key.startswith("iou/")]
    return plots.confusion(matrices, classes) if matrices else None


def examples(run: Run, number: int) -> dict[str, Figure]:
    """Validation scenes, evenly spread over the split, with the points and the best checkpoint's prediction."""
    _, data, system = runs.load(run.folder, "best")
    scenes = data.dataset.splits["val"]
    chosen = np.unique(np.linspace(0, len(scenes) - 1, number + 2)[1:-1].round().astype(int))
    return {scenes[i].id: _panel(data, system.eval(), scenes[i]) for i in chosen}


def _panel(data: PointData, system: PointSeg, scene: Scene) -> Figure:
    class_map = np.full(scene.shape, IGNORE, np.uint8)
    with torch.no_grad():
        blocks = predict_scene(system, scene, system.window_size, system.overlap, system.batch_size, system.device)
        for window, values in blocks:
            paste(class_map, window, values.argmax(0))
    dataset = data.dataset
    return plots.panel(scene, data.points[scene.id], class_map, dataset.palette, dataset.classes)
