"""The claims of the technical report on point-supervised segmentation, and the rules that decide them.

Verdicts: "holds", "does not hold", or "undecided" where the runs are too few or too scattered to say.

higher    a measure of one arm lies above another's: the sign of the 95 % interval of the paired difference
similar   the same interval lies within a margin (holds) or wholly beyond it (does not hold)
figure    a figure of the report, which is one run's: it lies outside our 95 % prediction interval for one run (does not
          hold), or within CLOSE of all of our mean's 95 % interval (holds)
always    a statement about one run: true of every seed (holds) or of none (does not hold)

A claim is judged in the experiment that it is about, by the name of the report's folder: the runs of another experiment
may hold the same arm, but not the question. PROTOCOL is what the report trained with, for saying what runs differ in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from pointseg.reports.statistics import Interval, confidence, paired, prediction

PROTOCOL = {
    "model": "deeplabv3_resnet50",
    "model.weights": "COCO_WITH_VOC_LABELS_V1",
    "dataset": "aerial",
    "dataset.split": "not said",
    "dataset.scale": "512",
    "crop_size": "512",
    "augment.scale": "not said",
    "augment.symmetries": "not said",
    "augment.colour": "not said",
    "batch_size": "4",
    "optimizer": "adam",
    "optimizer.lr": "0.001",
    "optimizer.weight_decay": "0.0001",
    "schedule": "constant",
    "trainer.max_epochs": "10",
}
"""The report's protocol by the keys of a run's configuration, and the options of its groups."""

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
CLOSE = 0.05  # of a score or a share
Rule = Callable[[pd.DataFrame, pd.DataFrame], tuple[str, str]]
"""The runs of the claim's arm and of the arm it is held against, both by seed → our figure and the verdict."""


