"""An experiment's folder, written from the runs of its sweep.

README.md          question, command, environment, tables, pictures
results.csv        a row a run; the tables are made of it and of the records
records.jsonl      a line a run: configuration, scores, confusion of test scenes
scores.png         scores with intervals, against the budget where that differs
iou_per_class.png  the same for each class
learning_curves.png, examples.png
                   where runs were validated more than once; where a run has its weights
"""

import logging
from collections.abc import Collection
from itertools import takewhile
from pathlib import Path

import pandas as pd

from pointseg.config import CONF
from pointseg.files import writing
from pointseg.reports import agreement, claims, curves, figures, records, results, tables
from pointseg.reports.arms import arms, splits, without_budget
from pointseg.reports.results import TESTED, Results
from pointseg.reports.sweeps import FOLD, Run

log = logging.getLogger(__name__)

PICTURES = SCORES, CLASSES, CURVES, EXAMPLES = ("scores", "iou_per_class", "learning_curves", "examples")
RULES = """\
Scores are validation scores: the mean over seeds ± half of its 95 % interval (Student's t). Arms are compared seed by
seed: the mean difference with its 95 % interval, p of the paired t-test, and the effect size d_z (mean / standard
deviation of the differences). The first arm is called higher or lower where the interval does not contain zero."""
FOLDS = """\
Runs are repeated by seed and fold; each fold holds out other scenes, and here a seed means a seed of one fold.
Intervals take these runs for independent, though runs of one fold share their scenes. Only "Over folds" does not."""


def write(sweep: Path, folder: Path, examples: int) -> None:
    """Write `folder` anew from the runs in `sweep` and those recorded in `folder`, see `records.merge`.

    The folder's name is the experiment's: it selects the question, the commands, and what the runs are held against.

    examples: arms whose predictions are shown, of a run that has its weights; 0 needs neither weights nor data.

    Raises InputError where `sweep` holds no run, or none is finished.
    """
    runs = records.merge(sweep, folder)
    if examples:
        runs = agreement.measured(runs)
    table = results.table(runs)
    records.write(runs, folder)
    with writing(folder / results.FILE) as partial:
        table.to_csv(partial, index=False)
    written = results.load(folder)
    if TESTED not in written.table and any(run.folder for run in runs):
        log.info("No run has test scores; python -m pointseg.evaluate run=%s adds them, once, at the end.", sweep)
    _draw(written, runs, folder, examples)
    with writing(folder / "README.md") as partial:
        partial.write_text(readme(folder))
    log.info("Report: %s", folder / "README.md")


def readme(folder: Path) -> str:
    """The text of README.md, from the other files of an experiment's folder."""
    written = results.load(folder)
    question, commands = header(folder.name)
    finished = written.finished
    environment = "; ".join(sorted({f"{run.device}: {run.versions}" for run in finished.itertuples()}))
    shown = [name for name in PICTURES if (folder / f"{name}.png").exists()]
    parts = [
        f"# {folder.name}",
        question,
        f"```\n{commands}\n```" if commands else "",
        f"Runs: {len(finished)} finished of {len(written.table)}. Environment: {environment}. All have\n"
        f"`{tables.common(written)}`.",
        RULES,
        FOLDS if written.table[FOLD].nunique() > 1 else "",
        tables.render(written, claims.load(folder)),
        "## Pictures\n\n" + "\n\n".join(f"![{name.replace('_', ' ')}]({name}.png)" for name in shown),
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


def _draw(written: Results, runs: list[Run], folder: Path, examples: int) -> None:
    """Write the pictures; examples of an earlier report stay where no run has its weights."""
    finished, factors = written.finished, written.factors
    every, lines = arms(finished, factors), arms(finished, without_budget(factors))
    classes = {f"IoU, {name.partition('/')[2]}": name for name in finished if name.startswith("iou/")}
    if "budget" in factors:
        scores = {f"{split} mIoU, land cover": column for split, column in splits(finished).items()}
        levels = {title: agreement.levels(runs, title.split()[0]) for title in scores}
        drawn = {SCORES: figures.against_budget(lines, scores, levels)}
        drawn[CLASSES] = figures.against_budget(lines, classes, {})
    else:
        drawn = {SCORES: figures.means(every, tables.SCORES), CLASSES: figures.means(every, classes)}
    if finished.epochs.max() > 1:
        drawn[CURVES] = figures.learning_curves(every, written.runs)
    for name in (SCORES, CLASSES, CURVES):
        (folder / f"{name}.png").unlink(missing_ok=True)  # of an earlier report
        if name in drawn:
            figures.save([drawn[name]], folder / f"{name}.png")
    trained = {run.name: run.folder for run in runs if run.folder and (run.folder / "best.ckpt").exists()}
    chosen = [(name, run) for name, members in lines if (run := _fewest_points(members, trained))]
    if panels := [figures.example(trained[run], name) for name, run in chosen[:examples]]:
        figures.save(panels, folder / f"{EXAMPLES}.png")


def _fewest_points(arm: pd.DataFrame, trained: Collection[str]) -> str | None:
    """A run of the arm's smallest budget among those `trained`."""
    runs = arm.run[arm.budget == curves.points(arm).index[0]]
    return next((run for run in runs if run in trained), None)
