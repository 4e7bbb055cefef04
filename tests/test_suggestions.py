"""Which points are suggested, and that they go back as points."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointseg.errors import InputError
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.suggestions import margin
from pointseg.suggestions.margin import Rules, choose, sample
from pointseg.suggestions.suggest import write
from tests.site import CRS, NAMES, write_image
from tests.support.maps import PALETTE
from tests.support.suggestions import edge, model

NONE = pd.DataFrame({"scene": [], "row": [], "col": []})


def pixels(seed: int, scenes: int = 2, side: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    scene, row, col = np.mgrid[0:scenes, 0:side, 0:side].reshape(3, -1)
    predicted = rng.choice(3, scene.size, p=[0.9, 0.08, 0.02])
    return pd.DataFrame(
        {"scene": scene, "row": row, "col": col, "predicted": predicted, "margin": rng.random(scene.size)}
    )


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 60), st.floats(0.02, 1), st.floats(0, 12))
def test_they_are_uncertain_apart_and_balanced(seed: int, count: int, share: float, distance: float) -> None:
    table = pixels(seed)
    taken = pd.DataFrame({"scene": [0, 1], "row": [20, 5], "col": [20, 5]})
    chosen = choose(table, taken, Rules(count, share, distance, seed))
    assert len(chosen) <= count
    assert chosen.index.is_unique
    everything = pd.concat([chosen[["scene", "row", "col"]], taken])
    for _, there in everything.groupby("scene"):
        positions = there[["row", "col"]].to_numpy(float)
        apart = np.hypot(*(positions[:, None] - positions[None]).transpose(2, 0, 1))
        assert (apart + 1e9 * np.eye(len(apart)) >= distance).all()
    for label, of_class in table.groupby("predicted"):
        worst = np.sort(of_class["margin"])[max(round(share * len(of_class)), 1) - 1]
        assert (chosen["margin"][chosen["predicted"] == label] <= worst).all()
    if len(chosen) == count and share * len(table) * 0.02 > count and distance < 1:
        counts = chosen["predicted"].value_counts()
        assert counts.max() - counts.min() <= 1


def test_they_are_drawn_at_random_and_the_seed_decides() -> None:
    table = pixels(0)
    first, again, other = (choose(table, NONE, Rules(30, 0.05, 2, seed)) for seed in (0, 0, 1))
    assert first.index.tolist() == again.index.tolist() != other.index.tolist()
    assert first["margin"].tolist() != sorted(first["margin"])


def test_a_short_supply_gives_fewer() -> None:
    assert len(choose(pixels(0, scenes=1, side=10), NONE, Rules(50, 1, 8, 0))) < 6


def test_no_pixel_is_suggested_twice() -> None:
    table = pixels(0, scenes=1, side=6)
    taken = table.iloc[::2]
    chosen = choose(table, taken, Rules(len(table), 1, 0, 0))
    assert sorted(chosen.index) == list(range(1, 36, 2))


def test_what_is_sampled_is_what_is_predicted_and_never_without_data(tmp_path: Path) -> None:
    labels = write_image(tmp_path / "a.tif", nodata=0, hole=(slice(0, 20), slice(0, 20)))
    rasters = open_rasters({"a": tmp_path / "a.tif"})
    table = sample(model(edge), rasters, Raster.valid, 2, 0)
    assert len(table) == labels.size - 400  # fewer than SAMPLE: all of them
    assert not ((table["row"] < 20) & (table["col"] < 20)).any()
    there = labels[table["row"], table["col"]]
    assert (table["margin"][there == 1] < 0.3).mean() > 0.95
    assert table["margin"][there == 0].to_numpy() == pytest.approx(0.82, abs=1e-4)
    chosen = choose(table, NONE, Rules(20, 0.05, 5, 0))
    assert (labels[chosen["row"], chosen["col"]] == 1).all()


def test_a_large_scene_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margin, "SAMPLE", 2000)
    write_image(tmp_path / "a.tif")
    table = sample(model(edge), open_rasters({"a": tmp_path / "a.tif"}), Raster.valid, 2, 0)
    assert 1700 < len(table) < 2300
    assert table["row"].max() > 90
    assert table["col"].max() > 120


def _margins(file: Path) -> list[float]:
    table = pd.read_csv(file) if file.suffix == ".csv" else geopandas.read_file(file, layer=0)
    return [float(margin) for margin in table["margin"]]


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "csv"])
def test_filled_in_they_go_back_as_points(suffix: str, tmp_path: Path) -> None:
    from tests.support.field_points import reader

    for name, offset in (("a", 0), ("b", 5000)):
        write_image(tmp_path / f"{name}.tif", offset=offset)
    rasters = open_rasters({name: tmp_path / f"{name}.tif" for name in "ab"})
    chosen = choose(pixels(0), NONE, Rules(12, 0.1, 3, 0))
    file = tmp_path / f"next.{suffix}"
    write(chosen, rasters, NAMES, PALETTE, file)
    assert _margins(file) == sorted(chosen["margin"].round(4))  # those most worth it first
    with pytest.raises(InputError, match=" 12 "):  # not filled in yet
        reader().read([file], rasters)
    if suffix == "csv":
        table: Any = pd.read_csv(file)
        table["class"] = table["predicted"]
        table.to_csv(file, index=False)
    else:
        table = geopandas.read_file(file)
        assert table.crs == (CRS if suffix == "gpkg" else "EPSG:4326")
        table["class"] = table["predicted"]
        table.to_file(file)
    found = reader().read([file], rasters)
    expected = {(s, r, c, NAMES[p]) for s, r, c, p in chosen[["scene", "row", "col", "predicted"]].to_numpy(int)}
    assert set(found[["scene", "row", "col", "name"]].itertuples(index=False, name=None)) == expected
