"""The model beside the session: its map is the one that `predict` writes, and follows each click."""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from pointseg.annotation.readers.labels import Columns
from pointseg.imagery.paths import find
from pointseg.imagery.rasters import Raster, open_rasters
from pointseg.labelling import drawing, overviews, tiles
from pointseg.labelling.drawing import TileKey
from pointseg.labelling.features import Features, Place
from pointseg.labelling.knowledge import Knowledge
from pointseg.labelling.learner import Learner
from pointseg.labelling.others import Others
from pointseg.labelling.records import Pixel
from pointseg.labelling.session import Session, open_points
from pointseg.labelling.survey import Survey
from pointseg.models.frozen import Frozen, frozen, set_layer
from pointseg.models.networks import fold_norms
from pointseg.prediction.windows import predict_scene, probabilities
from pointseg.types import IGNORE, Window
from tests.site import NAMES, frame, pixels, write_image

SIDE, OVERLAP = 128, 32


def network(encoder: str | None, scenes: list[Raster]) -> Frozen:
    torch.manual_seed(0)
    return fold_norms(copy.deepcopy(frozen(2, encoder, None, 2, "linear", scenes[0].bands))).eval()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Raster], np.ndarray]:
    folder = tmp_path_factory.mktemp("map")
    labels = write_image(folder / "site/a.tif", (200, 300))
    return open_rasters(find(str(folder / "site"), "images")), labels


@pytest.fixture
def learner(site: tuple[list[Raster], np.ndarray], tmp_path: Path) -> Iterator[Learner]:
    scenes, _ = site
    session = Session(scenes, open_points(tmp_path / "field.gpkg", scenes, "class", None))
    made = Learner(session, Features(network(None, scenes), scenes, SIDE, OVERLAP, 10**8), 10**7)
    yield made
    if made._threads[0].is_alive():
        made.stop()


