"""The labelling page in a browser: what a person does, and what is then in the file and on the screen."""

import http.client
import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from nicegui.events import GenericEventArguments
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from rasterio.transform import Affine

from pointseg.imagery.paths import find
from pointseg.imagery.rasters import open_rasters
from pointseg.labelling import page as labelling_page
from pointseg.labelling.jobs import Job
from pointseg.labelling.records import Pixel
from pointseg.labelling.session import Session, open_points
from pointseg.labelling.trust import COOKIE, Guard
from tests.conftest import SPAWN, run_module
from tests.site import NAMES, frame, write_image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
GRID = Affine(0.4, 0.3, 300_000, 0.3, -0.4, 2_800_000)  # rotated: a click is not where its axes seem to be
COLOURS = {"grass": (0x00, 0x72, 0xB2), "sand": (0xE6, 0x9F, 0x00), "water": (0x99, 0x99, 0x99)}
EVIL = "<img src=x onerror=\"document.title='taken'\">"


@dataclass(frozen=True)
class Server:
    folder: Path
    port: int
    labels: np.ndarray

    @property
    def points(self) -> Path:
        return self.folder / "field.gpkg"

    def session(self) -> Session:
        """What the file holds now."""
        scenes = open_rasters(find(str(self.folder / "site"), "images"))
        return Session(scenes, open_points(self.points, scenes, "class", None))

    def found(self) -> set[tuple[int, int, str]]:
        return {(pixel.row, pixel.col, name) for pixel, name in self.session().labelled().items()}

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    labels = write_image(folder / "site/a.tif", (600, 800), transform=GRID, nodata=0, hole=(slice(0, 20), slice(0, 20)))
    log = folder / "log"
    # The middle of a block of sand, which another person took for grass.
    other = int(np.flatnonzero(labels[296, 104:700:16] == 1)[0]) * 16 + 104
    frame([(296, other, "grass")], transform=GRID).to_file(folder / "theirs.gpkg")
    arguments = [
        "images=site",
        "points=field.gpkg",
        "others=theirs.gpkg",
        "model.encoder=null",
        "port=0",
        "show=false",
        "window_size=256",
    ]
    settings = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "POINTSEG_CACHE": str(folder / "cache")}
    process = SPAWN.Process(
        target=run_module, args=("pointseg.label", [*arguments, "output=runs"], str(folder), settings, str(log))
    )
    process.start()
    try:
        port = waited(lambda: re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text() if log.exists() else ""), 120)
        waited(lambda: answering(int(port[1])), 30)
        yield Server(folder, int(port[1]), labels)
    finally:
        process.terminate()
        process.join(20)
        process.kill()
    assert "Traceback" not in log.read_text(), log.read_text()


