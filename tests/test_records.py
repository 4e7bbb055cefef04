"""The records of runs: what later reports go on from, on one machine or several."""

import json
import shutil
from pathlib import Path

import pytest

from pointseg.errors import InputError
from pointseg.reports import records, report, sweeps
from tests.sweep import matrices, row, sections, write_run, write_test

WRITTEN = ("README.md", "results.csv", "records.jsonl", "scores.png", "iou_per_class.png", "learning_curves.png")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in WRITTEN}


def lines(folder: Path) -> list[str]:
    return (folder / records.FILE).read_text().splitlines()


def test_a_later_report_goes_on_from_the_records_of_an_earlier_one(sweep: Path, tmp_path: Path) -> None:
    """A sweep whose runs were made on two machines, reported after each, against the report of all at once."""
    write_test(sweep / "random_0", 0.3, matrices(50, 60, 70))
    report.write(sweep, tmp_path / "once/sampling", examples=0)
    second = tmp_path / "second"
    second.mkdir()
    (sweep / "random_1").rename(second / "random_1")
    (sweep / "stratified_3").rename(second / "stratified_3")
    write_run(second / "random_0", "random", 0, [0.9], finished=False)  # the first machine has finished it
    for machine in (sweep, second):
        report.write(machine, tmp_path / "twice/sampling", examples=0)
    assert contents(tmp_path / "once/sampling") == contents(tmp_path / "twice/sampling")


def test_records_of_two_machines_are_merged_line_by_line(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "once/sampling", examples=0)
    (tmp_path / "second").mkdir()
    for run in sorted(sweep.glob("stratified*")):
        run.rename(tmp_path / "second" / run.name)
    folders = [tmp_path / "a/sampling", tmp_path / "b/sampling"]
    for machine, folder in zip((sweep, tmp_path / "second"), folders, strict=True):
        report.write(machine, folder, examples=0)
    merged = tmp_path / "merged/sampling"
    merged.mkdir(parents=True)
    (merged / records.FILE).write_text("\n".join(sorted({*lines(folders[0]), *lines(folders[1])})))
    assert sum('"run"' not in line for line in lines(merged)) == 2  # each machine's has a base
    report.write(merged, merged, examples=0)
    runs = {run.name: run for run in records.read(merged)}
    assert runs == {run.name: run for run in records.read(tmp_path / "once/sampling")}
    assert (merged / "README.md").read_text() == (tmp_path / "once/sampling/README.md").read_text()
    assert sum('"run"' not in line for line in lines(merged)) == 1


def test_the_records_alone_make_the_same_report(sweep: Path, tmp_path: Path) -> None:
    write_test(sweep / "random_0", 0.3, matrices(50, 60, 70))
    folder = tmp_path / "experiments/sampling"
    report.write(sweep, folder, examples=0)
    before = contents(folder)
    shutil.rmtree(sweep)
    report.write(folder, folder, examples=0)
    assert contents(folder) == before


def test_a_record_is_short_and_names_no_machine(sweep: Path, tmp_path: Path) -> None:
    """The first line has what runs have in common; a record's, what differs from it, and no matrix but of scenes."""
    report.write(sweep, tmp_path / "out", examples=0)
    base, *rest = lines(tmp_path / "out")
    assert rest == sorted(rest)
    assert json.loads(base)["config"]["model.weights"] == "encoder.pth"
    by_run = {record["run"]: record for record in map(json.loads, rest)}
    assert by_run["random_1"]["config"] == {"seed": 1}
    assert by_run["stratified_1"]["config"].keys() == {"seed", "sampler._target_"}
    text = "".join(lines(tmp_path / "out"))
    assert not any(word in text for word in ("num_workers", "/home/somebody", "confusion"))


def test_a_record_has_seven_digits(tmp_path: Path) -> None:
    write_run(tmp_path / "sweep/0", "random", 0, [0.30000001192092896])
    (run,) = sweeps.read(tmp_path / "sweep")
    assert run.scores["history"][0]["miou_all_classes"] == 0.3


