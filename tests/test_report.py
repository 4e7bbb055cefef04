"""Statistics against closed forms and scipy, the verdict rules, and the folder that a sweep's report is."""

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy import stats
from sklearn.metrics import jaccard_score

from pointseg.config import construct
from pointseg.errors import InputError
from pointseg.reports import agreement, claims, figures, records, report, sweeps, tables
from pointseg.reports.statistics import Interval, confidence, paired, prediction, randomisation
from pointseg.types import IGNORE, whole
from tests.conftest import ROOT, Outcome
from tests.test_training import composed

A, B = [0.41, 0.38, 0.44, 0.40], [0.36, 0.37, 0.39, 0.38]


def test_the_interval_is_students() -> None:
    low, high = stats.t.interval(0.95, 3, np.mean(A), stats.sem(A))
    assert confidence(A)[:] == pytest.approx((np.mean(A), (high - low) / 2))


def test_an_interval_of_two_by_its_closed_form() -> None:
    """t with one degree of freedom is Cauchy's: tan(0.475 π)."""
    assert confidence([0.0, 2.0]).half == pytest.approx(np.tan(0.475 * np.pi))
    assert prediction([0.0, 2.0]).half == pytest.approx(np.tan(0.475 * np.pi) * np.sqrt(3))
    assert np.isnan(confidence([1.0]).half)


def test_the_prediction_interval_holds_its_share_of_further_values() -> None:
    samples = np.random.default_rng(0).normal(size=(4000, 4))
    inside = [(x := prediction(row[:3].tolist())).low <= row[3] <= x.high for row in samples]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_paired_comparison_is_scipys() -> None:
    test = stats.ttest_rel(A, B)
    result = paired(A, B)
    assert result.p == pytest.approx(test.pvalue)
    interval = test.confidence_interval(0.95)
    assert (result.difference.low, result.difference.high) == pytest.approx((interval.low, interval.high))
    assert result.effect == pytest.approx(test.statistic / np.sqrt(len(A)))
    assert np.isnan(paired([1.0], [0.0]).p)


def matrices(*hits: int, of: int = 100) -> np.ndarray:
    """Of scenes with `of` pixels of each of three classes: so many of each are right, the others called the next."""
    right = np.array(hits)[:, None, None]
    return np.eye(3, dtype=int) * right + np.roll(np.eye(3, dtype=int), 1, axis=1) * (of - right)


LAND = (True, True, False)


def test_arms_that_are_alike_and_arms_that_are_not() -> None:
    alike, better = [matrices(50, 60, 70)] * 3, [matrices(60, 70, 80)] * 3
    assert randomisation(alike, alike, LAND) == 1
    # Better in each of 9 pairs: all swapped or none are as far apart, 2 of 2⁹.
    assert randomisation(better, alike, LAND) == pytest.approx(2 / 2**9, abs=0.002)
    assert randomisation(better, alike, LAND) == randomisation(alike, better, LAND)


@pytest.mark.parametrize("draw", [1, 2, 5])
def test_the_randomisation_is_that_of_all_swaps(draw: int) -> None:
    """Every way in which the pairs may have changed places, by sklearn's Jaccard index."""
    a, b = np.random.default_rng(draw).integers(0, 50, (2, 2, 3, 3, 3))  # arm, seed, scene

    def score(seeds: np.ndarray) -> float:
        labels = np.indices((3, 3)).reshape(2, 9)
        scores = [jaccard_score(*labels, average=None, sample_weight=seed.sum(0).ravel())[:2].mean() for seed in seeds]
        return float(np.mean(scores))

    swaps = np.array(list(product([False, True], repeat=6))).reshape(-1, 2, 3, 1, 1)
    differences = [abs(score(np.where(swap, b, a)) - score(np.where(swap, a, b))) for swap in swaps]
    exact = np.mean(np.array(differences) >= differences[0] - 1e-12)
    assert randomisation(list(a), list(b), LAND) == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Interval(0.03, 0.02), "holds"),
        (Interval(-0.03, 0.02), "does not hold"),
        (Interval(0.01, 0.02), "undecided"),
        (Interval(0.01, np.nan), "undecided"),
    ],
)
def test_a_difference_is_decided_by_the_sign_of_its_interval(interval: Interval, verdict: str) -> None:
    assert claims.sign(interval) == verdict