def waited(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def labelled(learner: Learner, labels: np.ndarray, each: int = 12) -> None:
    for row, col, name in pixels(labels, each):
        learner.session.place(Pixel(0, row, col), name)


def tile(learner: Learner, key: TileKey) -> np.ndarray:
    """Of the newest fit, as indices of NAMES."""
    while True:
        drawn = learner.wish(key, learner.fit.number).future.result(60)
        if drawn is not None:
            index = np.array([NAMES.index(name) for name in drawn.fit.names] + [IGNORE] * 256)
            return index[np.minimum(drawn.classes, len(drawn.fit.names))]


@pytest.mark.parametrize("encoder", [None, "mobilenet_v2"])
def test_any_part_of_the_map_is_that_of_predict(encoder: str | None, site: tuple[list[Raster], np.ndarray]) -> None:
    scenes, _ = site
    made = network(encoder, scenes)
    features = Features(made, scenes, SIDE, OVERLAP, 10**9)
    weight = torch.randn(2, features.width) * (0.3 if encoder is None else 0.5)
    set_layer(made.classifier.linear, weight, torch.zeros(2))
    whole = torch.zeros(2, *scenes[0].shape)
    with torch.inference_mode():
        for part, values in predict_scene(lambda x: probabilities(made, x), scenes[0], SIDE, OVERLAP, 1, "cpu"):
            whole[:, part.row : part.row + part.height, part.col : part.col + part.width] = values
    assert whole.std() > 0.05
    for area in (Window(0, 0, 200, 300), Window(37, 51, 100, 128), Window(199, 299, 1, 1)):
        found = features.probabilities(made.classifier, 0, area)
        expected = whole[:, area.row : area.row + area.height, area.col : area.col + area.width]
        assert torch.allclose(found, expected, atol=5e-3)  # features are kept in half precision


def test_features_beyond_the_limit_are_forgotten(site: tuple[list[Raster], np.ndarray]) -> None:
    scenes, _ = site
    features = Features(network(None, scenes), scenes, SIDE, OVERLAP, 1)
    size = 0
    for place in features.missing(0, Window(0, 0, 200, 300)):
        features.of_window(place)
        size = max(size, features.bytes)
    assert len(features.kept) == 1
    assert size == features.bytes == sum(m.numel() * 2 for m in next(iter(features.kept.values())))


def test_sums_do_not_remember_what_was_taken_away() -> None:
    levels = network(None, open_nothing()).levels
    rng = torch.Generator().manual_seed(0)
    known, fresh = Knowledge(levels), Knowledge(levels)
    rows = {Pixel(0, i, i): torch.randn(8, known.width, generator=rng) + i % 2 for i in range(20)}
    for pixel, values in rows.items():
        known.learn(pixel, values[:1])
        known.learn(pixel, values)
    for i in range(10, 20):
        known.forget(Pixel(0, i, i))
    for i in range(10):
        fresh.learn(Pixel(0, i, i), rows[Pixel(0, i, i)])
    labels = {Pixel(0, i, i): "ab"[i % 2] for i in range(10)}
    ours, theirs = (each.fit(1, labels, ["b", "a"]) for each in (known, fresh))
    assert ours.names == ("b", "a")
    assert ours.linear is not None
    assert theirs.linear is not None
    assert torch.allclose(ours.linear.weight, theirs.linear.weight, atol=1e-4)


def open_nothing() -> list[Raster]:
    from rasterio.transform import Affine

    from pointseg.types import RGB

    return [Raster("none", Path("none"), (10, 10), RGB, None, Affine.identity())]


def test_the_map_follows_each_click(learner: Learner, site: tuple[list[Raster], np.ndarray]) -> None:
    _, labels = site
    learner.start()
    key = TileKey(0, 0, 0, 0)
    assert learner.wish(key, 0).future.result(60) is None, "there is no map without points of two classes"
    labelled(learner, labels)
    waited(lambda: learner.fit.head is not None and learner.unread == 0 and learner.quality is not None)
    assert (tile(learner, key) == labels[:200, :256]).mean() > 0.9
    session = learner.session
    for row, col in ((20, 20), (60, 200), (100, 90), (150, 30)):
        here = session.at.get(Pixel(0, row, col))
        session.place(Pixel(0, row, col), NAMES[labels[row, col]]) if here is None else None
    for number, record in list(session.records.items()):
        if record.name == "water":
            session.remove(number)
    waited(lambda: learner.fit.names == ("grass", "sand"))
    assert set(np.unique(tile(learner, key))) == {0, 1}, "no point is water any more"
    while session.undo():
        if "water" in session.counts() and session.counts()["water"] == 12:
            break
    waited(lambda: len(learner.fit.names) == 3)
    assert (tile(learner, key) == labels[:200, :256]).mean() > 0.9


def test_from_afar_the_map_is_that_of_its_pixels(learner: Learner, site: tuple[list[Raster], np.ndarray]) -> None:
    _, labels = site
    learner.start()
    labelled(learner, labels)
    survey = learner.survey
    waited(lambda: not survey.left and learner.quality is not None)
    learner.view(0, Window(0, 0, 200, 300))
    near, half, far = (tile(learner, TileKey(0, halvings, 0, 0)) for halvings in (0, 1, 2))
    assert half.shape == (100, 150)
    assert (half[:, :128] == near[::2, ::2]).all()
    samples = survey.samples[0]
    assert survey.step == 4
    inside = samples.cols < 256
    assert (far[:, inside] == near[np.ix_(samples.rows, samples.cols[inside])]).mean() > 0.95  # but for blending
    shares = learner.shares()
    assert sum(shares.values()) == pytest.approx(1)
    for label, name in enumerate(NAMES):
        assert shares[name] == pytest.approx((labels == label).mean(), abs=0.05)
    pixel = learner.suggest([], 20)
    assert pixel is not None
    taken = [*learner.session.labelled()]
    assert min(np.hypot(pixel.row - other.row, pixel.col - other.col) for other in taken) >= 20
    again = learner.suggest([pixel], 20)
    assert again is not None
    assert again != pixel
    assert learner.quality is not None
    assert learner.quality.points == len(taken)
    assert learner.quality.accuracy[1] <= learner.quality.accuracy[0] <= learner.quality.accuracy[2]
    assert learner.quality.accuracy[0] > 0.8


def test_nothing_else_is_begun_while_a_page_asks_for_tiles(
    learner: Learner, site: tuple[list[Raster], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page asks for a few tiles of its view at a time; between them no window of the survey is begun."""
    _, labels = site
    labelled(learner, labels)
    done = []
    look, read = learner._look, learner.features.of_window
    monkeypatch.setattr(learner, "_look", lambda: done.append("look") or look())
    monkeypatch.setattr(learner.features, "of_window", lambda place: done.append("draw") or read(place))

    def drawn(col: int) -> bool:
        wish = learner.wish(TileKey(0, 0, 0, col), learner.fit.number)
        while learner._step():
            pass
        return wish.future.done() and wish.future.result() is not None

    monkeypatch.setattr(drawing, "GRACE", 10**9)
    learner.view(0, Window(0, 0, 200, 300))
    while learner._step():
        pass
    assert learner.fit.head is not None
    assert drawn(0)
    assert drawn(1)
    assert set(done) == {"draw"}
    monkeypatch.setattr(drawing, "GRACE", 0)
    while learner._step():
        pass
    assert not learner.survey.left, "when the page has all of its tiles, the scene is looked at"
    # While a window is looked at, a part at a time, a tile is drawn before the next part.
    done.clear()
    learner.features.kept.clear()
    learner.survey.left = list(learner.survey.samples[0].pieces)
    assert learner._step()
    assert learner._step()
    assert drawn(0)
    after = done[done.index("draw") :]
    assert "look" not in after[: len(after) - 1 - after[::-1].index("draw")]


def test_of_two_fits_the_newest_is_drawn(learner: Learner, site: tuple[list[Raster], np.ndarray]) -> None:
    _, labels = site
    labelled(learner, labels)
    while learner._learn():
        pass
    far = learner.wish(TileKey(0, 2, 0, 0), learner.fit.number)
    assert learner.drawing.step(learner.fit)
    assert (far.future.result(0).classes == IGNORE).all(), "nothing has been looked at yet"
    while learner._look():
        pass
    again = learner.wish(TileKey(0, 2, 0, 0), learner.fit.number)
    assert learner.drawing.step(learner.fit)
    assert not (again.future.result(0).classes == IGNORE).any()
    stale = learner.wish(TileKey(0, 0, 0, 0), learner.fit.number)
    learner._fit()
    newest = learner.wish(TileKey(0, 0, 0, 0), learner.fit.number)
    while learner.drawing.step(learner.fit):
        pass
    assert stale.future.result(0) is None
    drawn = newest.future.result(0)
    assert drawn is not None
    assert drawn.fit is learner.fit


def test_it_stops_in_the_middle_of_cross_validation(
    learner: Learner, site: tuple[list[Raster], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def judge(*_: object) -> None:
        begun.set()
        go_on.wait(60)

    monkeypatch.setattr("pointseg.labelling.learner.judge", judge)
    labelled(learner, site[1])
    learner.start()
    assert begun.wait(60)
    stopping = threading.Thread(target=learner.stop, daemon=True)
    stopping.start()
    waited(lambda: learner._stop and not learner._threads[0].is_alive())
    go_on.set()
    stopping.join(30)
    assert not stopping.is_alive()


def test_a_damaged_scene_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    labels = write_image(tmp_path / "site/a.tif", (200, 300), compress="deflate")
    write_image(tmp_path / "site/b.tif", (200, 300), offset=1000, compress="deflate")
    scenes = open_rasters(find(str(tmp_path / "site"), "images"))
    with (tmp_path / "site/b.tif").open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"\0" * 50_000)
    session = Session(scenes, open_points(tmp_path / "field.gpkg", scenes, "class", None))
    learner = Learner(session, Features(network(None, scenes), scenes, SIDE, OVERLAP, 10**8), 10**7)
    learner.start()
    labelled(learner, labels)
    waited(lambda: learner.fit.head is not None and any(note.bad for note in session.notes))
    assert "b.tif" in session.notes[-1].text
    assert (tile(learner, TileKey(0, 0, 0, 0)) == labels[:200, :256]).mean() > 0.9
    learner.stop()


def test_tiles_of_the_image_are_its_pixels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", (300, 400), dtype="uint16", bands=4, nodata=0, hole=(slice(0, 50), slice(0, 50)))
    (raster,) = open_rasters(find(str(tmp_path / "a.tif"), "images"))
    bands = tiles.display(raster, *tiles.read(tiles.spelled(tiles.usual(raster))))
    content, kind = tiles.image(raster, TileKey(0, 0, 0, 0), bands)
    assert kind == "image/png"
    with rasterio.MemoryFile(content) as memory, memory.open() as picture:
        values = picture.read()
    expected = raster.image(Window(0, 0, 256, 256))[..., :3]
    assert (values[3, :50, :50] == 0).all()
    assert (values[3, 50:, 50:] == 255).all()
    assert (np.moveaxis(values[:3], 0, -1)[60:, 60:] == expected[60:, 60:]).all()
    content, _ = tiles.image(raster, TileKey(0, 0, 1, 1), bands)  # at the scene's corner
    with rasterio.MemoryFile(content) as memory, memory.open() as picture:
        values = picture.read()
    assert values.shape == (4, 256, 256)
    assert (values[3, :44, :144] == 255).all()
    assert (values[3, 44:] == 0).all()
    by_view = tiles.fitted(raster, Window(100, 100, 64, 64), (4, 1, 1))
    shown = raster.image(Window(100, 100, 64, 64))[..., 3]
    low, high = (np.percentile(shown, tail) / 255 for tail in (2, 98))
    span = raster.bands.high[3] - raster.bands.low[3]
    assert by_view.low[0] == pytest.approx(raster.bands.low[3] + low * span, rel=0.02)
    assert by_view.high[0] == pytest.approx(raster.bands.low[3] + high * span, rel=0.02)


def test_overviews_are_built_beside_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "a.tif", (700, 900))
    before = (tmp_path / "a.tif").read_bytes()
    (raster,) = open_rasters(find(str(tmp_path / "a.tif"), "images"))
    assert not overviews.lacking(raster)
    monkeypatch.setattr(overviews, "LARGE", 800)
    assert overviews.lacking(raster)
    image = raster.image(Window(0, 0, 700, 900))
    overviews.build(raster)
    assert not overviews.lacking(raster)
    assert (tmp_path / "a.tif").read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} == {"a.tif", "a.tif.ovr"}
    assert (raster.image(Window(0, 0, 700, 900)) == image).all()
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.overviews(1) == [2]


def test_the_survey_takes_no_more_memory_than_it_may(site: tuple[list[Raster], np.ndarray]) -> None:
    scenes, _ = site
    features = Features(network(None, scenes), scenes, SIDE, OVERLAP, 10**8)
    for limit in (10**5, 10**6):
        survey = Survey(features, limit)
        assert sum(samples.values.numel() * 2 for samples in survey.samples) <= 1.3 * limit
    order = survey.left[-3:]
    survey.prefer(0, Window(190, 290, 10, 10))
    first = survey.left[-1]
    assert first == Place(0, Window(72, 172, SIDE, SIDE))
    assert set(order) <= set(survey.left)
    survey.look(first, features.computed(first))
    assert first not in survey.left
    assert survey.samples[0].seen[-1, -1]
    assert not survey.samples[0].seen[0, 0]


def test_a_view_beyond_the_memory_is_not_drawn_from_every_pixel(site: tuple[list[Raster], np.ndarray]) -> None:
    scenes, _ = site
    features = Features(network(None, scenes), scenes, SIDE, OVERLAP, 10**8)
    for place in features.missing(0, Window(0, 0, 200, 300)):
        features.of_window(place)
    assert features.needed(0, Window(0, 0, 200, 300)) == features.bytes
    assert features.needed(0, Window(0, 0, 10, 10)) < features.bytes / 3


def test_labels_of_others_are_held_against_the_map(site: tuple[list[Raster], np.ndarray], tmp_path: Path) -> None:
    scenes, labels = site
    theirs = pixels(labels, 20)[::3]
    wrong = [(row, col, "sand" if name == "water" else "water") for row, col, name in theirs[:3]]
    frame(wrong + theirs[3:]).to_file(tmp_path / "theirs.gpkg")
    others = Others([tmp_path / "theirs.gpkg"], scenes, Columns("class"), 50)
    session = Session(scenes, open_points(tmp_path / "field.gpkg", scenes, "class", None), others=others)
    learner = Learner(session, Features(network(None, scenes), scenes, SIDE, OVERLAP, 10**8), 10**7)
    assert learner.against_map() == []
    labelled(learner, labels)
    learner.start()
    waited(lambda: len(learner.compared) == len(theirs) and learner.quality is not None)
    found = learner.against_map()
    learner.stop()
    listed = {(d.place.row, d.place.col, d.theirs): d.ours for d in found}
    assert all(listed[row, col, name] == NAMES[labels[row, col]] for row, col, name in wrong)
    assert len(listed) <= len(wrong) + 2, "the map itself is wrong at few pixels"
    assert [d.certainty for d in found] == sorted((d.certainty for d in found), reverse=True)
