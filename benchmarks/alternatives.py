"""Maps from labelled points: pointseg and what else one could take.

Scores are mean IoU over land cover, of pixels drawn from the masks; nothing else of the masks is used but the labels of
the points. *Within a scene*: each tile of the aerial dataset put together, points of it alone. *Across scenes*: its
images at 512×512, points in the training tiles of each of the four folds, scores on the tiles held out (validation /
test); and the images of other sets, held out by place or flight. Contenders: a random forest (200 trees) on the pixel's
values; the same on scikit-image's `multiscale_basic_features`, as ilastik has it; the same on the mean and deviation of
SLIC objects; and the heads of `model=frozen` on filters, on the encoder and on both. Forests and heads are given the
same points. Heads average over the four mirror images, as `flips=true` does. Points are drawn at random, and for the
heads on both also in equal shares of the classes (stratified) and one in each object. Every score is kept in
experiments/curves/results.csv.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from tqdm import tqdm

from benchmarks import from_points, sets
from benchmarks.contenders import BOTH, contenders, miou
from benchmarks.field import put_together
from benchmarks.pixels import Pixels, read
from benchmarks.sets import Images
from pointseg.annotation.drawn import draw
from pointseg.files import writing
from pointseg.models.frozen import Frozen, frozen
from pointseg.models.networks import fold_norms
from pointseg.prediction.calibration import estimate_prior
from pointseg.training import head
from pointseg.types import IGNORE, Scene, whole

OUTPUTS = Path("outputs/alternatives")
RECORDS = Path(__file__).parents[1] / "experiments/curves/results.csv"
POWER = 0.5  # of the inverse frequency by which classes are weighted across scenes, as experiment=best has it


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
                    renewed = predicted * estimate_prior(predicted) / shares.clip(1e-3)
                    yield {
                        "footing": "within", "fold": tile, "draw": turn, "count": count, "how": how,
                        "contender": name, "miou": miou(predicted, truth.labels, classes),
                        "estimated": miou(renewed, truth.labels, classes), "fit": seconds,
                    }  # fmt: skip


def across(
    size: Size, network: Frozen, data: Images, draws: Mapping[int, int], budget: int
) -> Iterator[dict[str, Any]]:
    """Points in each image of the training groups; scores on those held out.

    draws: of all budgets, whose pixels are read together. budget: the one that is scored.
    """
    scored, drawn = [], []
    for i, scene in enumerate(tqdm(data.scenes, desc=data.name, disable=None)):
        truth, of_key = _pixels(size, network, data, scene, i, draws)
        scored.append(truth)
        drawn.append({key: part for key, part in of_key.items() if key[0] == budget})
    for fold, splits in enumerate(data.folds):
        training = [i for i, group in enumerate(data.group_of) if group in splits["train"]]
        truths = {
            split: Pixels.joined([scored[i] for i, group in enumerate(data.group_of) if group in of_split])
            for split, of_split in splits.items() if split != "train"
        }  # fmt: skip
        for seed in tqdm(range(draws[budget]), desc=f"{data.name}, fold {fold}", disable=None):
            points = Pixels.joined([drawn[i][budget, seed] for i in training])
            of_image = [len(drawn[i][budget, seed].labels) for i in training]
            units = np.repeat([data.group_of[i] for i in training], of_image)
            if len(set(units)) < head.FOLDS:
                units = np.repeat(training, of_image).astype(str)
            for name, contender in contenders(network, POWER).items():
                if data.sampler != "random" and name not in BOTH:
                    continue
                predict = contender(points, data.classes, units.tolist(), seed)
                for split, truth in truths.items():
                    yield {
                        "footing": data.name, "sampler": data.sampler, "fold": fold, "draw": seed, "count": budget,
                        "how": split, "contender": name,
                        "miou": miou(predict(truth), truth.labels, data.classes),
                    }  # fmt: skip


def _pixels(
    size: Size, network: Frozen, data: Images, scene: Scene, number: int, draws: Mapping[int, int]
) -> tuple[Pixels, dict[tuple[int, int], Pixels]]:
    """Of one image: the pixels scored, and the points by their budget and seed."""
    keys = [(budget, seed) for budget, seeds in draws.items() for seed in range(seeds)]
    image, mask = scene.image(whole(scene)), scene.mask(whole(scene))
    labelled = np.flatnonzero(mask != IGNORE)
    chosen = [np.random.default_rng(number).choice(labelled, min(size.scored, len(labelled)), replace=False)]
    chosen += [_drawn(scene, data, *key) for key in keys]
    drawn = "_".join(f"{budget}x{seeds}" for budget, seeds in draws.items())
    folder = OUTPUTS / f"{data.name.split(',')[0]}_{data.sampler}_{drawn}_{size.scored}"
    first, *parts = read(folder / f"{scene.id.replace('/', '_')}.pickle", image, mask, chosen, network)
    return first.alone(), {key: part.alone() for key, part in zip(keys, parts, strict=True)}


def _drawn(scene: Scene, data: Images, budget: int, seed: int) -> Int[np.ndarray, "n"]:
    """Those that a run with this budget and seed draws, or all pixels of an image that has fewer."""
    labelled = int((scene.mask(whole(scene)) != IGNORE).sum())
    points = draw(scene, data.annotator(), min(budget, labelled), seed)
    return np.ravel_multi_index((points.rows.astype(int), points.cols.astype(int)), scene.shape)


def run(size: Size, folder: Path) -> str:
    """The tables. What is in outputs/alternatives from an earlier call is not measured again.

    Remove it once pointseg has changed.
    """
    weights = os.environ.get("POINTSEG_WEIGHTS")
    file = str(Path(weights) / "mobilenet_v2-imagenet.pth") if weights else "default"
    network = fold_norms(frozen(6, "mobilenet_v2", file, 2, "auto").to(memory_format=torch.channels_last))
    sources = {f"tile_{tile}": within(size, network, tile) for tile in size.tiles}
    for data, draws in footings(size):
        drawn = "" if data.sampler == "random" else f"_{data.sampler}"
        sources |= {f"{data.name}{drawn}_{budget}": across(size, network, data, draws, budget) for budget in draws}
    found = [row for name, rows in sources.items() for row in kept(OUTPUTS / f"{name}_{size.draws}.json", rows)]
    records = pd.DataFrame(found)
    if size.others:
        records.round(4).to_csv(RECORDS, index=False)
        seconds = pd.DataFrame(kept(OUTPUTS / "seconds.json", from_points.measured()))
        seconds.round(1).to_csv(RECORDS.with_name("seconds.csv"), index=False)
    keys = ["footing", "sampler", "how", "contender"]
    means = records.fillna({"sampler": "random"}).pivot_table(index=keys, columns="count", values="miou", sort=False)
    return str(means.round(3).reset_index().to_markdown(index=False)) + "\n"


def footings(size: Size) -> Iterator[tuple[Images, Mapping[int, int]]]:
    """Images, and how many times each number of points is drawn in them."""
    tiles = sets.aerial("tiles")
    yield tiles, size.budgets
    if not size.others:
        return
    few = {budget: seeds for budget, seeds in size.budgets.items() if budget <= 100}
    fewer = {budget: min(seeds, 3) for budget, seeds in few.items()}
    others = list(sets.others())
    yield from ((data, fewer) for data in others)
    yield sets.aerial("images"), size.budgets
    for sampler in ("stratified", "per_object"):
        yield tiles.drawn_by(sampler), few
        yield from ((data.drawn_by(sampler), fewer) for data in others)


def kept(file: Path, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of an earlier call, or else these."""
    if not file.is_file():
        with writing(file) as partial_file:
            partial_file.write_text(json.dumps(list(rows)))
    found: list[dict[str, Any]] = json.loads(file.read_text())
    return found