def frame(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns)


NONE = frame()


@pytest.mark.parametrize(
    ("rule", "a", "b", "shown", "verdict"),
    [
        (claims.higher("x", relative=True), [1.1, 1.1, 1.1001], [1.0, 1.0, 1.0], "10.0 ± 0.0 %", "holds"),
        (claims.higher("x"), [0.1, 0.1, 0.1001], [0.2, 0.2, 0.2], "-0.100 ± 0.000", "does not hold"),
        (claims.higher("x"), [0.9], [0.2], "0.700", "undecided"),
        (claims.similar("x", 0.02), [0.30, 0.301, 0.30], [0.30, 0.30, 0.301], "0.000 ± 0.002", "holds"),
        (claims.similar("x", 0.02), [0.40, 0.401, 0.40], [0.30, 0.30, 0.301], "0.100 ± 0.002", "does not hold"),
        (claims.similar("x", 0.02), [0.40, 0.20, 0.30], [0.30, 0.30, 0.30], "0.000 ± 0.248", "undecided"),
        (claims.figure("x", 0.38), [0.37, 0.39, 0.38], [], "0.380 ± 0.025", "holds"),
        (claims.figure("x", 0.10), [0.37, 0.39, 0.38], [], "0.380 ± 0.025", "does not hold"),
        (claims.figure("x", 0.10), [0.37], [], "0.370", "undecided"),
        (claims.figure("x", 0.80), [0.20, 0.70, 0.60], [], "0.500 ± 0.657", "undecided"),
        (claims.always(lambda runs: runs.x > 1), [2, 3], [], "2 of 2 seeds", "holds"),
        (claims.always(lambda runs: runs.x > 1), [0, 3], [], "1 of 2 seeds", "undecided"),
        (claims.always(lambda runs: runs.x > 1), [0, 1], [], "0 of 2 seeds", "does not hold"),
        (claims.always(lambda runs: runs.x > 1), [3], [], "1 of 1 seeds", "undecided"),
    ],
)
def test_each_rule(rule: claims.Rule, a: list[float], b: list[float], shown: str, verdict: str) -> None:
    assert rule(frame(x=a), frame(x=b)) == (shown, verdict)


def test_class_claims_read_weights_and_points() -> None:
    runs = frame(**{f"weight/{name}": [w, w] for name, w in (("Road", 0.1), ("Land", 1.0), ("Building", 9.0))})
    assert claims.most("weight", "Building")(runs, NONE)[1] == "holds"
    assert claims.most("weight", "Road", least=True)(runs, NONE)[1] == "holds"
    assert claims.most("weight", "Land")(runs, NONE)[1] == "does not hold"
    points = frame(**{"points/Road": [44, 45, 43], "points/Land": [56, 55, 57]})
    assert claims.share("Road", 0.44)(points, NONE) == ("0.440 ± 0.025", "holds")


def write_run(
    folder: Path, sampler: str, seed: int, miou: list[float], finished: bool = True, **config: object
) -> None:
    """A run folder as training leaves it, without weights."""
    classes = ("Water", "Road", "Building")
    history = [
        {"epoch": i + 1, "miou_all_classes": x, "miou_land_cover": x + 0.1, "accuracy": 2 * x, "loss": 2 - x}
        | {f"iou/{name}": x for name in classes}
        | {"confusion": np.eye(3, dtype=int).tolist(), "train/miou_all_classes": x + 0.2}
        for i, x in enumerate(miou)
    ]
    best = max(history, key=lambda epoch: epoch["miou_all_classes"])
    scores = {"val": {"best": best, "final": history[-1]}, "history": history}
    if finished:
        points = dict(zip(classes, (600, 300, 100), strict=True))
        scores["finished"] = {"seconds": 60, "points": points, "device": "cpu", "versions": {"torch": "2"}}
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps(scores))
    nodes = {
        "sampler": {"_target_": f"pointseg.samplers.{sampler}.{sampler.title()}"},
        "loss": {"_target_": "pointseg.losses.weighted_partial_ce.WeightedPartialCrossEntropy", "cap": 100},
        "model": {"_target_": "pointseg.models.networks.unet", "weights": "/home/somebody/encoder.pth"},
    }
    OmegaConf.save({**nodes, "seed": seed, "budget": 0.01, "crop_size": 512, **config}, folder / "config.yaml")


