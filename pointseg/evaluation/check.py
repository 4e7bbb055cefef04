"""A dataset audited in one go: what its readers refuse, and what cannot be seen from one file."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int
from omegaconf import DictConfig

from pointseg import plots, progress
from pointseg.annotation import kept
from pointseg.config import construct, values
from pointseg.datasets import aerial
from pointseg.datasets.field import PointScene
from pointseg.errors import collected, fault, separately
from pointseg.evaluation.agreement import CUT, agreement, seams
from pointseg.files import writing
from pointseg.types import IGNORE, Dataset, Scene, Window

log = logging.getLogger(__name__)

PIXELS = 1 << 24  # of an image that are read at a time
AERIAL = "pointseg.datasets.aerial.aerial"


@dataclass
class Findings:
    """counts: labels of each class in each split. seams: tile → agreement of masks across its cuts, and beside them.

    remarks: what is worth knowing and no fault.
    """

    counts: dict[str, Int[np.ndarray, "k"]] = field(default_factory=dict)
    seams: dict[str, tuple[float, float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def audit(cfg: DictConfig) -> list[str]:
    """The faults of the dataset that `cfg` names; conf/check.yaml says what each key means."""
    config = values(cfg, "dataset", "annotation", "points")
    findings, dataset = Findings(), None
    with collected() as faults:
        dataset = construct(config["dataset"], annotation=construct(config["annotation"]), points=config["points"])
        _compare(dataset, findings)
        _count(dataset, findings)
        if config["dataset"]["_target_"] in CUT:
            cut = seams([scene for split in dataset.splits.values() for scene in split], len(dataset.classes))
            findings.seams = {tile: (agreement(found.across), agreement(found.beside)) for tile, found in cut.items()}
        if config["dataset"]["_target_"] == AERIAL:
            _check_complete(aerial.find(config["dataset"]["root"]))
        if config["points"] is not None and dataset.points is None:
            _check_points(dataset, Path(str(config["points"])))
    if dataset is not None:
        log.info("%s", _text(dataset, findings))
        if cfg.picture is not None:
            with writing(Path(cfg.picture)) as partial:
                plots.audit(_shares(findings), findings.seams, dataset.palette, dataset.classes).savefig(partial)
    messages = list(dict.fromkeys(map(str, faults)))  # a raster with points in several splits is read for each
    log.info("Faults: %d%s", len(messages), "".join(f"\n{i:3}. {message}" for i, message in enumerate(messages, 1)))
    return messages


def _compare(dataset: Dataset, findings: Findings) -> None:
    """Read every image to its end; name those that stand in several splits, or twice in one."""
    seen: dict[str, tuple[str, Scene]] = {}
    for split, of_split in dataset.splits.items():
        for scene in progress.over(of_split, f"reading {split}", "scene"):
            with separately():
                digest = _digest(scene)
                other, first = seen.setdefault(digest, (split, scene))
                if first is scene or (dataset.points is not None and first.group == scene.group):
                    continue
                pair = f"{first.id} in {other} and {scene.id} in {split} show the same pixels"
                if other != split:
                    fault(f"{pair}; scores would be measured on what training has seen: remove one of them.")
                else:
                    findings.remarks.append(f"{pair}.")
    _groups(dataset, findings)


def _groups(dataset: Dataset, findings: Findings) -> None:
    """Groups that stand in several splits: where that is no fault, because it was asked for, say so."""
    split_of: dict[str, set[str]] = {}
    for split, of_split in dataset.splits.items():
        for scene in of_split:
            split_of.setdefault(scene.group, set()).add(split)
    shared = [group for group, splits in split_of.items() if len(splits) > 1]
    if shared and dataset.points is not None:
        findings.remarks.append(f"{len(shared)} images have points in several splits, in blocks apart (dataset.block).")
    elif shared and dataset.leaks:
        findings.remarks.append(f"{len(shared)} groups stand in several splits, as was asked for; their scores leak.")


def _digest(scene: Scene) -> str:
    digest = hashlib.sha256(repr(scene.shape).encode())
    for window in _windows(scene):
        digest.update(scene.image(window).tobytes())
    return digest.hexdigest()


def _windows(scene: Scene) -> Iterator[Window]:
    height, width = scene.shape
    rows = max(PIXELS // width, 1)
    for row in range(0, height, rows):
        yield Window(row, 0, min(rows, height - row), width)


def _count(dataset: Dataset, findings: Findings) -> None:
    classes = len(dataset.classes)
    for split, of_split in dataset.splits.items():
        total = np.zeros(classes + 1, np.int64)  # the last: without a class
        for scene in of_split:
            if isinstance(scene, PointScene):
                total[:classes] += np.bincount(scene.points.labels, minlength=classes)
                continue
            for window in _windows(scene):
                found = np.bincount(scene.mask(window).ravel(), minlength=IGNORE + 1)
                total += np.append(found[:classes], found[IGNORE])
        findings.counts[split] = total
        absent = [name for name, n in zip(dataset.classes, total, strict=False) if n == 0]
        if absent and of_split:
            findings.remarks.append(f"No label of the split {split} has the class {', '.join(absent)}.")


def _check_complete(folder: Path) -> None:
    """Name images of the 3×3 of a tile of which neither half is there; where one is, the reader has said so."""
    there = {(file.parts[-3], file.stem) for file in folder.glob("Tile */*/image_part_*")}
    parts = [f"image_part_{number + 1:03}" for number in range(aerial.CUTS**2)]
    tiles = sorted({tile for tile, _ in there})
    if lacking := [f"{tile}/{part}" for tile in tiles for part in parts if (tile, part) not in there]:
        fault(f"{folder}: has neither image nor mask of {', '.join(lacking)}; restore them, see {aerial.PAGE}.")


def _check_points(dataset: Dataset, folder: Path) -> None:
    for split in ("train", "val"):
        for scene in dataset.splits[split]:
            with separately():
                kept.load(kept.file_of(folder, scene), scene, dataset.classes)


def _shares(findings: Findings) -> dict[str, np.ndarray]:
    """The class shares of each split, of its labels."""
    return {split: counts[:-1] / max(counts[:-1].sum(), 1) for split, counts in findings.counts.items()}


def _text(dataset: Dataset, findings: Findings) -> str:
    splits = findings.counts
    lines = [f"{'class shares':<24}" + "".join(f"{split:>12}" for split in splits)]
    shares = _shares(findings)
    for label, name in enumerate(dataset.classes):
        lines.append(f"  {name:<22}" + "".join(f"{shares[split][label]:>12.2%}" for split in splits))
    lines.append(f"  {'labels':<22}" + "".join(f"{counts[:-1].sum():>12,}" for counts in splits.values()))
    if dataset.points is None:
        lines.append(f"  {'pixels of no class':<22}" + "".join(f"{counts[-1]:>12,}" for counts in splits.values()))
    lines.append(f"  {'scenes':<22}" + "".join(f"{len(dataset.splits[split]):>12,}" for split in splits))
    if findings.seams:
        lines.append(f"{'agreement of masks':<24}{'across cuts':>12}{'beside them':>12}")
        lines += [f"  {tile:<22}{across:>12.3f}{beside:>12.3f}" for tile, (across, beside) in findings.seams.items()]
    return "\n".join([*lines, *(f"Remark: {remark}" for remark in findings.remarks)])
