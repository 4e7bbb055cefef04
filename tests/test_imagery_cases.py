"""Of every kind of input in `cases`, those that a mistake would turn into a wrong map without a word."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointseg.errors import InputError
from pointseg.evaluation.calibrate import calibrate
from pointseg.imagery.rasters import open_rasters, reduced
from pointseg.prediction.trained import bands_of, load_run
from pointseg.suggestions.suggest import suggest
from pointseg.types import Window
from tests.cases import formats  # noqa: F401 (adds its own to CASES)
from tests.cases.imagery import CASES, EDGE, holed, tagged, two_of_four
from tests.ground import SHAPE, Site, accuracy, composed, journey, map_of, train_on, truth

RIGHT = 0.9  # of the pixels of each class
REFUSED = {
    "a map of RGB by a run on bands 1 2 4 of four": r"b\.tif.*3 bands.*1, 2, 4",
    "alpha alone": r"a\.tif: .*dataset\.bands=\[1\]",
    "no band named": r"dataset\.bands",
    "another, scale than none": r"b\.tif: band 1 .*0\.0001.* 1\.",
    "points in degrees on a transform without a CRS": r"a\.tif.*points\.csv",
    "a band that is, NaN alone": r"a\.tif.* band 4.*\[1,2,3\]",
    "an image that is, 0 alone": r"a\.tif.*0\.0, 0\.0, 0\.0",
    "half of the ground is 0 in, two bands": r"bare.* 0 .*dataset\.nodata=\[\]",
    "called, in 240 letters": "shorter name",
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
    *("two values alone", "zeros that are said to be data", "called, with a dollar"),
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


def test_every_command_reads_a_file_as_training_did(tmp_path: Path) -> None:
    """By the run's bands, units, stretch and values without data: the map, the suggested points and the picture."""
    labels = holed(truth(), EDGE)
    bands = two_of_four(truth(), "uint16")
    bands[(slice(None), *EDGE)] = 65535
    site = Site(tmp_path, options=["dataset.bands=[3,2,1,4]"])
    site.image("a.tif", labels, bands, after=tagged(1e-4, 0.0))
    site.image("b.tif", labels, bands + np.where(bands < 65535, 1000, 0), after=tagged(1e-4, -0.1))
    site.click(labels)
    run = train_on(site)
    model = load_run(run, "best", "cpu", None)
    kept = bands_of(json.loads(json.dumps(asdict(model.bands))))  # as an exported file keeps them
    assert asdict(kept) == asdict(model.bands)
    for name in site.truths:
        (raster,) = open_rasters({"x": tmp_path / name}, bands=kept)
        image, valid = raster.image(Window(0, 0, *SHAPE)), raster.valid(Window(0, 0, *SHAPE))
        assert (valid == (labels != 255)).all()
        means = [[image[..., band][labels == label].mean() for band in range(4)] for label in (0, 1)]
        assert means[1][0] - means[0][0] < -80  # the file's band 3
        assert means[1][2] - means[0][2] > 80  # its band 1
        small, _ = reduced(raster, 64)
        assert np.abs(small.astype(int) - image[1::2, 1::2, :3])[:, 4:].mean() < 12
        assert accuracy(map_of(site, run, name), labels) > RIGHT
        suggest(composed("suggest", f"run={run}", f"input={tmp_path / name}", f"output={run}/{name}.csv", "distance=2"))
        points = pd.read_csv(run / f"{name}.csv")
        assert (labels[points["row"], points["col"]] != 255).all()
    calibrate(composed("calibrate", f"run={run}", f"input={tmp_path / 'b.tif'}", "prior=estimate"))
    found = json.loads((run / "calibration.json").read_text())["prior"]
    assert found["crop"] == pytest.approx((labels == 1).sum() / (labels != 255).sum(), abs=0.06)