def write_test(folder: Path, miou: float, confusion: np.ndarray) -> None:
    """As pointseg.evaluate leaves it, in three classes of which the last is no land cover."""
    scores = json.loads((folder / "scores.json").read_text())
    scores["test"] = {"miou_all_classes": miou - 0.1, "miou_land_cover": miou, "accuracy": miou + 0.2}
    (folder / "scores.json").write_text(json.dumps(scores))
    lines = [
        f"Tile 4/{i},{name},{land},{','.join(map(str, row))}\n"
        for i, scene in enumerate(confusion)
        for name, land, row in zip(("Water", "Road", "None"), LAND, scene, strict=True)
    ]
    (folder / "test").mkdir()
    (folder / "test/scenes.csv").write_text("scene,truth,land_cover,Water,Road,None\n" + "".join(lines))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed in range(3):
        wobble = 0.001 * seed
        write_run(tmp_path / f"sweep/random_{seed}", "random", seed, [0.1, 0.3 - wobble, 0.2], num_workers=seed)
        write_run(tmp_path / f"sweep/stratified_{seed}", "stratified", seed, [0.1, 0.2 + wobble, 0.4 + wobble])
    write_run(tmp_path / "sweep/stratified_3", "stratified", 3, [0.1], finished=False)
    return tmp_path / "sweep"


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
    report.write(tmp_path / "sweep", tmp_path / "out", examples=0)
    text = (tmp_path / "out/README.md").read_text()
    expected = confidence([0.1, 0.11, 0.1, 0.11])
    assert f"| stratified − random | best_miou | 4 | {claims.show(expected)} |" in text
    assert f"| random | 4 | {claims.show(confidence([0.4, 0.4, 0.2, 0.2]))} |" in text
    assert report.FOLDS in text
    over = claims.show(confidence([0.105, 0.105]))
    assert f"| stratified − random | validation | 0.105 | 0.105 | {over} | 0 | holds |" in text
    assert set(tables.load(tmp_path / "out/results.csv").runs.seed) == {
        f"{s} of fold {f}" for s in (0, 1) for f in (0, 1)
    }
    assert_tables_follow_from_the_results(tmp_path / "out")


def test_arms_of_a_sweep_of_many_factors_are_named_by_what_they_have_otherwise(tmp_path: Path) -> None:
    keys = ["a", "b", "c", "d", "e"]
    for i, changed in enumerate([None, *keys]):
        values = {key: int(key == changed) for key in keys}
        write_run(tmp_path / f"sweep/{i}", "random", 0, [0.5 - 0.01 * i], **values)
    results = sweeps.table(sweeps.read(tmp_path / "sweep"))
    assert [name for name, _ in tables.arms(results, keys)] == ["as most", *(f"{key} 1" for key in keys)]
    assert {name for name, _ in tables.arms(results, keys[:2])} == {"a 0, b 0", "a 1, b 0", "a 0, b 1"}
    write_test(tmp_path / "sweep/1", 0.5, np.eye(3, dtype=int)[None])
    report.write(tmp_path / "sweep", tmp_path / "out", examples=0)
    tested = (tmp_path / "out/README.md").read_text().split("## Test scores")[1].split("##")[0]
    assert "| a 1 | 1 |" in tested  # although most of those that are tested have a 1
    assert "| as most |" not in tested


