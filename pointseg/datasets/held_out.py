"""Which of a person's points are held out: whole blocks of ground, because neighbouring points are alike."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pointseg.errors import InputError, counted


@dataclass(frozen=True)
class Blocks:
    """What is held out: about these shares of the points, in whole blocks of `side` pixels a side, by the seed.

    Raises InputError where they cannot be.
    """

    shares: Mapping[str, float]
    side: int
    seed: int

    def __post_init__(self) -> None:
        val, test = self.shares["val"], self.shares["test"]
        if not (0 < val < 1 and 0 <= test < 1 and val + test < 1) or self.side < 1:
            raise InputError(
                f"dataset.val={val}, dataset.test={test}, dataset.block={self.side}: give shares between 0 and 1 that "
                "leave some to training, and a block of 1 pixel at least."
            )


def hold_out(table: pd.DataFrame, ids: Sequence[str], blocks: Blocks) -> np.ndarray:
    """train, val or test for each line, by whole blocks: about the share of each.

    A block's side follows from its place and the seed alone, so that points added later move none of the
    others. A block whose points are the last of a class in training stays there.
    """
    block_of = _block_of(table, ids, blocks.side)
    drawn = {place: _uniform(f"{blocks.seed}/{place}") for place in set(block_of)}
    lines_of = block_of.reset_index(drop=True).groupby(block_of.to_numpy()).indices
    labels, classes = pd.factorize(table["name"])
    left = np.bincount(labels, minlength=len(classes))  # of each class in training
    split = np.full(len(table), "train")
    start = 0.0
    for name, share in blocks.shares.items():
        within = {place for place, value in drawn.items() if start <= value < start + share}
        # Of few blocks perhaps none: then the nearest one to the share that may go.
        nearest = sorted(set(drawn) - within, key=drawn.__getitem__) if share else []
        held = False
        for place in [*sorted(within), *nearest]:
            if place not in within and held:
                break
            lines = lines_of[place]
            own = np.bincount(labels[lines], minlength=len(classes))
            remaining = left - own * (split[lines[0]] == "train")
            if (remaining[own > 0] > 0).all():
                split[lines], left, held = name, remaining, True
        start += share
    if "val" not in split:
        raise InputError(
            f"{len(table)} labelled pixels in {counted(len(drawn), 'block', 'blocks')}: none can be held out for "
            "validation without taking the last of a class from training; label more points, or lower dataset.block."
        )
    return split


def _block_of(table: pd.DataFrame, ids: Sequence[str], side: int) -> "pd.Series[str]":
    """The block of each line. A point in two scenes is one piece of ground: its block is that of its first scene."""
    first = table.drop_duplicates("point").set_index("point")
    places = [
        f"{ids[scene]}/{row // side}/{col // side}" for scene, row, col in first[["scene", "row", "col"]].to_numpy()
    ]
    return table["point"].map(dict(zip(first.index, places, strict=True)))


def _uniform(text: str) -> float:
    """A number in [0, 1) that looks random and follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
