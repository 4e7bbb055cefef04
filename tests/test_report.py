"""The folder that a sweep's report is, and the folders in experiments/."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import jaccard_score

from pointseg import plots
from pointseg.config import construct, parse
from pointseg.errors import InputError
from pointseg.reports import agreement, claims, figures, records, report, results, sweeps
from pointseg.reports.arms import arms
from pointseg.reports.rules import RULES
from pointseg.reports.statistics import confidence, randomisation
from pointseg.types import IGNORE, whole
from tests.conftest import ROOT, Outcome
from tests.support.training import composed, train
from tests.sweep import LAND, matrices, row, sections, write_run, write_test

EXPERIMENTS = ROOT / "experiments"
FOLDERS = sorted(file.parent for file in EXPERIMENTS.glob("*/records.jsonl"))


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    """A folder for experiments, with what they are held against."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / claims.FILE).write_text((EXPERIMENTS / claims.FILE).read_text())
    return folder


def test_what_differs_between_the_runs_is_what_is_compared(sweep: Path) -> None:
    """The sampler's target is decided by its option; the seed and the machine are no factors."""
    assert sweeps.factors(sweeps.read(sweep)) == ["sampler"]
    write_run(sweep / "slow", "random", 0, [0.1], optimizer={"lr": 0.1})
    assert sweeps.factors(sweeps.read(sweep)) == ["sampler", "optimizer.lr"]


def test_folds_repeat_an_arm_as_seeds_do(tmp_path: Path) -> None:
    """Fold 1 is the harder by 0.2, of which differences that are paired by seed and fold know nothing."""
    for fold, seed in product((0, 1), (0, 1)):
        for sampler, gain in (("random", 0.0), ("stratified", 0.1 + 0.01 * seed)):
            score = 0.4 + gain - 0.2 * fold
            write_run(tmp_path / f"sweep/{sampler}{fold}{seed}", sampler, seed, [score], dataset={"fold": fold})
    folder = tmp_path / "out"
    report.write(tmp_path / "sweep", folder, examples=0)
    tables = sections(folder)
    compared = row(tables["Arms compared"], arms="stratified − random")
    assert (compared["seeds"], compared["difference"]) == ("4", confidence([0.1, 0.11, 0.1, 0.11]).show())
    scores = row(tables["Scores"], arm="random")
    assert scores["best mIoU, all classes"] == confidence([0.4, 0.4, 0.2, 0.2]).show()
    over = row(tables["Over folds"], scores="validation")
    assert [over[f"fold {fold}"] for fold in (0, 1)] == ["0.105", "0.105"]
    assert over["mean over folds"] == confidence([0.105, 0.105]).show()
    assert over["verdict"] == "holds"
    assert report.FOLDS in (folder / "README.md").read_text()
    assert set(results.load(folder).table.seed) == {f"{s} of fold {f}" for s in (0, 1) for f in (0, 1)}
    assert_derived(folder)


def test_names_of_arms_leave_out_the_most_common_settings_of_many(tmp_path: Path) -> None:
    keys = ["a", "b", "c", "d", "e"]
    for i, changed in enumerate([None, *keys]):
        values = {key: int(key == changed) for key in keys}
        write_run(tmp_path / f"sweep/{i}", "random", 0, [0.5 - 0.01 * i], **values)
    table = results.table(sweeps.read(tmp_path / "sweep"))
    first, *others = (name for name, _ in arms(table, keys))
    assert others == [f"{key} 1" for key in keys]
    assert {name for name, _ in arms(table, keys[:2])} == {"a 0, b 0", "a 1, b 0", "a 0, b 1"}
    write_test(tmp_path / "sweep/1", 0.5, np.eye(3, dtype=int)[None])
    report.write(tmp_path / "sweep", tmp_path / "out", examples=0)
    tested = sections(tmp_path / "out")["Test scores"]
    assert [line["arm"] for line in tested] == ["a 1"]  # although all of those that are tested have a 1
    assert first not in others