def waited(condition: Callable[[], Any], seconds: float = 40) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def answering(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


class Tab:
    """A page of the browser, with the positions of the scene's pixels on it."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 700})
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.server = server
        self.open()

    def open(self) -> None:
        self.page.goto(f"http://127.0.0.1:{self.server.port}/")
        self.page.wait_for_function("window.sceneMap?.image")
        self.page.evaluate("sceneMap.map.setView([-300, 400], 0, {animate: false})")

    def at(self, row: int, col: int) -> tuple[float, float]:
        place = """([row, col]) => {
            const at = sceneMap.map.latLngToContainerPoint([-row, col]); // at zoom 0 a pixel is one of the screen
            const box = sceneMap.$el.getBoundingClientRect();
            return [at.x + box.x, at.y + box.y];
        }"""
        x, y = self.page.evaluate(place, [row, col])
        return x, y

    def click(self, row: int, col: int) -> None:
        before = self.count()
        self.page.mouse.click(*self.at(row, col))
        waited(lambda: self.count() == before + 1)

    def count(self) -> int:
        return int(self.page.evaluate("sceneMap.markers.size"))

    def points(self) -> set[tuple[int, int, str]]:
        shown = """[...sceneMap.markers.values()].map(
            m => [Math.floor(-m.getLatLng().lat), Math.floor(m.getLatLng().lng), m.kind])"""
        return {tuple(point) for point in self.page.evaluate(shown)}

    def add_class(self, name: str) -> None:
        if name in self.page.evaluate("Object.keys(sceneMap.classes)"):
            return
        self.page.fill(".new-class input", name)
        self.page.press(".new-class input", "Enter")
        waited(lambda: name in self.page.evaluate("Object.keys(sceneMap.classes)"))
        self.page.evaluate("document.activeElement.blur()")

    def colours(self, pixels: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
        """Of the map, as it is drawn; (0, 0, 0) where there is none."""
        read = """pixels => pixels.map(([row, col]) => {
            for (const { el } of Object.values(sceneMap.layer._tiles)) {
                const [top, left] = [el.coords.y * 256, el.coords.x * 256];
                if (row < top || col < left || row >= top + 256 || col >= left + 256) continue;
                return [...el.getContext("2d").getImageData(col - left, row - top, 1, 1).data].slice(0, 3);
            }
        })"""
        return [tuple(colour) for colour in self.page.evaluate(read, pixels)]

    def said(self, text: str) -> None:
        self.page.get_by_text(text, exact=False).first.wait_for(timeout=15_000)


@pytest.fixture
def tab(browser: Browser, server: Server) -> Iterator[Tab]:
    opened = Tab(browser, server)
    yield opened
    opened.page.close()
    assert not opened.errors
    outside = [
        url for url in opened.asked if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:", "blob:"))
    ]
    assert not outside, "something was asked of another machine"


def seen(labels: np.ndarray, count: int, seed: int) -> list[tuple[int, int]]:
    """Pixels in the middle of the screen, equally many of each class."""
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(3):
        rows, cols = np.nonzero(labels[100:500, 100:700] == label)
        chosen += [(int(rows[i]) + 100, int(cols[i]) + 100) for i in rng.choice(len(rows), count, replace=False)]
    return chosen


@BROWSER
def test_what_a_person_does_is_in_the_file_and_on_the_map(tab: Tab, browser: Browser, server: Server) -> None:
    labels = server.labels
    for name in NAMES:
        tab.add_class(name)
    clicked = seen(labels, 8, 0)
    for row, col in clicked:
        tab.page.keyboard.press(str(labels[row, col] + 1))
        waited(lambda row=row, col=col: current(tab) == NAMES[labels[row, col]])
        tab.click(row, col)
    expected = {(row, col, NAMES[labels[row, col]]) for row, col in clicked}
    assert server.found() == expected == tab.points()
    written = geopandas.read_file(server.points)
    truth = np.array([GRID * (col + 0.5, row + 0.5) for row, col in clicked])
    assert np.abs(np.column_stack([written.geometry.x, written.geometry.y]) - truth).max() < 0.01

    looked = seen(labels, 60, 1)
    truth_colours = [COLOURS[NAMES[labels[row, col]]] for row, col in looked]

    def agreement() -> float:
        return float(np.mean([a == b for a, b in zip(tab.colours(looked), truth_colours, strict=True)]))

    waited(lambda: agreement() > 0.85)

    other = Tab(browser, server)  # a second tab shows the same, and what it does comes here
    waited(lambda: other.points() == expected)
    (row, col), *_ = clicked
    other.page.mouse.click(*other.at(row, col))
    other.page.locator(".point.picked").wait_for()
    other.page.keyboard.press("Delete")
    waited(lambda: tab.points() == expected - {(row, col, NAMES[labels[row, col]])})
    other.page.close()
    tab.page.keyboard.press("z")
    waited(lambda: server.found() == expected == tab.points())

    start, end = clicked[3], (250, 333)
    tab.page.mouse.move(*tab.at(*start))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.at(200, 300), steps=4)
    tab.page.mouse.move(*tab.at(*end), steps=4)
    tab.page.mouse.up()
    name = NAMES[labels[start]]
    moved = (expected - {(*start, name)}) | {(*end, name)}
    waited(lambda: tab.points() == moved)
    assert server.found() == moved
    tab.page.keyboard.press("z")
    waited(lambda: server.found() == expected)
    tab.page.keyboard.press("Shift+Z")
    waited(lambda: server.found() == moved)
    tab.page.keyboard.press("z")
    waited(lambda: server.found() == expected)

    # All points of a class away: the map has it nowhere, and again everywhere once they are back.
    water = [point for point in expected if point[2] == "water"]
    for row, col, _ in water:
        tab.page.mouse.click(*tab.at(row, col))
        tab.page.locator(".point.picked").wait_for()
        tab.page.keyboard.press("2")
        waited(lambda row=row, col=col: (row, col, "sand") in tab.points())
        tab.page.keyboard.press("Escape")
        tab.page.locator(".point.picked").wait_for(state="detached")
    waited(lambda: COLOURS["water"] not in tab.colours(looked))
    for _ in water:
        tab.page.keyboard.press("z")
    waited(lambda: server.found() == expected)
    waited(lambda: agreement() > 0.85)

    tab.page.keyboard.press("n")
    tab.page.locator(".suggested").wait_for()
    tab.page.keyboard.press("1")
    waited(lambda: tab.count() == len(expected) + 1)
    (answer,) = server.found() - expected
    assert answer[2] == "grass"
    tab.page.keyboard.press("z")
    waited(lambda: server.found() == expected)
    tab.open()  # after a reload all is as it was
    waited(lambda: tab.points() == expected)


def current(tab: Tab) -> str:
    return str(tab.page.locator(".class-row.current .class-name input").first.input_value())


@BROWSER
def test_the_page_says_what_it_refuses_and_what_others_do(tab: Tab, server: Server) -> None:
    tab.add_class("rock")
    before = server.found()
    shown = tab.count()
    tab.page.evaluate("sceneMap.map.setView([-100, 300], 0, {animate: false})")
    tab.page.mouse.click(*tab.at(5, 5))
    tab.said("holds no data")
    waited(lambda: tab.page.locator(".pending").count() == 0)
    assert tab.count() == shown
    assert server.found() == before
    table = geopandas.read_file(server.points)
    added = frame([(300, 300, "by another")], transform=GRID)
    geopandas.pd.concat([table, added]).to_file(server.points, layer="field", driver="GPKG")
    tab.said("changed by another program")
    waited(lambda: (300, 300, "by another") in tab.points())
    assert "by another" in tab.page.evaluate("Object.keys(sceneMap.classes)")


@BROWSER
def test_names_are_text_whatever_they_hold(tab: Tab, server: Server) -> None:
    tab.add_class(EVIL)
    tab.page.evaluate("sceneMap.map.setView([-300, 400], 0, {animate: false})")
    waited(lambda: current(tab) == EVIL)
    tab.click(77, 420)
    tab.page.wait_for_timeout(1000)  # lists and figures with it are drawn
    assert (77, 420, EVIL) in server.found()
    assert "taken" not in tab.page.title()
    assert tab.page.locator("img[src=x]").count() == 0
    tab.page.keyboard.press("z")
    waited(lambda: (77, 420, EVIL) not in server.found())


@BROWSER
def test_classes_and_layers_are_changed_on_the_page(tab: Tab, server: Server) -> None:
    page = tab.page
    names = [str(name) for name in page.evaluate("Object.keys(sceneMap.classes)")]
    there = server.found()
    field = page.locator(".class-name input").nth(names.index("water"))
    renamed = {(row, col, "lake" if name == "water" else name) for row, col, name in there}
    field.fill("la")
    elsewhere = server.session()  # while the name is typed, what the list shows changes, and what is typed stays
    elsewhere.place(Pixel(0, 299, 301), "sand")
    waited(lambda: (299, 301, "sand") in tab.points())
    counts = page.locator(".class-row").nth(names.index("sand")).locator("div").filter(has_text=re.compile(r"^\d+$"))
    waited(lambda: counts.last.inner_text() == str(sum(name == "sand" for *_, name in tab.points())))
    field.press_sequentially("ke")
    elsewhere.undo()
    waited(lambda: (299, 301, "sand") not in tab.points())
    field.press("Enter")
    waited(lambda: server.found() == renamed == tab.points())
    undone = page.locator(".class-name input").nth(names.index("water"))
    waited(lambda: undone.input_value() == "lake")
    undone.fill("water")
    undone.press("Enter")
    waited(lambda: server.found() == there == tab.points())
    swatch = page.locator("input[type=color]").nth(names.index("sand"))
    swatch.evaluate("e => { e.value = '#0000ff'; e.dispatchEvent(new Event('change')); }")
    waited(lambda: page.evaluate("sceneMap.classes.sand") == "#0000ff")
    assert json.loads((server.folder / "field_classes.json").read_text())["sand"] == "#0000ff"
    looked = seen(server.labels, 60, 2)
    waited(lambda: (0, 0, 255) in tab.colours(looked) and COLOURS["sand"] not in tab.colours(looked))
    swatch.evaluate("e => { e.value = '#e69f00'; e.dispatchEvent(new Event('change')); }")
    waited(lambda: COLOURS["sand"] in tab.colours(looked))
    page.locator(".panel .q-select:visible").first.click()
    page.get_by_role("option", name="Confidence").click()
    waited(lambda: not {*COLOURS.values()} & {*tab.colours(looked)})
    page.keyboard.press("m")  # the list has let go of the keyboard
    waited(lambda: page.evaluate("sceneMap.layer.url === null"))
    assert set(tab.colours(looked)) == {(0, 0, 0)}
    page.keyboard.press("m")
    waited(lambda: COLOURS["grass"] in tab.colours(looked))


@BROWSER
def test_a_drawn_polygon_labels_pixels_and_can_be_taken_back(tab: Tab, server: Server) -> None:
    page, before = tab.page, server.found()
    page.keyboard.press("2")
    waited(lambda: current(tab) == "sand")
    page.keyboard.press("p")
    waited(lambda: page.evaluate("!!sceneMap.drawing"))
    for count, corner in enumerate(((120, 210), (120, 270), (165, 270), (400, 400)), 1):
        page.mouse.click(*tab.at(*corner))
        waited(lambda count=count: page.evaluate("sceneMap.drawing._markers.length") == count)
        page.wait_for_timeout(100)  # sooner the drawing tools take the next click for the same
    page.keyboard.press("Backspace")  # one corner too many
    page.mouse.dblclick(*tab.at(165, 210))
    waited(lambda: page.locator(".outline[data-id]").count() == 1)
    added = server.found() - before
    assert len(added) == 50
    assert all(120 <= row <= 165 and 210 <= col <= 270 and name == "sand" for row, col, name in added)
    (drawn,) = geopandas.read_file(server.points, layer="field_polygons").geometry
    corners = np.array([GRID * (col, row) for row, col in ((120, 210), (120, 270), (165, 270), (165, 210))])
    assert np.abs(np.array(drawn.exterior.coords)[:4] - corners).max() < 1.5
    page.keyboard.press("Escape")
    waited(lambda: page.evaluate("sceneMap.drawing === null"))
    page.mouse.click(*tab.at(122, 240))  # beside its edge: within the shape points can be placed, on it it is picked
    page.locator(".outline.picked").wait_for()
    page.keyboard.press("Delete")
    waited(lambda: page.locator(".outline").count() == 0)
    assert server.found() == before
    page.keyboard.press("z")
    waited(lambda: page.locator(".outline").count() == 1)
    assert server.found() == before | added
    page.keyboard.press("z")
    waited(lambda: server.found() == before)


@BROWSER
def test_where_another_person_differs_is_listed_and_shown(tab: Tab, server: Server) -> None:
    page = tab.page
    assert page.locator(".other").count() == 1
    listed = page.locator(".differences td.text-left")
    waited(lambda: "sand" in listed.nth(1).inner_text())
    listed.first.click()
    page.locator(".suggested").wait_for()
    row, col = page.evaluate("(c => [-c.lat, c.lng])(sceneMap.map.getCenter())")
    before, count = server.found(), tab.count()
    assert abs(row - 296) < 2
    assert server.labels[int(row), int(col)] == NAMES.index("sand")
    page.mouse.click(*tab.at(int(row), int(col)))  # theirs is not in the way
    waited(lambda: tab.count() == count + 1)
    page.keyboard.press("z")
    waited(lambda: server.found() == before)


def test_plain_pictures_take_points_alone(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    Image.fromarray(np.arange(3600, dtype=np.uint16).astype(np.uint8).reshape(30, 40, 3)).save(tmp_path / "site/a.png")
    scenes = open_rasters(find(str(tmp_path / "site"), "images"))
    refused: list[str] = []
    chosen: list[str] = []
    page = SimpleNamespace(
        session=Session(scenes, open_points(tmp_path / "field.csv", scenes, "class", None)),
        picked=None,
        complain=refused.append,
        panels=SimpleNamespace(tools=SimpleNamespace(set_value=chosen.append)),
    )
    for key in "lpc":
        event = GenericEventArguments(sender=None, client=None, args={"key": key})  # type: ignore[arg-type]
        with pytest.raises(StopIteration):  # it has nothing to wait for
            labelling_page.Page._key(page, event).send(None)  # type: ignore[arg-type]
    assert chosen == ["point"], "nothing can be drawn that the file could not hold"
    assert len(refused) == 2


@BROWSER
def test_the_written_map_is_that_of_the_points(tab: Tab, server: Server) -> None:
    labels = server.labels
    if not server.found():
        pytest.skip("the first test has placed no points")
    tab.page.get_by_role("button", name="Make the map").click()
    job = tab.page.locator(".job")
    waited(lambda: job.get_by_text("Make the map: done").or_(job.get_by_text("Make the map: failed")).count(), 250)
    assert "done" in job.inner_text()
    (run,) = (server.folder / "runs").iterdir()
    with rasterio.open(run / "maps/a.tif") as dataset:
        found, colours = dataset.read(1), dataset.colormap(1)
        names = [dataset.tags().get(f"CLASS_{i}") for i in range(3)]
    assert names == list(NAMES)
    assert colours[1][:3] == COLOURS["sand"]
    assert (found[20:] == labels[20:]).mean() > 0.85
    assert json.loads((run / "run/scores.json").read_text())["finished"]["points"].keys() >= set(NAMES)


def test_no_other_page_and_no_other_name_is_answered(server: Server) -> None:
    own = f"127.0.0.1:{server.port}"
    tile = "/image/0/0/0/0?bands=1:0:255,2:0:255,3:0:255"
    assert server.get(tile)[0] == server.get("/")[0] == 200
    assert server.get("/", Host=f"localhost:{server.port}")[0] == 200
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{server.port}"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://127.0.0.1:{server.port + 1}"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    ):
        for path in (tile, "/", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
            assert server.get(path, **headers)[0] == 403, (headers, path)
        assert "101" not in upgraded(server, {"Host": own, **headers}), headers
    assert "101" in upgraded(server, {"Host": own, "Origin": f"http://{own}"})
    assert server.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200, "a link to the page"


def upgraded(server: Server, headers: dict[str, str]) -> str:
    """The first line of the answer to a websocket's handshake."""
    lines = [
        "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as stream:
        stream.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return stream.recv(1000).decode("latin-1").splitlines()[0]


@pytest.mark.parametrize(
    "path",
    [
        *("/image/1/0/0/0?bands=1:0:255,1:0:255,1:0:255", "/image/-1/0/0/0?bands=1:0:255,1:0:255,1:0:255"),
        *("/image/0/0/99/0?bands=1:0:255,1:0:255,1:0:255", "/image/0/0/0/0?bands=9:0:255,1:0:255,1:0:255"),
        *("/image/0/0/0/0?bands=1:5:5,1:0:255,1:0:255", "/image/0/0/0/0?bands=1:nan:1,1:0:1,1:0:1"),
        *("/image/0/0/0/0?bands=../../etc", "/map/1/0/0/0/0?layer=../x", "/map/1/7/0/0/0?layer=classes"),
        *(
            "/image/..%2f..%2f/0/0/0?bands=1:0:1",
            "/../field.gpkg",
            "/field.gpkg",
            "/site/a.tif",
            "/image/0/99/0/0?bands=1",
        ),
    ],
)
def test_nothing_but_the_named_scenes_is_served(path: str, server: Server) -> None:
    status, content = server.get(path)
    assert status in (404, 422)
    assert b"GPKG" not in content


def test_a_job_can_be_stopped(tmp_path: Path) -> None:
    job = Job("Wait", tmp_path, [["timeit", "-n1", "-r1", "import time; print('3 of 4', flush=True); time.sleep(60)"]])
    thread = Thread(target=job.run, args=(lambda: None,))
    thread.start()
    waited(lambda: job.progress == 0.75)
    job.stop()
    thread.join(20)
    assert job.state == "stopped"
    assert job.process is not None
    assert job.process.returncode in (1, -signal.SIGTERM, 143)


def test_elsewhere_a_token_is_needed() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def asked(query: str = "", path: str = "/", kind: str = "http", **headers: str) -> dict[str, Any]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        listed = [(b"host", b"field.example:8000"), *((k.encode(), v.encode()) for k, v in headers.items())]
        scope = {"type": kind, "method": "GET", "path": path, "query_string": query.encode(), "headers": listed}
        with suppress(StopIteration):  # it waits for nothing, so no event loop is needed (Playwright's is running)
            Guard(app, 8000, "secret")(scope, None, send).send(None)
        return sent[0]

    assert asked()["status"] == asked("token=wrong")["status"] == asked(cookie=f"{COOKIE}=wrong")["status"] == 403
    assert asked(kind="websocket")["type"] == "websocket.close"
    first = asked("token=secret")
    assert first["status"] == 303
    headers = {name.decode(): value.decode() for name, value in first["headers"]}
    assert headers["location"] == "/"
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    own = headers["set-cookie"].split(";")[0]
    assert asked(path="/image/0/0/0/0", cookie=own)["status"] == 200
    assert asked(cookie=own, origin="http://evil.example")["status"] == 403
