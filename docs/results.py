"""The tables of results in README.md and docs/results.md, from the records in experiments/.

python docs/results.py            # writes them
python docs/results.py --check    # fails where a document differs from them
"""

import re
import sys
from pathlib import Path

import curves
import labelled
import pandas as pd
from scipy import stats

ROOT = Path(__file__).parent.parent
BUDGETS = {"5": "5", "20": "20", "100": "100", "1000": "1000", "0.01": "1 %", "1.0": "every pixel"}
SPLITS = {"validation": "best_miou_land_cover", "test": "test_miou_land_cover"}
ARMS = {
    "random, weighted partial CE": ("random", "weighted_partial_ce"),
    "stratified, weighted partial CE": ("stratified", "weighted_partial_ce"),
    "stratified, partial CE": ("stratified", "partial_ce"),
    "stratified, focal": ("stratified", "focal"),
}


def mean(values: "pd.Series[float]") -> str:
    """With half of its 95 % interval."""
    if len(values) < 2:
        return f"{values.mean():.3f}"
    return f"{values.mean():.3f} ± {stats.t.ppf(0.975, len(values) - 1) * stats.sem(values):.3f}"


def runs(experiment: str) -> pd.DataFrame:
    table = pd.read_csv(ROOT / "experiments" / experiment / "results.csv", dtype={"budget": str, "model.weights": str})
    return table[table["finished"]]


def few_points(losses: dict[str, str], splits: dict[str, str]) -> pd.DataFrame:
    """A row for each loss and split, a column for each budget: the mean over folds and seeds."""
    table = runs("folds")
    rows = []
    for words, loss in losses.items():
        for split, column in splits.items():
            of_loss = table[table["loss"] == loss]
            cells = {
                BUDGETS[budget]: mean(of_loss[of_loss["budget"] == budget][column])
                for budget in BUDGETS
                if budget in set(of_loss["budget"])
            }
            rows.append({"": f"{words}, {split}", **cells})
    return pd.DataFrame(rows).fillna("–")


README = (
    ("random forest, pixel values", "random forest on pixel values"),
    ("random forest, scikit-image's features", "random forest on scikit-image's features"),
    ("trained", "a network trained whole (`experiment=trained`)"),
    ("filters, `head=auto`", "frozen filters, nothing to download (`model.encoder=null`)"),
    ("both, `head=auto`", "frozen features (`experiment=best`)"),
)


def readme() -> str:
    """The test tiles' scores of the benchmark, and of the networks that are trained whole."""
    table = curves.chosen(curves.records(), "aerial", "test")
    trained = runs("folds")
    trained = trained[trained["loss"] == "balanced_partial_ce"]
    rows = []
    for contender, words in README:
        cells = {}
        for count in sorted(set(table["count"])):
            if contender == "trained":
                budget = {2621: "0.01"}.get(count, str(count))
                values = trained[trained["budget"] == budget]["test_miou_land_cover"]
            else:
                values = table[(table["contender"] == contender) & (table["count"] == count)]["miou"]
            cells["1 %" if count == 2621 else f"{count:,}"] = f"{values.mean():.3f}"
        rows.append({"points in each scene": words, **cells})
    return (
        "Mean IoU over the five land-cover classes of the aerial dataset, on tiles that no method has seen: four\n"
        "folds, scenes scaled to 512×512.\n\n" + pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    )


def folds() -> str:
    table = few_points({"the recipe": "balanced_partial_ce", "with `loss=partial_ce`": "partial_ce"}, SPLITS)
    table.columns = ["points in each scene", *table.columns[1:]]
    return table.to_markdown(index=False, disable_numparse=True)


def report() -> str:
    table = pd.concat([runs("sampling"), runs("loss")]).drop_duplicates(
        ["model", "model.weights", "dataset.split", "sampler", "loss", "seed"]
    )
    rows = []
    for (model, split), group in table.groupby(["model", "dataset.split"], sort=False):
        cells = {
            words: mean(group[(group["sampler"] == sampler) & (group["loss"] == loss)]["best_miou"])
            for words, (sampler, loss) in ARMS.items()
        }
        rows.append({"network, held out": f"{model}, {split}", **cells})
    return pd.DataFrame(rows).sort_values("network, held out").to_markdown(index=False, disable_numparse=True)


def coverage() -> str:
    """How often intervals of areas hold the truth, with points shared out by area."""
    table = pd.read_csv(ROOT / "benchmarks/areas.csv")
    table = table[(table["figure"] == "shares") & (table["how"] == "proportional")]
    titles = {"held": "the intervals of `assess`", "narrow": "1.96 standard errors to either side"}
    rows = [
        {
            "of areas": titles[row.intervals],
            "points": row.count_,
            "mean": f"{row.mean:.1%}",
            "lowest": f"{row.lowest:.1%}",
        }
        for row in table.rename(columns={"count": "count_"}).itertuples()
    ]
    head = {"points": "points", "mean": "hold the truth in", "lowest": "of a single class at least"}
    return pd.DataFrame(rows).rename(columns=head).to_markdown(index=False, disable_numparse=True)


TABLES = {
    "README.md": {"readme": readme},
    "docs/accuracy.md": {"coverage": coverage},
    "docs/results.md": {
        "curves": lambda: curves.everywhere(curves.records()),
        "claims": lambda: curves.claims(curves.records()),
        "estimated": lambda: curves.estimated(curves.records()),
        "active": lambda: labelled.scores(labelled.records()) + "\n\n" + labelled.verdict(labelled.records()),
        "folds": folds,
        "report": report,
    },
}
PICTURES = {
    "docs/alternatives.png": lambda: curves.picture(curves.records()),
    "docs/labelled.png": lambda: labelled.picture(labelled.records()),
}


def main() -> None:
    outdated = []
    for name, sections in TABLES.items():
        file = ROOT / name
        text = file.read_text()
        for section, render in sections.items():
            pattern = re.compile(rf"(<!-- results: {section} -->\n).*?(<!-- end of results -->)", re.DOTALL)
            changed = pattern.sub(lambda match, render=render: f"{match[1]}{render()}\n{match[2]}", text)
            outdated += [f"{name}, {section}"] * (changed != text)
            text = changed
        if "--check" not in sys.argv:
            file.write_text(text)
    if "--check" not in sys.argv:
        for name, draw in PICTURES.items():
            draw().savefig(ROOT / name)
    if "--check" in sys.argv and outdated:
        sys.exit(
            f"These tables differ from the records in experiments/: {'; '.join(outdated)}. Run python docs/results.py."
        )


if __name__ == "__main__":
    main()
