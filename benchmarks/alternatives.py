"""Maps from labelled points: pointseg and what else one could take.

Scores are mean IoU over land cover, of pixels drawn from the masks; nothing else of the masks is used but the labels of
the points. *Within a scene*: each tile of the aerial dataset put together, points of it alone. *Across scenes*: its
images at 512×512, points in the training tiles of each of the four folds, scores on the tiles held out (validation /
test); and the tiles of other sets, held out by place or date. Contenders: a random forest (200 trees) on the pixel's
values; the same on scikit-image's `multiscale_basic_features`, as ilastik has it; the same on the mean and deviation of
SLIC objects; and the heads of `model=frozen` on filters, on the encoder and on both. Forests and heads are given the
same points. Heads average over the four mirror images, as `flips=true` does.
"""

import csv
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from benchmarks.common import table
from benchmarks.field import put_together
from benchmarks.pixels import Array, Pixels, read
from pointseg import metrics
from pointseg.annotation.drawn import draw
from pointseg.config import CONF, construct
from pointseg.files import writing
from pointseg.models.frozen import Frozen, frozen
from pointseg.models.networks import fold_norms
from pointseg.prediction.calibration import estimate_prior
from pointseg.samplers.random import Random
from pointseg.training import head
from pointseg.training.closed_form import Moments
from pointseg.types import IGNORE, Dataset, whole

OUTPUTS = Path("outputs/alternatives")
FLIPS = [0, 1, 4, 5]  # of the symmetries, those that flips=true averages over


class Size(NamedTuple):
    tiles: tuple[int, ...]
    draws: int
    per_class: tuple[int, ...]
    budgets: Mapping[int, int]  # points an image, and how many times they are drawn
    scored: int  # pixels of each tile or image
    others: bool


SIZES = {
    "tiny": Size((1,), 1, (2,), {5: 1}, 200, False),
    "quick": Size((1, 7), 2, (2, 10, 40), {5: 2, 20: 2}, 2000, False),
    "full": Size((1, 2, 3, 4, 5, 6, 7, 8), 5, (2, 10, 40), {5: 5, 20: 5, 100: 5, 1000: 2, 2621: 1}, 2000, True),
}


Predict = Callable[[Pixels], Float[np.ndarray, "n k"]]


def forest(part: str, points: Pixels, classes: int, units: Sequence[str], seed: int) -> Predict:
    model = RandomForestClassifier(200, random_state=seed, n_jobs=-1)
    model.fit(getattr(points, part), points.labels)

    def predict(pixels: Pixels) -> np.ndarray:
        found = np.zeros((len(pixels.labels), classes))
        found[:, model.classes_] = model.predict_proba(getattr(pixels, part))
        return found

    return predict