def test_the_report_of_a_sweep(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "experiments/sampling"
    folder.mkdir(parents=True)
    (folder / "noise.csv").write_text("of an earlier report")
    report.write(sweep, folder, examples=0)
    assert not (folder / "noise.csv").exists()
    text = (folder / "README.md").read_text()
    assert not any(title in text for title in ("## Test scores", "over seeds and scenes", "## Share of every"))
    assert "Does it matter how the points are drawn" in text
    assert report.FOLDS not in text
    assert "python -m pointseg.train -m experiment=sampling\n" in text
    assert "Runs: 6 finished of 7" in text
    assert "`loss=weighted_partial_ce budget=" in text
    assert "batch_size=" in text.split("## Scores")[0]
    assert "sampler=" not in text.split("## Scores")[0]  # which is compared
    assert "| stratified_3 | 1 |" in text
    assert "| stratified | 3 | 0.401 ± 0.002 | 0.501 ± 0.002 | 0.401 ± 0.002 | 0.802 ± 0.005 | 3.000 ± 0.000 |" in text
    assert "| stratified − random | best_miou | 3 | 0.102 ± 0.005 | 0.000 | 51.0 | stratified |" in text
    assert "| Stratified beats random at its best | +4.7 % | 34.1 ± 1.9 % | holds |" in text
    assert "| Random: best mIoU | 0.380 | 0.299 ± 0.002 | does not hold |" in text
    assert "| Stratified arrives earlier: epochs that random needs more | 2 | -1.000 ± 0.000 | does not hold |" in text
    assert "Focal" not in text
    assert "Partial CE" not in text  # of the second experiment, although its arm is here
    assert "| model | deeplabv3_resnet50 | unet |" in text
    assert "| model.weights | COCO_WITH_VOC_LABELS_V1 | encoder.pth |" in text
    assert "| crop_size |" not in text
    drawn = {file.name for file in (folder / "figures").iterdir()}
    assert {f"learning_curves.{kind}" for kind in ("png", "svg")} <= drawn
    assert {"confusion_random.svg", "confusion_stratified.svg", "IoU_per_class.svg", "class_shares.svg"} <= drawn
    assert_tables_follow_from_the_results(folder)


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
    names = ("README.md", "results.csv", "learning_curves.csv", "runs/random_0/test/scenes.csv")
    once, twice = ([(tmp_path / x / "sampling" / name).read_text() for name in names] for x in ("once", "twice"))
    assert once == twice
    recorded = [file.read_text() for file in (tmp_path / "twice").rglob("*.yaml")]
    assert len(recorded) == 6
    assert "num_workers: 2" not in "".join(recorded)
    assert "/home/somebody" not in "".join(recorded)


def test_the_records_alone_make_the_same_report(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "experiments/sampling"
    shutil.rmtree(sweep / "stratified_3")
    report.write(sweep, folder, examples=0)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.suffix in (".md", ".csv", ".json", ".yaml")}
    report.write((folder / "runs").resolve(), folder, examples=0)
    assert {file: file.read_bytes() for file in before} == before


def test_a_run_made_again_takes_the_place_of_its_record(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    (tmp_path / "out/runs/random_0/old.png").touch()
    shutil.rmtree(sweep / "random_0")
    write_run(sweep / "random_0", "random", 0, [0.25])
    (run,) = (run for run in records.read(sweep, tmp_path / "out/runs") if run.name == "random_0")
    assert run.scores["val"]["best"]["miou_all_classes"] == 0.25
    report.write(sweep, tmp_path / "out", examples=0)
    assert not (tmp_path / "out/runs/random_0/old.png").exists()


def test_a_run_does_not_take_the_place_of_another_configuration(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    shutil.rmtree(sweep / "random_0")
    write_run(sweep / "random_0", "random", 0, [0.25], optimizer={"lr": 0.01})
    with pytest.raises(InputError, match=r"random_0: its record, .* \(optimizer.lr none, now 0.01\); give name="):
        report.write(sweep, tmp_path / "out", examples=0)


def test_a_report_of_one_run_leaves_the_records_of_others(sweep: Path, tmp_path: Path) -> None:
    report.write(sweep, tmp_path / "out", examples=0)
    write_run(tmp_path / "alone", "random", 5, [0.25])
    report.write(tmp_path / "alone", tmp_path / "out", examples=0)
    assert len(list((tmp_path / "out/runs").glob("*/scores.json"))) == 7


def test_claims_are_judged_in_their_own_experiment_alone(sweep: Path, tmp_path: Path) -> None:
    for name, told in (("loss", "Partial CE, weighted: best mIoU"), ("label_budget", None), ("my_own", None)):
        report.write(sweep, tmp_path / name, examples=0)
        text = (tmp_path / name / "README.md").read_text()
        assert ("The report's claims" in text) == (told is not None)
        assert told is None or told in text
        assert "Stratified beats random" not in text


def test_the_best_score_is_drawn_against_the_budget(sweep: Path, tmp_path: Path) -> None:
    for seed in range(3):
        write_run(sweep / f"more_{seed}", "random", seed, [0.5], budget=100)
    report.write(sweep, tmp_path / "out", examples=0)
    assert (tmp_path / "out/figures/score_against_budget.svg").exists()
    along = pd.DataFrame(
        {
            "setting": np.nan,
            "split": ["val", "test", "test"],
            "pairs": [6000, 6000, 500],
            "miou_land_cover": [0.9, 0.7, 0.2],
        }
    )
    arm = pd.DataFrame({"budget": ["9", "1.0", "9"], "points/a": [10, 1000, 10], "y": [0.1, 0.5, 0.3]}, index=[0, 0, 1])
    axes = figures.score_against_budget([("arm", arm.rename_axis("seed"))], {"test": "y"}, along).axes[0]
    assert np.array_equal(axes.lines[0].get_xydata(), [[10, 0.2], [1000, 0.5]])
    assert axes.lines[-1].get_ydata() == [0.7, 0.7]
    ends, none = axes.containers[0].lines[2][0].get_segments()
    assert ends[:, 1] == pytest.approx([0.2 - (half := confidence([0.1, 0.3]).half), 0.2 + half])
    assert not len(none)  # one seed has no interval


def test_the_report_of_runs_that_have_been_tested(tmp_path: Path) -> None:
    confusions = {"random": matrices(50, 60, 70), "stratified": matrices(60, 70, 80)}
    for seed in range(3):
        for sampler in confusions:
            for budget, gain in ((5, 0.0), (1.0, 0.1)):
                folder = tmp_path / f"sweep/{sampler}{budget}_{seed}"
                score = 0.4 + gain + 0.001 * seed
                write_run(folder, sampler, seed, [score if sampler == "random" else 1.1 * score], budget=budget)
                write_test(folder, score - gain if sampler == "random" else score, confusions[sampler])
    shutil.rmtree(tmp_path / "sweep/random1.0_2/test")  # its scores are there, its scenes are not
    folder = tmp_path / "label_budget"
    report.write(tmp_path / "sweep", folder, examples=0)
    text = (folder / "README.md").read_text()
    assert "| random | validation | 0.601 ± 0.002 | 0.501 ± 0.002 |" in text
    assert "| stratified | test | 0.501 ± 0.002 | 0.401 ± 0.002 |" in text
    assert "| stratified, budget 1.0 | 3 | 0.401 ± 0.002 | 0.501 ± 0.002 | 0.701 ± 0.002 |" in text
    p = {
        tuple(cells[:2]): cells[5]
        for line in text.splitlines()
        if len(cells := line.strip("| ").split(" | ")) == 8 and "−" in cells[0]
    }
    expected = randomisation([confusions["stratified"]] * 3, [confusions["random"]] * 3, LAND)
    assert p["stratified, budget 5 − random, budget 5", "test_miou_land_cover"] == f"{expected:.4f}"
    assert p["stratified, budget 5 − random, budget 5", "best_miou"] == "–"
    assert p["stratified, budget 1.0 − random, budget 1.0", "test_miou_land_cover"] == "–"
    assert not any("1.0" in arms and "budget 5" in arms for arms, _ in p)  # the curves tell these apart
    assert "| random | 5 | validation | 3 | 0.834 ± 0.001 | 0.65 | holds |" in text
    assert "| stratified | 5 | test | 3 | 0.800 ± 0.001 | 0.65 | holds |" in text
    assert "| random | 1.0 | test | 3 | 1.000 ± 0.000 | – | – |" in text
    assert_tables_follow_from_the_results(folder)


def test_the_noise_of_the_masks_is_their_agreement_along_the_cuts(tmp_path: Path) -> None:
    """mIoU as sklearn's Jaccard index of one mask by the other, either way round."""
    for seed in range(2):
        cfg = composed(f"dataset.seed={seed}")
        node = OmegaConf.to_container(cfg.dataset, resolve=True)
        write_run(tmp_path / f"sweep/{seed}", "random", 0, [0.3], budget=5, dataset=node, points=None)
    found = agreement.table(sweeps.read(tmp_path / "sweep"))
    assert list(zip(found.setting, found.split, strict=True)) == [
        (f"dataset.seed {seed}", split) for seed in range(2) for split in ("train", "val", "test")
    ]
    parts = [scene.mask(whole(scene)) for scene in construct(node).splits["val"]]
    tile = np.block([parts[:3], parts[3:6], parts[6:]])
    a, b = [], []
    for cut in (len(tile) // 3, len(tile) // 3 * 2):
        for first, second in ((tile[cut - 1], tile[cut]), (tile[:, cut - 1], tile[:, cut])):
            labelled = (first != IGNORE) & (second != IGNORE)
            a, b = [*a, *first[labelled], *second[labelled]], [*b, *second[labelled], *first[labelled]]
    row = found[found.split == "val"].iloc[1]
    assert row.pairs == len(a) / 2
    assert row.agreement == pytest.approx(np.mean(np.array(a) == np.array(b)))
    land = sorted({*a} - {5})
    assert row.miou_land_cover == pytest.approx(jaccard_score(a, b, labels=land, average="macro"))
    assert row.agreement < 1


def test_means_stand_with_their_intervals() -> None:
    axes = figures.means([("one", frame(x=[0.0, 2.0])), ("other", frame(x=[1.0]))], {"title": "x"}).axes[0]
    (ends,) = axes.containers[0].lines[2][0].get_segments()
    assert ends[:, 0] == pytest.approx([1 - (half := confidence([0.0, 2.0]).half), 1 + half])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "other"]


def test_a_run_that_is_there_twice_is_refused(sweep: Path, tmp_path: Path) -> None:
    write_run(sweep / "again", "random", 0, [0.1])
    with pytest.raises(InputError, match="again, random_0: the same configuration and seed twice"):
        report.write(sweep, tmp_path / "out", examples=0)


def test_an_example_stays_with_the_record_of_its_run(tmp_path: Path) -> None:
    from tests.test_training import train

    sweep, folder = tmp_path / "sweep", tmp_path / "out"
    train(sweep / "a b/run", "crop_size=16", "overlap=4")
    report.write(sweep, folder, examples=1)
    (picture,) = (folder / "runs").rglob("*.png")
    (sweep / "a b/run/best.ckpt").unlink()
    for again in (folder / "runs", sweep):
        report.write(again, folder, examples=1)
        assert f"](runs/a%20b/run/{picture.name})" in (folder / "README.md").read_text()


def assert_tables_follow_from_the_results(folder: Path) -> None:
    assert tables.render(folder.name, tables.load(folder / "results.csv")) in (folder / "README.md").read_text()


@pytest.mark.parametrize("file", sorted((ROOT / "experiments").glob("*/README.md")), ids=lambda file: file.parent.name)
def test_the_tables_of_a_stored_experiment_follow_from_its_results(file: Path) -> None:
    assert_tables_follow_from_the_results(file.parent)


def test_the_command_says_what_is_missing(command: Callable[..., Outcome], tmp_path: Path) -> None:
    for arguments, message in (
        ((), "sweep: missing; give it, as in python -m pointseg.report sweep="),
        (("sweep=nowhere",), "there is no run in this folder"),
        (("sweep=nowhere", "examples=some"), "examples=some: give a number of scenes"),
    ):
        result = command("pointseg.report", *arguments)
        assert result.code != 0
        assert message in result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "experiments").exists()


def test_an_example_larger_than_a_window_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    from tests.test_training import train

    train(tmp_path / "run", "crop_size=16", "overlap=4")
    shown = []

    def panel(scene: Any, points: Any, class_map: Any, *_: Any) -> Figure:
        shown.append((scene, class_map))
        return Figure()

    monkeypatch.setattr(figures.plots, "panel", panel)
    figures.examples(sweeps.Run(tmp_path / "run", "run", {}, {}, {}), 1)
    ((scene, class_map),) = shown
    assert class_map.shape == scene.shape
    assert class_map.max() < 6  # every pixel has a class
