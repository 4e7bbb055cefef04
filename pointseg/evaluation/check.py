"""A dataset checked in one go: what its readers refuse, and what cannot be seen from one file."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int
from omegaconf import DictConfig

from pointseg import plots, progress
from pointseg.annotation.kept import Kept
from pointseg.config import construct, values
from pointseg.errors import Faults, InputError, counted, single
from pointseg.evaluation.agreement import agreement, border_pairs
from pointseg.files import writing
from pointseg.types import IGNORE, Dataset, Scene, Window

log = logging.getLogger(__name__)

PIXELS = 1 << 24  # of an image that are read at a time


@dataclass
class Findings:
    """counts: labels of each class in each split.

    agreement: tile → the share of pixel pairs of equal class across its cuts, and beside them.
    remarks: what is worth knowing and no fault.
    """

    counts: dict[str, Int[np.ndarray, "k"]] = field(default_factory=dict)
    agreement: dict[str, tuple[float, float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def check(cfg: DictConfig) -> list[str]:
    """The faults of the dataset that `cfg` names; conf/check.yaml says what each key means."""
    config = values(cfg, "dataset", "annotation", "points")
    findings = Findings()
    messages: list[str] = []
    try:
        annotation = construct(config["annotation"])
        dataset: Dataset = construct(config["dataset"], annotation=annotation, points=config["points"])
        with Faults() as faults:
            for step in (_compare, _count, _check_complete):
                with faults.step():
                    step(dataset, findings)
            if config["points"] is not None and dataset.points is None:
                with faults.step():
                    _check_points(dataset, Path(str(config["points"])))
    except InputError as error:
        messages = list(dict.fromkeys(map(str, single(error))))  # one image may be read for each split
        if not findings.counts:
            log.info("These faults kept the dataset from being read: mend them, and check again for leaks and shares.")
    if findings.counts:
        _report(dataset, findings, cfg.picture)
    log.info("Faults: %d%s", len(messages), "".join(f"\n{i:3}. {message}" for i, message in enumerate(messages, 1)))
    return messages


def _report(dataset: Dataset, findings: Findings, picture: str | None) -> None:
    scenes = [scene for split in dataset.splits.values() for scene in split]
    tiles = border_pairs(scenes, len(dataset.classes), dataset.cuts) if dataset.cuts else {}
    findings.agreement = {tile: (agreement(found.across), agreement(found.beside)) for tile, found in tiles.items()}
    log.info("%s", _text(dataset, findings))
    if picture is not None:
        with writing(Path(picture)) as partial:
            plots.audit(_shares(findings), findings.agreement, dataset.palette, dataset.classes).savefig(partial)


def _compare(dataset: Dataset, findings: Findings) -> None:
    """Read every image to its end; name those that stand in several splits, or twice in one."""
    seen: dict[str, tuple[str, Scene]] = {}
    _groups(dataset, findings)
    with Faults() as faults:
        for split, scenes in dataset.splits.items():
            for scene in progress.over(scenes, f"reading {split}", "scene"):
                with faults.step():
                    other, first = seen.setdefault(_digest(scene), (split, scene))
                    if first is scene or (dataset.points is not None and first.group == scene.group):
                        continue
                    pair = f"{first.id} in {other} and {scene.id} in {split} show the same pixels"
                    if other == split:
                        findings.remarks.append(f"{pair}.")
                    else:
                        faults.add(f"{pair}; scores would be measured on what training has seen: remove one of them.")


def _groups(dataset: Dataset, findings: Findings) -> None:
    """Groups that stand in several splits: where that is no fault, because it was asked for, say so."""
    split_of: dict[str, set[str]] = {}
    for split, of_split in dataset.splits.items():
        for scene in of_split:
            split_of.setdefault(scene.group, set()).add(split)
    shared = [group for group, splits in split_of.items() if len(splits) > 1]
    if shared and dataset.points is not None:
        images = counted(len(shared), "image has", "images have")
        findings.remarks.append(f"{images} points in several splits, in blocks apart (dataset.block).")
    elif shared and dataset.leaks:
        groups = counted(len(shared), "group stands", "groups stand")
        findings.remarks.append(f"{groups} in several splits, as was asked for; their scores leak.")


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
    for split, scenes in dataset.splits.items():
        total = np.zeros(classes + 1, np.int64)  # the last: without a class
        for scene in scenes:
            if dataset.points is not None:
                total[:classes] += np.bincount(dataset.points[scene.id].labels, minlength=classes)
                continue
            for window in _windows(scene):
                found = np.bincount(scene.mask(window).ravel(), minlength=IGNORE + 1)
                total += np.append(found[:classes], found[IGNORE])
        findings.counts[split] = total
        absent = [name for name, n in zip(dataset.classes, total, strict=False) if n == 0]
        if absent and scenes:
            findings.remarks.append(f"No label of the split {split} has the class {', '.join(absent)}.")


def _check_complete(dataset: Dataset, findings: Findings) -> None:
    """Name the parts of tiles of which neither image nor mask is there; where one is, the reader has said so."""
    if dataset.cuts is None:
        return
    scenes = {scene.id: scene for split in dataset.splits.values() for scene in split}
    stems = sorted({scene.id.rpartition("_")[0] for scene in scenes.values()})
    parts = [f"{stem}_{number + 1:03}" for stem in stems for number in range(dataset.cuts**2)]
    if lacking := [part for part in parts if part not in scenes]:
        raise InputError(f"The dataset has neither image nor mask of {', '.join(lacking)}; restore them.")


def _check_points(dataset: Dataset, folder: Path) -> None:
    with Faults() as faults:
        for scene in (*dataset.splits["train"], *dataset.splits["val"]):
            with faults.step():
                list(Kept(folder).annotate(dataset, [scene]))


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
    if findings.agreement:
        lines.append(f"{'agreement of masks':<24}{'across cuts':>12}{'beside them':>12}")
        lines += [
            f"  {tile:<22}{across:>12.3f}{beside:>12.3f}" for tile, (across, beside) in findings.agreement.items()
        ]
    return "\n".join([*lines, *(f"Remark: {remark}" for remark in findings.remarks)])