def test_the_report_of_a_sweep(sweep: Path, experiments: Path) -> None:
    folder = experiments / "sampling"
    report.write(sweep, folder, examples=0)
    tables = sections(folder)
    assert not {"Test scores", "Share of every pixel's mIoU", "Over folds", "Agreement of the masks"} & tables.keys()
    scores = row(tables["Scores"], arm="stratified")
    assert list(scores.values())[1:7] == [
        *("3", "0.401 ± 0.002", "0.501 ± 0.002", "0.401 ± 0.002", "0.802 ± 0.005", "3.000 ± 0.000")
    ]
    compared = row(tables["Arms compared"], arms="stratified − random", measure="best mIoU")
    assert list(compared.values())[2:] == ["3", "0.102 ± 0.005", "0.000", "51.0", "higher"]
    assert row(tables["Not finished"], run="stratified_3")["epochs"] == "1"
    assert row(tables["Class shares of the training points"], sampler="random")["Road"] == "0.300"
    text = (folder / "README.md").read_text()
    start = text.split("## Scores")[0]
    assert "python -m pointseg.train -m experiment=sampling\n" in start
    settings = start.rpartition("All have\n`")[2]
    assert "loss=weighted_partial_ce budget=0.01 " in settings
    assert "sampler=" not in settings  # which is compared
    assert report.FOLDS not in text
    assert {file.name for file in folder.iterdir()} == {
        *("README.md", "results.csv", "records.jsonl"),
        *("scores.png", "iou_per_class.png", "learning_curves.png"),
    }
    assert_derived(folder)


def test_claims_are_judged_against_the_runs(sweep: Path, experiments: Path) -> None:
    report.write(sweep, experiments / "sampling", examples=0)
    table = sections(experiments / "sampling")["The technical report's claims"]
    verdicts = {line["claim"]: (line["report"], line["these runs"]) for line in table}
    assert verdicts["Stratified beats random at its best"] == ("+4.7 %", "34.1 ± 1.9 %: holds")
    assert verdicts["Random: best mIoU"] == ("0.38", "0.299 ± 0.002: does not hold")
    arrival = "Stratified arrives earlier: epochs that random needs more"
    assert verdicts[arrival] == ("2", "-1.000 ± 0.000: does not hold")
    text = (experiments / "sampling/README.md").read_text()
    deviations = text.partition("## The technical report's claims")[2]
    assert re.search(r"\| model +\| deeplabv3_resnet50 +\| unet +\|", deviations)
    assert re.search(r"\| model.weights +\| COCO_WITH_VOC_LABELS_V1 +\| encoder.pth +\|", deviations)
    assert "| crop_size" not in deviations


def test_claims_are_judged_in_their_own_experiment_alone(sweep: Path, experiments: Path) -> None:
    for name, claim in (("loss", "Partial CE, weighted: best mIoU"), ("folds", None), ("my_own", None)):
        report.write(sweep, experiments / name, examples=0)
        table = sections(experiments / name).get("The technical report's claims", [])
        assert [line["claim"] for line in table][:1] == ([claim] if claim else [])
        assert "Stratified beats random at its best" not in [line["claim"] for line in table]


@pytest.mark.parametrize("damage", ["claims: [", "goals: {}\narms: {}\nprotocol: {}", "3"])
def test_damaged_claims_are_refused(sweep: Path, experiments: Path, damage: str) -> None:
    (experiments / claims.FILE).write_text(damage)
    with pytest.raises(InputError, match=r"claims\.yaml"):
        report.write(sweep, experiments / "sampling", examples=0)


def test_every_stored_claim_has_one_rule_and_known_arms() -> None:
    for folder in FOLDERS:
        judged = claims.load(folder)
        for claim in judged.claims:
            assert len(RULES.keys() & claim.keys()) == 1
            assert {claim["arm"], claim.get("against", claim["arm"])} <= judged.arms.keys()


def test_the_score_is_drawn_against_the_budget() -> None:
    columns = {"budget": ["9", "1.0", "9"], "points/a": [10, 1000, 10], "y": [0.1, 0.5, 0.3]}
    arm = pd.DataFrame(columns, index=pd.Index([0, 0, 1], name="seed"))
    axes = figures.against_budget([("arm", arm)], {"score": "y"}, {"score": {"masks": 0.7}}).axes[0]
    assert np.array_equal(axes.lines[0].get_xydata(), [[10, 0.2], [1000, 0.5]])
    assert axes.lines[-1].get_ydata() == [0.7, 0.7]
    ends, none = axes.containers[0].lines[2][0].get_segments()
    assert ends[:, 1] == pytest.approx([0.2 - (half := confidence([0.1, 0.3]).half), 0.2 + half])
    assert not len(none)  # one seed has no interval