def fitted(
    chosen: slice, kind: Any, power: float, points: Pixels, classes: int, units: Sequence[str], seed: int
) -> Predict:
    """A head of model=frozen. power: of the inverse frequency by which classes are weighted."""
    ways = min(max(240_000 // len(points.labels), 1), 8)
    rows, labels = points.features[:, :ways, chosen], torch.from_numpy(points.labels)
    moments = Moments.zero(classes, rows.shape[2])
    for part in torch.arange(len(labels)).split(4096):
        moments.add(rows[part], labels[part])
    kept = max(min(60_000 // len(labels), ways), 1)
    some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:60_000]
    sample = head.Sample(rows[some, :kept], labels[some], [units[i] for i in some.tolist()])
    counts = moments.counts.clamp(min=1)
    weights = (counts.sum() / counts).clamp(max=100) ** power
    land = [True] * min(classes, 5) + [False] * max(classes - 5, 0) if classes == 6 else [True] * classes
    found = head.fit_head(sample, moments, weights.float(), land, kind, seed)

    def predict(pixels: Pixels) -> np.ndarray:
        total = 0
        for way in FLIPS:
            total = total + found(pixels.features[:, way, chosen].float()).softmax(1)
        return (total / len(FLIPS)).numpy()

    return predict


def contenders(network: Frozen, power: float) -> dict[str, Any]:
    filters = slice(0, sum(level.channels for level in network.filters.levels))
    encoder, everything = slice(filters.stop, None), slice(None)
    return {
        "random forest, pixel values": partial(forest, "values"),
        "random forest, scikit-image's features": partial(forest, "classic"),
        "random forest, SLIC objects": partial(forest, "objects"),
        "filters, linear head": partial(fitted, filters, "linear", power),
        "filters, `head=auto`": partial(fitted, filters, "auto", power),
        "encoder, linear head": partial(fitted, encoder, "linear", power),
        "both, linear head": partial(fitted, everything, "linear", power),
        "both, `head=auto`": partial(fitted, everything, "auto", power),
    }


def miou(predicted: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Over land cover: the first five classes of the aerial dataset, all of other sets."""
    counted = np.bincount(labels * classes + predicted.argmax(1), minlength=classes**2).reshape(1, classes, classes)
    found = metrics.ious(counted)[0]
    return float(np.nanmean(found[:5] if classes == 6 else found))


def aerial(**options: Any) -> Dataset:
    content = OmegaConf.load(CONF / "dataset/aerial.yaml")
    dataset: Dataset = construct(dict(OmegaConf.merge(content, options)))
    return dataset


def within(size: Size, network: Frozen, tile: int) -> Iterator[dict[str, Any]]:
    """A tile put together; equally many points of each class, and as many at random."""
    classes = 5
    _, image, mask = put_together(tile)
    rng = np.random.default_rng(tile)
    labelled = rng.permutation(np.flatnonzero(mask != IGNORE))
    scored, pool = labelled[: size.scored], [labelled[size.scored : size.scored + 200 * size.draws]]
    for label in range(classes):
        of_label = np.flatnonzero(mask == label)
        pool.append(rng.choice(of_label, min(max(size.per_class) * size.draws, len(of_label)), replace=False))
    file = OUTPUTS / f"tiles_{size.draws}_{size.scored}" / f"{tile}.pickle"
    truth, at_random, *of_class = read(file, image, mask, [scored, *pool], network)
    by_class = Pixels.joined(of_class)
    for turn in tqdm(range(size.draws), desc=f"Tile {tile}", disable=None):
        rng = np.random.default_rng([tile, turn])
        for count in size.per_class:
            found = [rng.permutation(np.flatnonzero(by_class.labels == k))[:count] for k in range(classes)]
            sought = by_class[np.concatenate(found)]
            drawn = at_random[rng.permutation(len(at_random.labels))[: len(sought.labels)]]
            for how, points in (("each class", sought), ("random", drawn)):
                units = [f"{r // (mask.shape[0] // 6)}/{c // (mask.shape[1] // 6)}" for r, c in points.places]
                for name, contender in contenders(network, 0.0).items():
                    start = time.perf_counter()
                    predict = contender(points, classes, units, turn)
                    seconds = time.perf_counter() - start
                    predicted = predict(truth)
                    shares = np.bincount(points.labels, minlength=classes) / len(points.labels)
                    with np.errstate(divide="ignore"):
                        prior = estimate_prior(predicted.clip(1e-3), shares.clip(1e-3))
                    renewed = predicted * prior / shares.clip(1e-3)
                    yield {
                        "footing": "within", "tile": tile, "draw": turn, "count": count, "how": how,
                        "contender": name, "miou": miou(predicted, truth.labels, classes),
                        "estimated": miou(renewed, truth.labels, classes), "fit": seconds,
                    }  # fmt: skip


@dataclass(frozen=True)
class Images:
    """Images with masks in groups that are held out together.

    of: the set they are from. folds: the groups of each split of each fold.
    """

    name: str
    of: str
    images: Sequence[tuple[str, str, np.ndarray, np.ndarray]]  # group, name, image, mask
    folds: Sequence[Mapping[str, Sequence[str]]]
    classes: int
    power: float


def aerial_images(split: str) -> Images:
    """split: tiles, whole tiles held out in four folds; images, images among their neighbours."""
    dataset = aerial(scale=512, split=split)
    scenes = sorted((s for split in dataset.splits.values() for s in split), key=lambda scene: scene.id)
    content = OmegaConf.to_container(OmegaConf.load(CONF / "dataset/aerial.yaml"))
    folds = [{k: [f"Tile {t}" for t in tiles] for k, tiles in fold.items()} for fold in content["folds"]]  # type: ignore[index, call-overload]
    if split == "images":
        folds = [{name: [scene.id for scene in of] for name, of in dataset.splits.items()}]
    images = [
        (scene.group if split == "tiles" else scene.id, scene.id, scene.image(whole(scene)), scene.mask(whole(scene)))
        for scene in scenes
    ]
    return Images({"tiles": "aerial", "images": "aerial, images held out"}[split], "aerial", images, folds, 6, 0.5)


def other_images(folder: Path) -> Iterator[Images]:
    """The sets beside the aerial one, where they are: `monterey_dunes` by place, `obx_coast` by date."""
    for name, file, key, group, classes in (
        ("monterey_dunes", "tiles.csv", "tile", "fold_by_y", 11),
        ("obx_coast", "frames.csv", "image", "flight_date", 3),
    ):
        if not (folder / name / file).is_file():
            continue
        rows = list(csv.DictReader((folder / name / file).open()))[:: 2 if name == "obx_coast" else 1]
        images = []
        for row in rows:
            image = np.asarray(Image.open(folder / name / "images" / f"{row[key]}.jpg").convert("RGB"))
            mask = np.asarray(Image.open(folder / name / "masks" / f"{row[key]}.png"))
            shifted = np.where(mask == IGNORE, IGNORE, mask - (name == "monterey_dunes")).astype(np.uint8)
            if (shifted != IGNORE).sum() >= 1000:
                images.append((row[group], row[key], image, shifted))
        groups = sorted({group for group, *_ in images})
        parts = [list(part) for part in np.array_split(groups, min(len(groups), 4))]
        folds = [{"train": [g for g in groups if g not in part], "test": part} for part in parts]
        yield Images(name, name, images, folds, classes, 0.5)


def across(
    size: Size, network: Frozen, data: Images, draws: Mapping[int, int], budget: int
) -> Iterator[dict[str, Any]]:
    """Random points in each image of the training groups; scores on those held out.

    draws: of all budgets, whose pixels are read together. budget: the one that is scored.
    """
    keys = [(budget, seed) for budget, seeds in draws.items() for seed in range(seeds)]
    folder = OUTPUTS / "_".join([data.of, *(f"{budget}x{seeds}" for budget, seeds in draws.items()), str(size.scored)])
    scored, drawn = [], []
    for i, (_, name, image, mask) in enumerate(tqdm(data.images, desc=data.name, disable=None)):
        labelled = np.flatnonzero(mask != IGNORE)
        chosen = [np.random.default_rng(i).choice(labelled, min(size.scored, len(labelled)), replace=False)]
        chosen += [_drawn(name, image, mask, *key) for key in keys]
        first, *others = read(folder / f"{i}.pickle", image, mask, chosen, network)
        scored.append(first.alone())
        drawn.append({key: part.alone() for key, part in zip(keys, others, strict=True) if key[0] == budget})
    groups = [group for group, *_ in data.images]
    for fold, splits in enumerate(data.folds):
        training = [i for i, group in enumerate(groups) if group in splits["train"]]
        truths = {
            split: Pixels.joined([scored[i] for i, group in enumerate(groups) if group in of_split])
            for split, of_split in splits.items() if split != "train"
        }  # fmt: skip
        for seed in tqdm(range(draws[budget]), desc=f"{data.name}, fold {fold}", disable=None):
            points = Pixels.joined([drawn[i][budget, seed] for i in training])
            of_image = [len(drawn[i][budget, seed].labels) for i in training]
            units = np.repeat([groups[i] for i in training], of_image)
            if len(set(units)) < head.FOLDS:
                units = np.repeat(training, of_image).astype(str)
            for name, contender in contenders(network, data.power).items():
                predict = contender(points, data.classes, units.tolist(), seed)
                for split, truth in truths.items():
                    yield {
                        "footing": data.name, "fold": fold, "draw": seed, "count": budget, "how": split,
                        "contender": name, "miou": miou(predict(truth), truth.labels, data.classes),
                    }  # fmt: skip


def _drawn(name: str, image: np.ndarray, mask: np.ndarray, budget: int, seed: int) -> Int[np.ndarray, "n"]:
    """Those that a run with this budget and seed draws."""
    points = draw(Array(image, mask, name), Random(), budget, seed)
    return np.ravel_multi_index((points.rows.astype(int), points.cols.astype(int)), mask.shape)


def run(size: Size, folder: Path) -> str:
    """The tables, and as a picture beside them score against points. Every score is kept in outputs/alternatives.

    What is there from an earlier call is not measured again: remove it once pointseg has changed.
    """
    weights = os.environ.get("POINTSEG_WEIGHTS")
    file = str(Path(weights) / "mobilenet_v2-imagenet.pth") if weights else "default"
    network = fold_norms(frozen(6, "mobilenet_v2", file, 2, "auto").to(memory_format=torch.channels_last))
    few = {budget: min(seeds, 3) for budget, seeds in size.budgets.items() if budget <= 100}
    sets = [(aerial_images("tiles"), size.budgets)]
    if size.others:
        beside = Path(os.environ["POINTSEG_DATA"]).parent if "POINTSEG_DATA" in os.environ else Path()
        sets += [(data, few) for data in other_images(beside)] + [(aerial_images("images"), size.budgets)]
    sources = {f"tile_{tile}": within(size, network, tile) for tile in size.tiles} | {
        f"{data.name}_{budget}": across(size, network, data, draws, budget) for data, draws in sets for budget in draws
    }
    rows = [row for name, found in sources.items() for row in kept(OUTPUTS / f"{name}_{size.draws}.json", found)]
    if size.others:
        write(rows, folder)
    return report(rows)


def kept(file: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an earlier call, or else these."""
    if not file.is_file():
        with writing(file) as partial_file:
            partial_file.write_text(json.dumps(list(rows)))
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found


def write(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """The means as alternatives.csv, of which the documents' tables are made, and a picture of them in docs/."""
    table_ = pd.DataFrame(rows).groupby(["footing", "how", "count", "contender"], sort=False)
    means = table_.agg(miou=("miou", "mean"), estimated=("estimated", "mean"), n=("miou", "size"))
    means.round(4).to_csv(folder / "alternatives.csv")
    picture(rows).savefig(folder.parent / "docs/alternatives.png")


def report(rows: Sequence[dict[str, Any]]) -> str:
    parts = []
    for footing, title in (
        ("within", "Within a scene, points of each class or at random: mIoU / with the class shares estimated"),
        ("aerial", "Across scenes: validation / test, mean of the folds"),
        ("monterey_dunes", "`monterey_dunes`, held out by place"),
        ("obx_coast", "`obx_coast` (every second frame), held out by date"),
    ):  # fmt: skip
        chosen = [row for row in rows if row["footing"] == footing]
        if not chosen:
            continue
        columns = sorted({(row["how"] if footing == "within" else "", row["count"]) for row in chosen})
        head_ = ["", *(f"{count} {how}".strip() for how, count in columns)]
        lines = [
            [name, *(_cell(chosen, name, how, count, footing) for how, count in columns)]
            for name in dict.fromkeys(row["contender"] for row in chosen)
        ]
        if footing == "aerial":
            lines.append(["`experiment=trained` (experiments/folds)", *(_trained(c) for _, c in columns)])
        parts.append(f"{title}:\n\n{table(head_, lines)}")
    return "\n".join(parts)


def _cell(rows: Sequence[dict[str, Any]], name: str, how: str, count: int, footing: str) -> str:
    of = [row for row in rows if row["contender"] == name and row["count"] == count]
    if footing == "within":
        of = [row for row in of if row["how"] == how]
        return " / ".join(f"{np.mean([row[key] for row in of]):.3f}" for key in ("miou", "estimated"))
    splits = [split for split in ("val", "test") if any(row["how"] == split for row in of)]
    return " / ".join(f"{np.mean([row['miou'] for row in of if row['how'] == split]):.3f}" for split in splits)


def _trained(budget: int) -> str:
    with (Path(__file__).parents[1] / "experiments/folds/results.csv").open() as file:
        of = [
            row for row in csv.DictReader(file) if row["loss"] == "balanced_partial_ce" and row["budget"] == str(budget)
        ]
    keys = ("final_miou_land_cover", "test_miou_land_cover")
    return " / ".join(f"{np.mean([float(row[key]) for row in of]):.3f}" for key in keys) if of else "–"


def picture(rows: Sequence[dict[str, Any]]) -> Figure:
    """Score against points, within a scene and across scenes."""
    figure = Figure((10, 4), layout="constrained")
    for axes, footing, how, title in zip(
        figure.subplots(1, 2),
        ("within", "aerial"),
        ("each class", "test"),
        ("within a scene: points of each class", "across scenes: points an image, test tiles"),
        strict=True,
    ):
        chosen = [row for row in rows if row["footing"] == footing and row["how"] == how]
        for name in dict.fromkeys(row["contender"] for row in chosen):
            counts = sorted({row["count"] for row in chosen})
            means = [np.mean([r["miou"] for r in chosen if r["contender"] == name and r["count"] == c]) for c in counts]
            axes.plot(counts, means, "o-", label=name)
        axes.set(xscale="log", title=title, ylabel="mean IoU over land cover")
        axes.set_xticks(counts, [str(c) for c in counts])
    axes.legend(fontsize=7)
    return figure
