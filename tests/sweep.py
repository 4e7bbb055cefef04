"""Runs as training leaves them, made without training, and the tables of the report on them."""

import json
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

CLASSES = ("Water", "Road", "Building")
TESTED_CLASSES = ("Water", "Road", "None")
LAND = (True, True, False)


def write_run(
    folder: Path, sampler: str, seed: int, miou: list[float], finished: bool = True, **config: object
) -> None:
    """A run folder as training leaves it, without weights. miou: of each epoch."""
    history = [
        {"epoch": i + 1, "miou_all_classes": x, "miou_land_cover": x + 0.1, "accuracy": 2 * x, "loss": 2 - x}
        | {f"iou/{name}": x for name in CLASSES}
        | {"confusion": np.eye(3, dtype=int).tolist(), "train/miou_all_classes": x + 0.2}
        for i, x in enumerate(miou)
    ]
    best = max(history, key=lambda epoch: epoch["miou_all_classes"])
    scores = {"val": {"best": best, "final": history[-1]}, "history": history}
    if finished:
        points = dict(zip(CLASSES, (600, 300, 100), strict=True))
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
        for name, land, row in zip(TESTED_CLASSES, LAND, scene, strict=True)
    ]
    (folder / "test").mkdir()
    (folder / "test/scenes.csv").write_text(f"scene,truth,land_cover,{','.join(TESTED_CLASSES)}\n" + "".join(lines))


def matrices(*hits: int, total: int = 100) -> np.ndarray:
    """Of scenes with `total` pixels of each of three classes: so many of each are right, the others called the next."""
    right = np.array(hits)[:, None, None]
    return np.eye(3, dtype=int) * right + np.roll(np.eye(3, dtype=int), 1, axis=1) * (total - right)


def sections(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The first table below each heading of a report's README.md, a row as a dictionary of cells."""
    _, *parts = (folder / "README.md").read_text().split("\n## ")
    return {part.partition("\n")[0]: rows(part) for part in parts}


def rows(text: str) -> list[dict[str, str]]:
    """The first table of a Markdown text, a row as a dictionary of cells."""
    first = text.partition("\n|")[2].partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def row(rows: list[dict[str, str]], **cells: str) -> dict[str, str]:
    """The one row with these cells; underscores stand for spaces in the names of columns."""
    (match,) = (x for x in rows if all(x[name.replace("_", " ")] == cell for name, cell in cells.items()))
    return match
