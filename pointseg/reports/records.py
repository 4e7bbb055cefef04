"""The records of an experiment's runs: all that its report is made of, small enough to be kept with the report.

Outputs are large, and lie on the machine that trained. The records go where the report goes, and a later report goes on
from them. records.jsonl has a line for each run, and before them one for the configuration that they have in common:

{"base": id, "config": {…}}                          by dotted keys
{"run": name, "base": id, "config": {…}, "scores": {…}, "scenes": {…}, "masks": {…}}

where "config" of a run is what differs from its base (null: the run has no such key), and the rest as in `sweeps.Run`.

Lines are sorted: `sort -u` merges those of two machines. To leave a run out, delete its line. A merged file may have
several bases; the next report writes all records by the first of them.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pointseg.errors import InputError, reading
from pointseg.files import writing
from pointseg.moves import migrated
from pointseg.reports import scenes, sweeps
from pointseg.reports.sweeps import Run
from pointseg.training.checkpoints import differences

log = logging.getLogger(__name__)

FILE = "records.jsonl"
Settings = dict[str, Any]


def merge(sweep: Path, folder: Path) -> list[Run]:
    """The runs below `sweep` and those recorded there or in `folder`, finished or not, by name.

    Of a run that is in both, the sweep's is taken, unless only the record is of a finished one.

    Raises InputError where there is no run in `sweep`, no finished one in either, or one whose record has another
    configuration.
    """
    new = sweeps.read(sweep) or read(sweep)
    if not new:
        raise InputError(f"sweep={sweep}: there is no run in this folder; sweeps lie in outputs/.")
    merged = {run.name: run for run in read(folder)}
    old = len(merged.keys() - {run.name for run in new})
    for run in new:
        record = merged.get(run.name)
        if record is None or not record.finished:
            merged[run.name] = run
        elif run.finished:
            merged[run.name] = _renewed(run, record, folder)
    finished = sum(run.finished for run in merged.values())
    log.info("Runs: %d in %s, %d more from the records in %s; %d finished.", len(new), sweep, old, folder, finished)
    if not finished:
        raise InputError(f"sweep={sweep}: none of its {len(new)} runs is finished; repeat the sweep's command.")
    return [merged[name] for name in sorted(merged)]


def _renewed(run: Run, record: Run, folder: Path) -> Run:
    """The run with what only its record has. Raises InputError where the record has another configuration."""
    changes = differences(record.config, run.config)
    if changes:
        listing = "; ".join(f"{key} {was}, now {now}" for key, (was, now) in changes.items())
        raise InputError(
            f"{run.folder or run.name}: its record in {folder / FILE} has another configuration ({listing}); "
            "give name= for a report of its own, or delete the record's line."
        )
    same = run.scores == record.scores
    return replace(run, scenes=run.scenes or (record.scenes if same else None), masks=run.masks or record.masks)


def read(folder: Path) -> list[Run]:
    """The runs recorded in `folder`, by name; none where it has no records. Raises InputError for damaged ones."""
    file = folder / FILE
    lines = _lines(file)
    with reading(file, "the records of runs", "restore it, or write it anew by a report of the runs' own folders."):
        bases = _bases(lines)
        runs = [_run(line, bases[line["base"]]) for line in lines if "run" in line]
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{file}: has two different records of {', '.join(twice)}; delete the line of one.")
    return runs


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    with reading(file, "the records of runs", "restore it; each line is a JSON object."):
        return [json.loads(line) for line in sorted(set(file.read_text().splitlines()))]


def _bases(lines: Sequence[Mapping[str, Any]]) -> dict[str, Settings]:
    return {line["base"]: line["config"] for line in lines if "run" not in line}


def _run(line: Mapping[str, Any], base: Settings) -> Run:
    tested = scenes.from_record(line["scenes"]) if "scenes" in line else None
    return Run(line["run"], _today(base | line["config"]), line["scores"], tested, line.get("masks"))


def _today(config: Settings) -> Settings:
    """In today's names, see `moves`."""
    return sweeps.settings(migrated(_nested(config)))


def _nested(config: Settings) -> dict[str, Any]:
    """{"a.b": 1} → {"a": {"b": 1}}. None may stand for a key that is absent here, and a value or a group elsewhere."""
    content: dict[str, Any] = {}
    parents = {key.rsplit(".", n)[0] for key, value in config.items() if value is not None for n in range(1, 9)}
    for key, value in config.items():
        *groups, last = key.split(".")
        above = (".".join(groups[: n + 1]) for n in range(len(groups)))
        if value is None and (key in parents or any(config.get(group) is not None for group in above)):
            continue
        node = content
        for group in groups:
            node = node.setdefault(group, {})
        node[last] = value
    return content


def write(runs: Sequence[Run], folder: Path) -> None:
    """Write the records of all `runs` into `folder`, by the first base that it has, or else the first run's."""
    file = folder / FILE
    first = {key: value for key, value in sorted(runs[0].config.items()) if key != "seed"}
    base = next((_today(base) for base in _bases(_lines(file)).values()), first)
    name = hashlib.sha256(_json(base).encode()).hexdigest()[:8]
    lines = [_json({"base": name, "config": base}), *(_json(_line(run, name, base)) for run in runs)]
    with writing(file) as partial:
        partial.write_text("\n".join(sorted(lines)) + "\n")


def _line(run: Run, name: str, base: Settings) -> dict[str, Any]:
    config = {key: now for key, (_, now) in differences(base, run.config).items()}
    line = {"run": run.name, "base": name, "config": config, "scores": run.scores}
    if run.scenes:
        line["scenes"] = run.scenes.record()
    return line | ({"masks": run.masks} if run.masks else {})


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