def test_means_stand_with_their_intervals() -> None:
    arms = [("one", pd.DataFrame({"x": [0.0, 2.0]})), ("other", pd.DataFrame({"x": [1.0]}))]
    axes = figures.means(arms, {"title": "x"}).axes[0]
    (ends,) = axes.containers[0].lines[2][0].get_segments()
    assert ends[:, 0] == pytest.approx([1 - (half := confidence([0.0, 2.0]).half), 1 + half])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "other"]


def test_the_report_of_runs_that_have_been_tested(tmp_path: Path, experiments: Path) -> None:
    confusions = {"random": matrices(50, 60, 70), "stratified": matrices(60, 70, 80)}
    for seed in range(3):
        for sampler in confusions:
            for budget, gain in ((5, 0.0), (1.0, 0.1)):
                folder = tmp_path / f"sweep/{sampler}{budget}_{seed}"
                score = 0.4 + gain + 0.001 * seed
                write_run(folder, sampler, seed, [score if sampler == "random" else 1.1 * score], budget=budget)
                write_test(folder, score - gain if sampler == "random" else score, confusions[sampler])
    (tmp_path / "sweep/random1.0_2/test/scenes.csv").unlink()  # its scores are there, its scenes are not
    folder = experiments / "folds"
    report.write(tmp_path / "sweep", folder, examples=0)
    tables = sections(folder)
    by_budget = row(tables["mIoU by budget"], arm="random", scores="validation")
    assert (by_budget["5"], by_budget["1.0"]) == ("0.501 ± 0.002", "0.601 ± 0.002")
    tested = row(tables["Test scores"], arm="stratified, budget 1.0")
    assert list(tested.values())[1:] == ["3", "0.401 ± 0.002", "0.501 ± 0.002", "0.701 ± 0.002"]
    over_scenes = {(line["arms"], line["measure"]): line["p over seeds and scenes"] for line in tables["Arms compared"]}
    expected = randomisation([confusions["stratified"]] * 3, [confusions["random"]] * 3, LAND)
    pair, whole_pair = (f"stratified, budget {x} − random, budget {x}" for x in ("5", "1.0"))
    assert over_scenes == {
        (pair, "mIoU, land cover"): "–",
        (pair, "test mIoU, land cover"): f"{expected:.4f}",
        (whole_pair, "mIoU, land cover"): "–",
        (whole_pair, "test mIoU, land cover"): "–",
    }  # the curves tell budgets apart
    shares = tables["Share of every pixel's mIoU"]
    first = row(shares, arm="random", budget="5", scores="validation")
    assert list(first.values())[3:] == ["3", "0.834 ± 0.001", "0.65", "holds"]
    assert row(shares, arm="stratified", budget="5", scores="test")["share"] == "0.800 ± 0.001"
    assert_derived(folder)