def test_a_record_of_version_0_1_0_is_read_in_todays_names(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    file = tmp_path / "out" / records.FILE
    file.write_text(file.read_text().replace('"crop_size":512', '"tile_size":512,"tiles.tiles":7'))
    report.write(sweep / "random_0", tmp_path / "other", examples=0)
    assert {run.config["crop_size"] for run in records.read(tmp_path / "out")} == {512}
    assert {run.config["crops.number"] for run in records.read(tmp_path / "out")} == {7}
    records.write(records.read(tmp_path / "out"), tmp_path / "out")
    assert '"crops.number":7' in lines(tmp_path / "out")[0]
    assert "tile" not in lines(tmp_path / "out")[1]


def test_a_key_that_only_others_have_is_none(sweep: Path, tmp_path: Path) -> None:
    write_run(sweep / "plain", "random", 9, [0.2], loss={"_target_": "pointseg.losses.partial_ce.PartialCrossEntropy"})
    report.write(sweep, tmp_path / "out", examples=0)
    runs = {run.name: run for run in records.read(tmp_path / "out")}
    assert "loss.cap" in runs["random_0"].config
    assert "loss.cap" not in runs["plain"].config


def test_a_run_made_again_takes_the_place_of_its_record(sweep: Path, tmp_path: Path) -> None:
    write_test(sweep / "random_0", 0.3, matrices(50, 60, 70))
    report.write(sweep, tmp_path / "out", examples=0)
    shutil.rmtree(sweep / "random_0")
    write_run(sweep / "random_0", "random", 0, [0.25])
    run = next(run for run in records.merge(sweep, tmp_path / "out") if run.name == "random_0")
    assert run.scores["best"]["miou_all_classes"] == 0.25
    assert run.scenes is None  # those of the record are of other weights


def test_a_run_whose_test_scenes_are_gone_keeps_those_of_its_record(sweep: Path, tmp_path: Path) -> None:
    write_test(sweep / "random_0", 0.3, matrices(50, 60, 70))
    report.write(sweep, tmp_path / "out", examples=0)
    shutil.rmtree(sweep / "random_0/test")
    run = next(run for run in records.merge(sweep, tmp_path / "out") if run.name == "random_0")
    assert run.scenes is not None
    assert run.scenes.confusion.tolist() == matrices(50, 60, 70).tolist()


def test_a_run_does_not_take_the_place_of_another_configuration(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    shutil.rmtree(sweep / "random_0")
    write_run(sweep / "random_0", "random", 0, [0.25], optimizer={"lr": 0.01})
    with pytest.raises(InputError, match=r"random_0.*optimizer.lr .*0.01"):
        report.write(sweep, tmp_path / "out", examples=0)


def test_an_unfinished_run_may_change_its_configuration(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    assert row(sections(tmp_path / "out")["Not finished"], run="stratified_3")["epochs"] == "1"
    shutil.rmtree(sweep / "stratified_3")
    write_run(sweep / "stratified_3", "stratified", 3, [0.25], crop_size=256)
    report.write(sweep, tmp_path / "out", examples=0)
    assert "Not finished" not in sections(tmp_path / "out")


def test_a_report_of_one_run_leaves_the_records_of_others(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    write_run(tmp_path / "alone", "random", 5, [0.25])
    report.write(tmp_path / "alone", tmp_path / "out", examples=0)
    assert [run.name for run in records.read(tmp_path / "out")] == [
        *("alone", "random_0", "random_1", "random_2"),
        *("stratified_0", "stratified_1", "stratified_2", "stratified_3"),
    ]


@pytest.mark.parametrize("damage", ["{", '{"run":"x"}', '{"run":"x","base":"none","config":{},"scores":{}}', "[]"])
def test_damaged_records_are_refused(sweep: Path, tmp_path: Path, damage: str) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    file = tmp_path / "out" / records.FILE
    file.write_text(f"{file.read_text()}{damage}\n")
    with pytest.raises(InputError, match=r"records\.jsonl"):
        report.write(sweep, tmp_path / "out", examples=0)


def test_two_records_of_one_run_are_refused(sweep: Path, tmp_path: Path) -> None:
    """As a merge leaves them where both machines have made it."""
    report.write(sweep, tmp_path / "out", examples=0)
    file = tmp_path / "out" / records.FILE
    again = next(line for line in lines(tmp_path / "out") if '"run":"random_1"' in line)
    file.write_text(f"{file.read_text()}{again.replace('0.299', '0.298')}\n")
    with pytest.raises(InputError, match=r"records\.jsonl.*random_1"):
        records.read(tmp_path / "out")


def test_a_key_that_is_a_value_in_one_run_and_a_group_in_another_survives() -> None:
    config = {
        "dataset.split": None,
        "dataset.split.train": [1],
        "model.weights": None,
        "sampler": "x",
        "sampler.n": None,
    }
    assert records._nested(config) == {"dataset": {"split": {"train": [1]}}, "model": {"weights": None}, "sampler": "x"}
