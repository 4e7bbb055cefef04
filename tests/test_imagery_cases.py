"""Of every kind of input in `cases`, those that a mistake would turn into a wrong map without a word."""

from pathlib import Path

import pytest

from pointseg.errors import InputError
from tests.cases.imagery import CASES
from tests.ground import Site, journey

RIGHT = 0.9  # of the pixels of each class
REFUSED = {
    "a map of RGB by a run on bands 1 2 4 of four": r"b\.tif.*3 bands.*1, 2, 4",
    "alpha alone": r"a\.tif: .*dataset\.bands=\[1\]",
    "no band named": r"dataset\.bands",
    "another, scale than none": r"b\.tif: band 1 .*0\.0001.* 1\.",
    "points in degrees on a transform without a CRS": r"a\.tif.*points\.csv",
    "number, 255": "255 classes",
    "number, 280": "280 classes",
}
"""Cases that must be refused: case → what the message names."""

# Some of each kind; `python -m benchmarks.reliability` runs all.
CHOSEN = [
    *("bands, in another order", "bands, the last three", "bands, one"),
    *("8-bit bands of which GDAL marks the fourth as alpha, all ",),
    *("8-bit bands of which GDAL marks the fourth as alpha, with the fourth", "alpha in another place"),
    *("undeclared at the edge, -9999 in int16", "undeclared at the edge, 1e20", "undeclared at the edge, 0 in uint16"),
    *("bands that lack it in different places, NaN", "bands that lack it in different places, 0 in uint16"),
    *("holes under a quality band that is always filled, 0 in uint16", "dark pixels of 8 bits are no holes"),
    *(
        "a hole in the second image alone",
        "saturated at 65535 in uint16, 0.5 %",
        "a few ships on SAR amplitude, one band",
    ),
    *("a class a hundred times as bright as two others", "another, offset", "two offsets among the images of training"),
    *("EXIF, 3", "EXIF, 6", "a world file", "an engineering CRS of image and points", "ground control points alone"),
]
ALL = {name: build for cases in CASES.values() for name, build in cases.items()}


@pytest.mark.parametrize("name", CHOSEN)
def test_the_map_is_right(name: str, tmp_path: Path) -> None:
    ALL[name](site := Site(tmp_path))
    found = journey(site)
    assert min(found.values()) > RIGHT, found


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_by_name(name: str, tmp_path: Path) -> None:
    ALL[name](site := Site(tmp_path))
    with pytest.raises(InputError, match=REFUSED[name]):
        journey(site)
