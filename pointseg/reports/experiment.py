"""An experiment's folder, written from the runs of its sweep.

README.md     question, command, environment, tables, figures
results.csv   a row a run; the tables are made of it and of      learning_curves.csv   a row an epoch of each run
scenes.csv    the confusion of each test scene and run, where runs have been tested
noise.csv     how far the masks of neighbouring images agree, where these were cut from tiles
figures/      scores with intervals, learning curves, score against budget, IoU per class, class shares, confusion
              matrices, example scenes
"""

import logging
import re
from itertools import takewhile
from pathlib import Path

import pandas as pd

from pointseg.config import CONF
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.reports import curves, figures, noise, scenes, sweeps, tables

log = logging.getLogger(__name__)

RULES = """\
Scores are validation scores: the mean over seeds ± half of its 95 % interval (Student's t). Arms are compared seed by
seed: the mean difference with its 95 % interval, p of the paired t-test, effect size d_z (mean / standard
deviation of the differences), and which lies higher where the interval leaves out zero. The rules of the verdicts on
the report's claims stand at the top of `pointseg/reports/claims.py`."""


def write(sweep: Path, folder: Path, examples: int) -> None:
    """Write `folder` anew from the runs below `sweep`, with `examples` predicted scenes of each arm.

    The folder's name is the experiment's: it decides the question and the claims.

    Raises InputError where `sweep` holds no finished run.
    """
    runs = sweeps.read(sweep)
    if not any(run.finished for run in runs):
        raise InputError(
            f"sweep={sweep}: none of its {len(runs)} runs is finished; the sweep's command goes on with them."
        )
    written = {
        "results": sweeps.table(runs, sweep),
        "learning_curves": sweeps.curves(runs, sweep),
        "scenes": scenes.table(runs, sweep).reset_index(),
        "noise": noise.table(runs) if examples else pd.DataFrame(),
    }
    for name, table in written.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier report
        if len(table):
            with writing(folder / f"{name}.csv") as partial:
                table.to_csv(partial, index=False)
    results = tables.load(folder / "results.csv")
    pictures = _figures(runs, sweep, folder, results, examples)
    with writing(folder / "README.md") as partial:
        partial.write_text(readme(folder.name, results, pictures))
    log.info("Report: %s", folder / "README.md")


def readme(name: str, results: tables.Results, pictures: list[str]) -> str:
    question, commands = header(name)
    finished = results.finished
    environment = "; ".join(sorted({f"{run.device}: {run.versions}" for run in finished.itertuples()}))
    shown = "\n\n".join(f"![{picture}](figures/{_file(picture)}.png)" for picture in pictures)
    parts = [
        f"# {name}",
        question,
        f"```\n{commands}\n```" if commands else "",
        f"Runs: {len(finished)} finished of {len(results.runs)}. Environment: {environment}.",
        RULES,
        tables.render(name, results),
        f"## Figures\n\n{shown}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def header(name: str) -> tuple[str, str]:
    """The question and the commands in the header of conf/experiment/<name>.yaml; empty where there is none."""
    file = CONF / "experiment" / f"{name}.yaml"
    lines = file.read_text().splitlines()[1:] if file.exists() else []
    comments = [line.removeprefix("#") for line in takewhile(lambda line: line.startswith("#"), lines)]
    commands = [line.strip() for line in comments if line.startswith("   ")]
    question = [line.strip() for line in takewhile(lambda line: not line.startswith("   "), comments)]
    return "\n".join(question), "\n".join(commands)


def _figures(runs: list[sweeps.Run], sweep: Path, folder: Path, results: tables.Results, examples: int) -> list[str]:
    """Draw them into `folder`/figures; their names."""
    finished, factors = results.finished, results.factors
    arms = tables.arms(finished, factors)
    of = {str(run.folder.relative_to(sweep)): run for run in runs}
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
        drawn["learning curves"] = figures.learning_curves(arms, pd.read_csv(folder / "learning_curves.csv"))
    drawn["class shares"] = figures.class_shares(finished)
    shown = {}
    for name, members in along:
        panels = {"": members}
        if "budget" in factors:
            panels = {f"budget {x}": members[members.budget == x] for x in curves.points(members).index}
        drawn[f"confusion, {name}"] = figures.confusion(
            {title: [of[run] for run in chosen.run] for title, chosen in panels.items()}
        )
        fewest, chosen = next(iter(panels.items()))
        for scene, figure in figures.examples(of[chosen.run.iloc[0]], examples).items() if examples else []:
            shown[", ".join(filter(None, ("example", name, fewest, scene)))] = figure
    for name, figure in (drawn | shown).items():
        # A scene is pixels: as SVG it would be a PNG in wrapping, several times the size.
        figures.save(figure, folder / "figures", _file(name), vector=name in drawn)
    return list(drawn | shown)


def _file(name: str) -> str:
    return re.sub(r"[^\w.=]+", "_", name)