def test_the_agreement_of_the_masks_is_measured_across_the_cuts(tmp_path: Path) -> None:
    """mIoU as sklearn's Jaccard index of one mask by the other, either way round."""
    for seed in range(2):
        config = composed(f"dataset.seed={seed}")
        write_run(tmp_path / f"sweep/{seed}", "random", 0, [0.3])
        OmegaConf.save(config, tmp_path / f"sweep/{seed}/config.yaml", resolve=True)
    runs = agreement.measured(sweeps.read(tmp_path / "sweep"))
    table = agreement.table(runs)
    assert list(zip(table.setting, table.split, strict=True)) == [
        (f"dataset.seed {seed}", split) for seed in range(2) for split in ("train", "val", "test")
    ]
    parts = [scene.mask(whole(scene)) for scene in construct(parse(config).dataset).splits["val"]]
    tile = np.block([parts[:3], parts[3:6], parts[6:]])
    a, b = [], []
    for cut in (len(tile) // 3, len(tile) // 3 * 2):
        for first, second in ((tile[cut - 1], tile[cut]), (tile[:, cut - 1], tile[:, cut])):
            labelled = (first != IGNORE) & (second != IGNORE)
            a, b = [*a, *first[labelled], *second[labelled]], [*b, *second[labelled], *first[labelled]]
    line = table[table.split == "val"].iloc[1]
    assert line.pairs == len(a) / 2
    assert line.agreement == pytest.approx(np.mean(np.array(a) == np.array(b)))
    land = sorted({*a} - {5})
    assert line.miou_land_cover == pytest.approx(jaccard_score(a, b, labels=land, average="macro"))
    assert line.agreement < 1
    records.write(runs, tmp_path)
    assert agreement.table(records.read(tmp_path)).equals(table)


def test_only_masks_of_many_pairs_are_a_level() -> None:
    masks = {"val": [6000, 0.9, 1.0, 0.8, 1.0], "test": [500, 0.9, 1.0, 0.2, 1.0]}
    run = sweeps.Run("run", {}, {}, masks=masks)
    assert list(agreement.levels([run], "validation").values()) == [0.8]
    assert agreement.levels([run], "test") == {}


def test_a_run_that_is_there_twice_is_refused(sweep: Path, tmp_path: Path) -> None:
    write_run(sweep / "again", "random", 0, [0.1])
    with pytest.raises(InputError, match="again, random_0"):
        report.write(sweep, tmp_path / "out", examples=0)


def test_examples_stay_where_no_run_has_its_weights(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    train(tmp_path / "sweep/a b/run", "crop_size=16", "overlap=4")
    report.write(tmp_path / "sweep", folder, examples=1)
    before = (folder / "examples.png").read_bytes()
    assert row(sections(folder)["Agreement of the masks"], split="val")
    text = (folder / "README.md").read_text()
    (tmp_path / "sweep/a b/run/best.ckpt").unlink()
    for again, examples in ((folder, 1), (tmp_path / "sweep", 1), (tmp_path / "sweep", 0)):
        report.write(again, folder, examples)
        assert (folder / "examples.png").read_bytes() == before
        assert (folder / "README.md").read_text() == text


def test_an_example_larger_than_a_window_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    train(tmp_path / "run", "crop_size=16", "overlap=4")
    shown = []

    def panel(scene: Any, points: Any, class_map: Any, *_: Any) -> Figure:
        shown.append((scene, class_map))
        return Figure()

    monkeypatch.setattr(plots, "panel", panel)
    figures.example(tmp_path / "run", "run")
    ((scene, class_map),) = shown
    assert class_map.shape == scene.shape
    assert class_map.max() < 6  # every pixel has a class


def test_a_picture_keeps_colours_of_few_pixels(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.imshow(np.random.default_rng(0).integers((180, 120, 0), (255, 200, 90), (300, 300, 3)))
    axes.plot([10, 11], [10, 10], color=(254 / 255, 221 / 255, 58 / 255), linewidth=8)
    figures.save([figure, figure], tmp_path / "two.png")
    picture = Image.open(tmp_path / "two.png")
    assert picture.mode == "P"
    assert picture.height == 2 * picture.width
    away = np.abs(np.asarray(picture.convert("RGB")).astype(int) - (254, 221, 58)).sum(-1)
    assert away.min() < 30


def assert_derived(folder: Path) -> None:
    """results.csv follows from the records, and README.md from both."""
    stored = results.load(folder)
    table = results.table(list(stored.runs.values()))
    pd.testing.assert_frame_equal(table, stored.table, check_dtype=False, rtol=1e-6)
    assert report.readme(folder) == (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_stored_experiment_follows_from_its_records(folder: Path) -> None:
    assert_derived(folder)


def test_experiments_are_few_and_small() -> None:
    files = [file for file in EXPERIMENTS.rglob("*") if file.is_file()]
    assert len(files) <= 80
    assert sum(file.stat().st_size for file in files) <= 8e6
    assert all(len(list(folder.glob("*.png"))) <= 4 for folder in FOLDERS)


def test_the_figures_of_an_answer_stand_in_its_report() -> None:
    text = (EXPERIMENTS / "README.md").read_text()
    answered = set()
    for line in text.splitlines():
        if link := re.search(r"\]\((\w+)/README.md\) \|$", line):
            report_text = (EXPERIMENTS / link[1] / "README.md").read_text()
            given = re.findall(r"-?\d\.\d{3}(?: ± \d\.\d{3})?", line.split("|")[2])
            assert given
            assert not [figure for figure in given if f" {figure}" not in report_text]
            answered.add(link[1])
    assert answered == {folder.name for folder in FOLDERS}


def test_the_command_says_what_is_missing(command: Callable[..., Outcome], tmp_path: Path) -> None:
    for arguments, message in (
        ((), "sweep"),
        (("sweep=nowhere",), "sweep=nowhere"),
        (("sweep=nowhere", "examples=some"), "examples=some"),
    ):
        result = command("pointseg.report", *arguments)
        assert result.code != 0
        assert message in result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "experiments").exists()
