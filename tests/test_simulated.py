"""The simulated person, who labels as on the page and is answered by the masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pointseg.errors import InputError
from pointseg.labelling.command import frozen_network
from pointseg.labelling.features import Features
from pointseg.labelling.records import Pixel
from pointseg.labelling.simulated import APART, WAYS, Person, Shown, Site, simulate
from pointseg.types import IGNORE, RGB
from tests.conftest import ArrayScene, Outcome

NODE = {
    "_target_": "pointseg.models.frozen.frozen", "encoder": None, "weights": None, "scales": 1, "head": "linear",
}  # fmt: skip
COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.uint8)


def scene(number: int) -> ArrayScene:
    """Three stripes in colours of their own, of which the upper rows have no label."""
    labels = np.repeat(np.arange(3, dtype=np.uint8), 64)[None].repeat(160, 0)
    noise = np.random.default_rng(number).integers(-20, 20, (160, 192, 3))
    pixels = np.clip(COLOURS[labels] + noise, 0, 255).astype(np.uint8)
    labels[:20] = IGNORE
    return ArrayScene(f"site/{number}", pixels, labels, "site")


@pytest.fixture(scope="module")
def site() -> Site:
    scenes = [scene(0), scene(1)]
    features = Features(frozen_network(NODE, RGB), [Shown(s) for s in scenes], 96, 32, 10**6)
    return Site(scenes, features, 10**6)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_labels_what_the_masks_say(site: Site, way: str) -> None:
    person = Person(site, way, seed=1)
    for _ in range(6):
        person.step()
    assert len(person.labelled) == 9
    for pixel, name in person.labelled.items():
        assert int(name) == scene(pixel.scene).labels[pixel.row, pixel.col] != IGNORE
    counts = np.bincount([int(name) for name in person.labelled.values()])
    if way == "class_by_class":
        assert counts.tolist() == [3, 3, 3]
    if way == "suggested":
        added = list(person.labelled)[3:]
        for i, pixel in enumerate(added):
            others = [other for other in [*list(person.labelled)[:3], *added[:i]] if other.scene == pixel.scene]
            assert all(np.hypot(pixel.row - o.row, pixel.col - o.col) >= APART for o in others)
    assert person.score() > 0.7


def test_what_is_suggested_is_of_the_class_with_the_fewest_points(site: Site) -> None:
    person = Person(site, "class_by_class", seed=0)
    for _ in range(5):
        person.step()
    counts = np.bincount([int(name) for name in person.labelled.values()])
    fit = person.fit()
    skipped: list[Pixel] = []
    for seed in range(4):
        pixel = site.survey.next_point(fit, person.labelled, skipped, APART, seed)
        assert pixel is not None
        scene, row, col = site.place(pixel)
        assert fit.names[site.survey.answer(scene, fit).classes[row, col]] == str(counts.argmin())
        others = [other for other in [*person.labelled, *skipped] if other.scene == pixel.scene]
        assert all(np.hypot(pixel.row - other.row, pixel.col - other.col) >= APART for other in others)
        skipped.append(pixel)


def test_the_seed_decides_all_but_the_time(site: Site) -> None:
    found = [pd.DataFrame(simulate(site, "suggested", [2, 5, 8], seed)).drop(columns="seconds") for seed in (0, 0, 1)]
    assert found[0].equals(found[1])
    assert found[0]["points"].tolist() == [5, 8]  # two points are fewer than the classes
    first = [list(Person(site, "random", seed).labelled) for seed in (0, 1)]
    assert first[0] != first[1]


def test_more_points_than_there_are_is_said(site: Site) -> None:
    with pytest.raises(InputError, match="random"):
        list(simulate(site, "random", [10**6], 0))


def test_the_command_goes_on_where_it_was_stopped(command: Callable[..., Outcome], tmp_path: Path) -> None:
    job = ["pointseg.active", "dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "model.encoder=null"]
    job += [
        "dataset.split={train: [1], val: [2], test: [3]}",
        "output=scores",
        "window_size=64",
        "overlap=16",
        "seeds=1",
    ]
    first = command(*job, "groups=[Tile 1]", "ways=[random]", "budgets=[6,8]")
    assert first.code == 0, first.output
    before = pd.read_csv(tmp_path / "scores/results.csv")
    assert before[["site", "way", "points"]].to_numpy().tolist() == [["Tile 1", "random", 6], ["Tile 1", "random", 8]]
    more = command(*job, "groups=[Tile 1]", "ways=[random,suggested]", "budgets=[6,8]")
    assert more.code == 0, more.output
    after = pd.read_csv(tmp_path / "scores/results.csv")
    assert after[:2].equals(before)
    assert after["way"].tolist() == ["random"] * 2 + ["suggested"] * 2
    refused = command(*job, "groups=[Tile 9]")
    assert refused.code != 0
    assert "Tile 9" in refused.output
