"""An experiment's folder, written from the runs of its sweep.

README.md             question, command, environment, tables, figures
results.csv           a row a run; the tables are made of it, of agreement.csv, and of the records' test scenes
learning_curves.csv   a row an epoch of each run
agreement.csv             how far the masks of neighbouring images agree, where these were cut from tiles
figures/              scores with intervals, learning curves, score against budget, IoU per class, class shares,
                      confusion matrices
runs/                 the records of the runs (records.py), with example scenes
"""

import logging
import re
import shutil
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from pointseg.config import CONF
from pointseg.files import writing
from pointseg.reports import agreement, curves, figures, records, sweeps, tables
from pointseg.reports.sweeps import Run

log = logging.getLogger(__name__)

RULES = """\
Scores are validation scores: the mean over seeds ± half of its 95 % interval (Student's t). Arms are compared seed by
seed: the mean difference with its 95 % interval, p of the paired t-test, effect size d_z (mean / standard
deviation of the differences), and which lies higher where the interval leaves out zero. The rules of the verdicts on
the report's claims stand at the top of `pointseg/reports/claims.py`."""
FOLDS = """\
Runs are repeated by seed and fold: wherever seeds are spoken of, one is a seed of one fold, which holds out other
scenes. Intervals take these runs for independent, though those of one fold share their scenes; those of
"Over folds" do not."""


def write(sweep: Path, folder: Path, examples: int) -> None:
    """Write `folder` anew from the runs below `sweep` and those recorded in `folder`, see `records.read`.

    The folder's name is the experiment's: it decides the question and the claims.

    examples: predicted scenes of each arm, of a run that has its weights; none are added with 0.

    Raises InputError where `sweep` holds no run, or none is finished.
    """
    recorded = folder / records.FOLDER
    runs = records.read(sweep, recorded)
    written = {
        "results": sweeps.table(runs),
        "learning_curves": sweeps.curves(runs),
        "noise": agreement.table(runs) if examples else pd.DataFrame(),
    }
    for name, table in written.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier report
        if len(table):
            with writing(folder / f"{name}.csv") as partial:
                table.to_csv(partial, index=False)
    for run in runs:
        if run.finished:
            records.write(run, recorded / run.name)
    results = tables.load(folder / "results.csv")
    if tables.TESTED not in results.runs:
        log.info("No run has test scores; python -m pointseg.evaluate run=%s adds them, once, at the end.", sweep)
    pictures = _figures(runs, folder, results, written["learning_curves"], examples)
    with writing(folder / "README.md") as partial:
        partial.write_text(readme(folder.name, results, pictures))
    log.info("Report: %s", folder / "README.md")


def readme(name: str, results: tables.Results, pictures: Mapping[str, str]) -> str:
    """pictures: their paths within the experiment's folder, by title."""
    question, commands = header(name)
    finished = results.finished
    environment = "; ".join(sorted({f"{run.device}: {run.versions}" for run in finished.itertuples()}))
    shown = "\n\n".join(f"![{title}]({quote(path)})" for title, path in pictures.items())
    parts = [
        f"# {name}",
        question,
        f"```\n{commands}\n```" if commands else "",
        f"Runs: {len(finished)} finished of {len(results.runs)}. Environment: {environment}. All have\n"
        f"`{tables.common(results)}`.",
        RULES,
        FOLDS if results.runs[sweeps.FOLD].nunique() > 1 else "",
        tables.render(name, results),
        f"## Figures\n\n{shown}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(name: str) -> tuple[str, str]:
    """The question and the commands in the header of conf/experiment/<name>.yaml; empty where there is none."""
    file = CONF / "experiment" / f"{name}.yaml"
    lines = file.read_text().splitlines()[1:] if file.exists() else []
    comments = [line.removeprefix("#") for line in takewhile(lambda line: line.startswith("#"), lines)]
    commands = [line[3:] for line in comments if line.startswith("   ")]
    question = [line.strip() for line in takewhile(lambda line: not line.startswith("   "), comments)]
    return "\n".join(question), "\n".join(commands)


def _figures(
    runs: list[Run], folder: Path, results: tables.Results, epochs: pd.DataFrame, examples: int
) -> dict[str, str]:
    """Draw them into `folder`; their paths within it, by title."""
    finished, factors = results.finished, results.factors
    arms = tables.arms(finished, factors)
    of = {run.name: run for run in runs}
    drawn = {}
    if "budget" in factors:
        along = tables.arms(finished, [name for name in factors if name != "budget"])
        drawn["score against budget"] = figures.score_against_budget(along, tables.splits(finished), results.noise)
        drawn["IoU per class against budget"] = figures.iou_per_class_against_budget(along)
    else:
        along = arms
        drawn["means and intervals"] = figures.means(arms, tables.SCORES)
        drawn["IoU per class"] = figures.iou_per_class(arms)
    if finished.epochs.max() > 1:
        drawn["learning curves"] = figures.learning_curves(arms, epochs)
    drawn["class shares"] = figures.class_shares(finished)
    shown = {}
    for name, members in along:
        panels = {"": members}
        if "budget" in factors:
            panels = {f"budget {x}": members[members.budget == x] for x in curves.points(members).index}
        matrices = figures.confusion({title: [of[run] for run in chosen.run] for title, chosen in panels.items()})
        if matrices:
            drawn[f"confusion, {name}"] = matrices
        fewest, chosen = next(iter(panels.items()))
        for file in _examples([of[run] for run in chosen.run], folder / records.FOLDER, examples):
            title = ", ".join(filter(None, ("example", name, fewest, file.stem)))
            shown[title] = file.relative_to(folder).as_posix()
    shutil.rmtree(folder / "figures", ignore_errors=True)  # of an earlier report, with other arms
    for title, figure in drawn.items():
        figures.save(figure, folder / "figures" / _file(title), "png", "svg")
    return {title: f"figures/{_file(title)}.png" for title in drawn} | shown


def _examples(arm: list[Run], recorded: Path, number: int) -> list[Path]:
    """Pictures of `number` scenes by the first run that has its weights, else those that the record of one has."""
    trained = [run for run in arm if (run.folder / "best.ckpt").exists()]
    for run in trained[:1] if number else []:
        for scene, figure in figures.examples(run, number).items():
            figures.save(figure, recorded / run.name / _file(scene), "png")  # an SVG of pixels is a larger PNG
    found = (sorted((recorded / run.name).glob("*.png")) for run in arm)
    return next(filter(None, found), [])


def _file(name: str) -> str:
    return re.sub(r"[^\w.=]+", "_", name)