def higher(measure: str, relative: bool = False) -> Rule:
    def rule(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
        ours, theirs = (100 * (a[measure] / b[measure] - 1), 0 * a[measure]) if relative else (a[measure], b[measure])
        interval = paired(ours.tolist(), theirs.tolist()).difference
        return show(interval, " %" if relative else ""), sign(interval)

    return rule


def sign(interval: Interval) -> str:
    if interval.low > 0:
        return HOLDS
    return FAILS if interval.high < 0 else UNDECIDED


def similar(measure: str, margin: float) -> Rule:
    def rule(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
        interval = paired(a[measure].tolist(), b[measure].tolist()).difference
        within = -margin <= interval.low and interval.high <= margin
        beyond = interval.low > margin or interval.high < -margin
        return show(interval), HOLDS if within else FAILS if beyond else UNDECIDED

    return rule


def figure(measure: str, reported: float) -> Rule:
    def rule(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
        one, mean = prediction(a[measure].tolist()), confidence(a[measure].tolist())
        outside = reported < one.low or reported > one.high
        close = reported - CLOSE <= mean.low and mean.high <= reported + CLOSE
        return show(mean), FAILS if outside else HOLDS if close else UNDECIDED

    return rule


def always(statement: Callable[[pd.DataFrame], "pd.Series[bool]"]) -> Rule:
    def rule(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
        true = statement(a)
        verdict = UNDECIDED if len(true) < 2 else HOLDS if true.all() else UNDECIDED if true.any() else FAILS
        return f"{int(true.sum())} of {len(true)} seeds", verdict

    return rule


def show(interval: Interval, unit: str = "") -> str:
    """As 0.412 ± 0.013; whole numbers of per cent need fewer digits."""
    digits = 1 if unit else 3
    spread = f" ± {interval.half:.{digits}f}" if interval.half >= 0 else ""
    return f"{interval.mean:.{digits}f}{spread}{unit}"


@dataclass(frozen=True)
class Claim:
    """text, the report's figure, the arm it is about, the arm that it is held against (none: itself), its rule."""

    text: str
    reported: str
    arm: dict[str, str]
    rule: Rule
    against: dict[str, str] | None = None


def most(prefix: str, name: str, least: bool = False) -> Rule:
    """That class `name` has the highest (or lowest) of the columns `prefix`/class, alone or with others."""

    def statement(runs: pd.DataFrame) -> "pd.Series[bool]":
        columns = runs.filter(regex=f"^{prefix}/")
        return columns[f"{prefix}/{name}"] == (columns.min(axis=1) if least else columns.max(axis=1))

    return always(statement)


def share(name: str, reported: float) -> Rule:
    """That class `name` has the reported share of the training points."""

    def rule(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, str]:
        points = a.filter(regex="^points/")
        shares = pd.DataFrame({"share": points[f"points/{name}"] / points.sum(axis=1)})
        return figure("share", reported)(shares, shares)

    return rule


_RANDOM = {"sampler": "random", "loss": "weighted_partial_ce", "budget": "0.01"}
_STRATIFIED = _RANDOM | {"sampler": "stratified"}
_FOCAL = _STRATIFIED | {"loss": "focal"}
_PLAIN = _STRATIFIED | {"loss": "partial_ce"}
_LAST = always(lambda runs: runs.best_epoch == runs.epochs)
_EARLY = always(lambda runs: runs.best_epoch <= 2)
_COLLAPSE = always(lambda runs: runs.final_miou < runs.best_miou / 2)
_DROP = always(lambda runs: runs.loss_drop_halfway >= 0.5)
_OVERFITS = always(lambda runs: runs.final_train_miou > runs.final_miou)

_SAMPLING = [
    Claim("Random: best mIoU", "0.380", _RANDOM, figure("best_miou", 0.380)),
    Claim("Random: final mIoU", "0.379", _RANDOM, figure("final_miou", 0.379)),
    Claim("Random: final accuracy", "0.826", _RANDOM, figure("final_accuracy", 0.826)),
    Claim("Stratified: best mIoU", "0.398", _STRATIFIED, figure("best_miou", 0.398)),
    Claim("Stratified: final mIoU", "0.373", _STRATIFIED, figure("final_miou", 0.373)),
    Claim("Stratified: final accuracy", "0.843", _STRATIFIED, figure("final_accuracy", 0.843)),
    Claim("Stratified beats random at its best", "+4.7 %", _STRATIFIED, higher("best_miou", True), _RANDOM),
    Claim("Their final mIoU is similar (within 0.02)", "−0.006", _STRATIFIED, similar("final_miou", 0.02), _RANDOM),
    Claim("Random is steadier: mIoU changes less per epoch", "–", _STRATIFIED, higher("fluctuation"), _RANDOM),
    Claim("Stratified: validation loss varies more, epochs 1–4", "–", _STRATIFIED, higher("early_loss_sd"), _RANDOM),
    Claim("Stratified arrives earlier: epochs that random needs more", "2", _RANDOM, higher("arrival"), _STRATIFIED),
    Claim("Random: Building has the highest class weight", "16.2", _RANDOM, most("weight", "Building")),
    Claim("Stratified: Building has the highest class weight", "6.2", _STRATIFIED, most("weight", "Building")),
    Claim("Random: Road has the lowest class weight", "0.10–0.19", _RANDOM, most("weight", "Road", True)),
    Claim("Stratified: Road has the lowest class weight", "0.10–0.19", _STRATIFIED, most("weight", "Road", True)),
    Claim("Random: the loss drops rapidly (half of it by halfway)", "–", _RANDOM, _DROP),
    Claim("Stratified: the loss drops rapidly (half of it by halfway)", "–", _STRATIFIED, _DROP),
    Claim("Random: training mIoU ends above validation", "–", _RANDOM, _OVERFITS),
    Claim("Stratified: training mIoU ends above validation", "–", _STRATIFIED, _OVERFITS),
    Claim("Building is 0.1 % of the labelled pixels", "0.001", _RANDOM, share("Building", 0.001)),
    Claim("Road is 44 % of the labelled pixels", "0.440", _RANDOM, share("Road", 0.44)),
]
_LOSS = [
    Claim("Partial CE, weighted: best mIoU", "0.102", _STRATIFIED, figure("best_miou", 0.102)),
    Claim("Partial CE, weighted: final mIoU", "0.006", _STRATIFIED, figure("final_miou", 0.006)),
    Claim("Partial CE, weighted: does not hold beyond epoch 2", "2", _STRATIFIED, _EARLY),
    Claim("Partial CE, unweighted: does not hold beyond epoch 2", "2", _PLAIN, _EARLY),
    Claim("Partial CE, weighted: ends below half of its best", "0.006", _STRATIFIED, _COLLAPSE),
    Claim("Focal: best mIoU", "0.401", _FOCAL, figure("best_miou", 0.401)),
    Claim("Focal: final mIoU", "0.401", _FOCAL, figure("final_miou", 0.401)),
    Claim("Focal: final accuracy", "0.838", _FOCAL, figure("final_accuracy", 0.838)),
    Claim("Focal improves until the last epoch", "10", _FOCAL, _LAST),
    Claim("Focal beats partial CE, weighted", "+293 %", _FOCAL, higher("best_miou", True), _STRATIFIED),
    Claim("Focal beats partial CE, unweighted", "+293 %", _FOCAL, higher("best_miou", True), _PLAIN),
    Claim("Partial CE, weighted, changes more per epoch than focal", "–", _STRATIFIED, higher("fluctuation"), _FOCAL),
]
_BUDGET = [
    Claim(
        "Every pixel labelled reaches an mIoU of 0.6 (random, focal)",
        "0.6–0.8",
        {"sampler": "random", "loss": "focal", "budget": "1.0"},
        always(lambda runs: runs.best_miou >= 0.6),
    ),
]
CLAIMS = {"sampling": _SAMPLING, "loss": _LOSS, "label_budget": _BUDGET, "causes": _SAMPLING + _LOSS}
"""Of each experiment; `causes` asks why claims of the first two fail."""


_SHARES = {"5": 0.65, "20": 0.82, "100": 0.92, "1000": 0.97, "0.01": 0.985}
GOALS = {"label_budget": _SHARES, "folds": _SHARES}
"""Of an experiment's budgets: the share of land-cover mIoU with every pixel labelled that they are to reach."""


def select(results: pd.DataFrame, arm: dict[str, str]) -> pd.DataFrame:
    """The runs of an arm, by seed."""
    chosen = results[(results[list(arm)] == pd.Series(arm)).all(axis=1)]
    return chosen.set_index("seed").sort_index()


def judge(claim: Claim, results: pd.DataFrame) -> tuple[str, str] | None:
    """Our figure and the verdict; None where no run is of the claim's arms. Arms are compared at shared seeds."""
    a = select(results, claim.arm)
    b = select(results, claim.against or claim.arm)
    shared = a.index.intersection(b.index)
    return claim.rule(a.loc[shared], b.loc[shared]) if len(shared) else None
