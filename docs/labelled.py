"""Tables and pictures of experiments/active: which points to label, of a simulated person on each tile."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

RECORDS = Path(__file__).parent.parent / "experiments/active/results.csv"
WAYS = {"random": "random points", "class_by_class": "class by class", "suggested": "suggested points"}
CLICK = 2.4  # seconds for a point: the median of Bearman et al., What's the Point, ECCV 2016


def records(file: Path = RECORDS) -> pd.DataFrame:
    return pd.read_csv(file)


def scores(rows: pd.DataFrame) -> str:
    """The mean over tiles, and half of its 95 % interval over them."""
    lines = []
    for way, words in WAYS.items():
        by_tile = rows[rows["way"] == way].pivot_table(index="site", columns="points", values="miou")
        cells = {f"{count}": _with_half(by_tile[count]) for count in by_tile}
        lines.append({"points in a tile": words, **cells})
    return str(pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True))


def needed(rows: pd.DataFrame, way: str) -> "pd.Series[float]":
    """For each tile, the points of this way that reach what most random points reach, as a share of those.

    By lines between the budgets, over the logarithm of the points; nan where no budget reaches it.
    """
    shares = {}
    for site, of_site in rows.groupby("site"):
        curves = of_site.pivot_table(index="points", columns="way", values="miou")
        goal, most = curves["random"].iloc[-1], curves.index[-1]
        found = np.maximum.accumulate(curves[way].to_numpy())
        reached = np.interp(goal, found, np.log(curves.index.to_numpy(float)), right=np.nan)
        shares[site] = float(np.exp(reached) / most)
    return pd.Series(shares)


def verdict(rows: pd.DataFrame) -> str:
    """How many points the ways need for what most random points reach."""
    most = rows["points"].max()
    lines = []
    for way, words in list(WAYS.items())[1:]:
        shares = needed(rows, way)
        reached = shares.dropna()
        half = stats.t.ppf(0.975, max(len(reached) - 1, 1)) * stats.sem(reached) if len(reached) > 1 else np.nan
        cells = {"of the points": f"{reached.mean():.2f} ± {half:.2f}", "tiles": f"{len(reached)} of {len(shares)}"}
        cells["at most half"] = f"{int((reached <= 0.5).sum())} of {len(shares)}"
        lines.append({f"to reach what {most} random points reach": words, **cells})
    return str(pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True))


def picture(rows: pd.DataFrame) -> Figure:
    """Score against points, and against the minutes of a person: clicks, and waiting for the machine."""
    figure = Figure((9, 3.4), layout="constrained")
    points, minutes = figure.subplots(1, 2, sharey=True)
    for way, words in WAYS.items():
        of_way = rows[rows["way"] == way].groupby("points")[["miou", "seconds"]].mean()
        points.plot(of_way.index, of_way["miou"], "o-", label=words)
        waiting = of_way["seconds"] if way == "suggested" else 0
        minutes.plot((of_way.index * CLICK + waiting) / 60, of_way["miou"], "o-", label=words)
    points.set(xlabel="points in a tile", ylabel="mean IoU", xscale="log")
    counts = sorted(set(rows["points"]))
    points.set_xticks(counts, [str(count) for count in counts])
    points.minorticks_off()
    minutes.set(xlabel=f"minutes of a person, {CLICK} s a click")
    points.legend()
    return figure


def _with_half(values: "pd.Series[float]") -> str:
    return f"{values.mean():.3f} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.3f}"
