"""Tables and pictures of experiments/curves: mean IoU over land cover against the number of points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

RECORDS = Path(__file__).parent.parent / "experiments/curves/results.csv"
DEFAULT, LINEAR = "both, `head=auto`", "both, linear head"
FORESTS = {
    "random forest, pixel values": "random forest on pixel values",
    "random forest, scikit-image's features": "random forest on scikit-image's features",
    "random forest, SLIC objects": "random forest on objects (SLIC)",
}
HEADS = {
    "filters, linear head": "filters alone, linear head",
    "filters, `head=auto`": "filters alone",
    "encoder, linear head": "encoder alone, linear head",
    LINEAR: "filters and encoder, linear head",
    DEFAULT: "filters and encoder (the default)",
}
NAMES = FORESTS | HEADS
PLACES = {
    ("within", "each class"): "within a tile of the aerial dataset, points of each class",
    ("within", "random"): "within a tile of the aerial dataset, as many random points",
    ("aerial", "val"): "aerial dataset, whole tiles held out, validation",
    ("aerial", "test"): "aerial dataset, whole tiles held out, test",
    ("aerial, images held out", "test"): "aerial dataset, images held out, test",
    ("monterey_dunes", "test"): "`monterey_dunes`, held out by place",
    ("obx_coast", "test"): "`obx_coast`, held out by flight",
}


def records(file: Path = RECORDS) -> pd.DataFrame:
    return pd.read_csv(file)


def folds(rows: pd.DataFrame, value: str = "miou") -> pd.DataFrame:
    """Mean over the draws: a line for each fold (or tile), a column for each contender.

    Folds, not draws, are what is independent: they show other ground.
    """
    return rows.pivot_table(index="fold", columns="contender", values=value, aggfunc="mean")


def interval(values: "pd.Series[float]") -> tuple[float, float]:
    """Mean, and half of the 95 % interval of it (Student's t); nan of fewer than two values."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else np.nan
    return float(values.mean()), float(half)


def chosen(rows: pd.DataFrame, footing: str, how: str, sampler: str = "random") -> pd.DataFrame:
    of = (rows["footing"] == footing) & (rows["how"] == how)
    return rows[of & (rows["sampler"].fillna("random") == sampler)]


def scores(rows: pd.DataFrame, footing: str, how: str, value: str = "miou") -> pd.DataFrame:
    """Contenders by points; in bold what no other contender beats by more than the interval of their difference."""
    of_place = chosen(rows, footing, how)
    cells: dict[str, dict[str, str]] = {words: {} for words in NAMES.values()}
    for count, of_count in of_place.groupby("count"):
        by_fold = folds(of_count, value)
        best = by_fold.mean().idxmax()
        for contender, words in NAMES.items():
            mean, half = interval(by_fold[best] - by_fold[contender])
            tied = contender == best or mean <= half
            text = f"{by_fold[contender].mean():.3f}"
            cells[words][f"{count:,}"] = f"**{text}**" if tied else text
    return pd.DataFrame(cells).T.rename_axis("contender").reset_index()


def everywhere(rows: pd.DataFrame) -> str:
    """A table for each place."""
    parts = []
    for (footing, how), words in PLACES.items():
        of_place = chosen(rows, footing, how)
        if not of_place.empty:
            unit = "points of each class" if footing == "within" else "points an image"
            table = scores(rows, footing, how).rename(columns={"contender": unit})
            parts.append(f"{words[0].upper()}{words[1:]}:\n\n{_markdown(table)}")
    return "\n\n".join(parts)


CLAIMS: Sequence[tuple[str, str, str]] = (
    ("frozen features beat the best random forest", DEFAULT, "forests"),
    ("the encoder adds to the filters", DEFAULT, "filters, `head=auto`"),
    ("the filters add to the encoder", LINEAR, "encoder, linear head"),
    ("the hidden layer adds to the linear head", DEFAULT, LINEAR),
    ("filters alone beat the forest on filters", "filters, `head=auto`", "random forest, scikit-image's features"),
)


def claims(rows: pd.DataFrame) -> str:
    """What holds where: for each claim and place, the difference in mean IoU at the fewest and the most points."""
    lines = []
    for claim, ours, theirs in CLAIMS:
        for (footing, how), words in PLACES.items():
            cells = {}
            for count, of in chosen(rows, footing, how).groupby("count"):
                by_fold = folds(of)
                rival = by_fold[by_fold[list(FORESTS)].mean().idxmax()] if theirs == "forests" else by_fold[theirs]
                column = f"{count:,}" + (" of each class" if footing == "within" else "")
                cells[column] = verdict(by_fold[ours] - rival)
            if cells:
                lines.append({"claim": claim, "where": words, **cells})
    return _markdown(pd.DataFrame(lines).fillna("–"))


def estimated(rows: pd.DataFrame) -> str:
    """What shares of classes found on the scene add to points of each class."""
    of_place = chosen(rows, "within", "each class").dropna(subset="estimated")
    lines = []
    for words, value in (("as labelled", "miou"), ("with `calibrate prior=estimate`", "estimated")):
        means = of_place.groupby("count")[value].mean()
        lines.append({"points of each class": words, **{str(count): f"{mean:.3f}" for count, mean in means.items()}})
    return _markdown(pd.DataFrame(lines))


def verdict(differences: "pd.Series[float]") -> str:
    mean, half = interval(differences)
    if not abs(mean) > half:
        return f"open {_signed(differences)}"
    return f"{'yes' if mean > 0 else 'no'} {_signed(differences)}"


def _signed(values: "pd.Series[float]") -> str:
    mean, half = interval(values)
    return f"{mean:+.3f}" + (f" ± {half:.3f}" if np.isfinite(half) else "")


def _markdown(table: pd.DataFrame) -> str:
    return str(table.fillna("–").to_markdown(index=False, disable_numparse=True))


def picture(rows: pd.DataFrame) -> Figure:
    """Score against points, in each place."""
    places = [place for place in PLACES if not chosen(rows, *place).empty and place[1] != "val"]
    figure = Figure((11, 3.6 * -(-len(places) // 3)), layout="constrained")
    for axes, place in zip(figure.subplots(-(-len(places) // 3), 3, squeeze=False).flat, places, strict=False):
        of_place = chosen(rows, *place)
        for contender, words in NAMES.items():
            means = of_place[of_place["contender"] == contender].groupby("count")["miou"].mean()
            style = {"linewidth": 2.5} if contender == DEFAULT else {"linewidth": 1.0}
            axes.plot(means.index, means, "o-", label=words, markersize=3, **style)
        counts = sorted(set(of_place["count"]))
        axes.set(xscale="log", title=PLACES[place].replace("`", "").replace(", ", ",\n", 1), ylabel="mean IoU")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    for axes in figure.axes[len(places) :]:
        axes.remove()
    return figure
