"""The pictures of an experiment's folder: at most four."""

import io
import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image

from pointseg import plots
from pointseg.files import writing
from pointseg.prediction.windows import paste, predict_scene
from pointseg.reports import curves
from pointseg.reports.arms import Arms
from pointseg.reports.statistics import confidence
from pointseg.reports.sweeps import Run
from pointseg.training import runs
from pointseg.types import IGNORE

PANELS = {"miou_all_classes": "validation mIoU", "accuracy": "validation accuracy", "loss": "validation loss"}
COLOURS = 256  # of a file
WIDTH = 1300  # pixels, at most
STYLES = ("--", ":", "-.", (0, (1, 5)))


def save(figures: Sequence[Figure], file: Path) -> None:
    """As one PNG of few colours, the figures one below another."""
    rows = [_drawn(figure) for figure in figures]
    picture = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        picture.paste(row, (0, top))
        top += row.height
    with writing(file) as partial:
        # Not by median cut, the default: colours of few pixels, as a legend's, would be lost.
        picture.quantize(COLOURS, Image.Quantize.FASTOCTREE).save(partial, optimize=True)


def _drawn(figure: Figure) -> Image.Image:
    content = io.BytesIO()
    figure.savefig(content, dpi=min(110, WIDTH / figure.get_figwidth()))
    return Image.open(content).convert("RGB")


def learning_curves(arms: Arms, runs: Mapping[str, Run]) -> Figure:
    """Mean over seeds, with a band from the lowest to the highest."""
    figure = Figure(figsize=(4.2 * len(PANELS), 3.6 + 0.2 * len(arms)), layout="constrained")
    for axes, (measure, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for name, members in arms:
            epochs = pd.DataFrame([epoch for run in members.run for epoch in runs[run].scores["history"]])
            values = epochs.groupby("epoch")[measure]
            (line,) = axes.plot(values.mean(), marker=".", label=name)
            axes.fill_between(values.min().index, values.min(), values.max(), color=line.get_color(), alpha=0.2)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    return figure


def against_budget(arms: Arms, measures: Mapping[str, str], levels: Mapping[str, Mapping[str, float]]) -> Figure:
    """Scores against the training points, a line an arm: mean over seeds with its 95 % interval.

    An arm's runs differ in seed and budget. measures: a panel for each title and its column. levels: by title, what is
    drawn as a level line, by name.
    """
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
        for (name, level), style in zip(levels.get(title, {}).items(), cycle(STYLES), strict=False):
            axes.axhline(level, color="grey", linestyle=style, label=name)
        axes.set(xscale="log", xlabel="labelled training pixels", ylabel=title)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(ticks, [f"{points:,.0f}" for points in ticks], rotation=30)
        axes.grid(alpha=0.3)
    for axes in panels[len(measures) :]:
        axes.remove()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def means(arms: Arms, measures: Mapping[str, str]) -> Figure:
    """Each arm's mean over seeds with its 95 % interval, and its runs; a panel for each title and its column."""
    figure = Figure(figsize=(2 + 3 * len(measures), 1.2 + 0.3 * len(arms)), layout="constrained")
    places = np.arange(len(arms))[::-1]  # the first on top
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    for axes, (title, column) in zip(panels, measures.items(), strict=True):
        for place, (_, members) in zip(places, arms, strict=True):
            mean, half = confidence(members[column].dropna().tolist())
            axes.errorbar(mean, place, xerr=half, fmt="|", markersize=12, capsize=3, color="tab:blue")
            axes.plot(members[column], [place] * len(members), "o", markersize=3, color="black", alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.set(title=title, yticks=places, yticklabels=[name for name, _ in arms], ylim=(-0.5, len(arms) - 0.5))
        axes.grid(axis="x", alpha=0.3)
    return figure


def example(run: Path, title: str) -> Figure:
    """The middle scene of the validation split, with the points and the best checkpoint's prediction."""
    _, data, system = runs.load(run, "best")
    scenes = data.dataset.splits["val"]
    scene = scenes[len(scenes) // 2]
    class_map = np.full(scene.shape, IGNORE, np.uint8)
    system.eval()
    with torch.no_grad():
        blocks = predict_scene(system, scene, system.window_size, system.overlap, system.batch_size, system.device)
        for window, values in blocks:
            paste(class_map, window, values.argmax(0))
    dataset = data.dataset
    figure = plots.panel(scene, data.points[scene.id], class_map, dataset.palette, dataset.classes)
    figure.suptitle(f"{scene.id}: {title}", fontsize=9)
    return figure
