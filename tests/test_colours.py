"""Colours of classes that nobody has given one."""

from itertools import combinations
from pathlib import Path

import numpy as np

from pointseg.colours import FIRST, colours
from pointseg.evaluation.class_map import open_map
from tests.test_assess import write_map


def _channels(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


def test_forty_colours_can_be_told_apart_and_begin_with_those_for_the_colour_blind() -> None:
    found = colours(40)
    assert found[:8] == FIRST
    apart = [
        sum((a - b) ** 2 for a, b in zip(_channels(one), _channels(other), strict=True)) ** 0.5
        for one, other in combinations((*found, 0x000000, 0xFFFFFF), 2)
    ]
    assert min(apart) > 40  # of 255


def test_a_class_more_changes_no_colour_and_no_two_of_the_most_classes_are_alike() -> None:
    assert colours(254)[:12] == colours(12)
    assert colours(3) == FIRST[:3]
    assert len(set(colours(254))) == 254


def test_a_map_of_many_classes_has_a_colour_for_each(tmp_path: Path) -> None:
    write_map(tmp_path / "map.tif", np.zeros((3, 4)), tuple(f"class {i}" for i in range(40)))
    palette = open_map(tmp_path / "map.tif", None).palette
    assert len({tuple(colour) for colour in palette.tolist()}) == 40
    assert tuple(palette[3].tolist()) == _channels(FIRST[3])
