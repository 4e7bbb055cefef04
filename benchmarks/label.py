"""The labelling page: from a click to the map on the screen.

`pointseg label` in a process of its own, and a headless Chromium that shows 1600×1000 pixels of a scene at full zoom.
Scenes: Tile 7 of the aerial dataset, its nine images put together, one of 30,000² pixels that repeats it, and 50 of
6,000² with 1,000 points, 20 in each, that are there when the page is opened. After 20 points the page is clicked at
random places of the view; each click is answered by the masks. *First pixel*: from the click to the first pixel of
the map that changes on the screen. *Whole view*: until every tile is that of the new head. *New view*: from the jump
to a place never seen before until every tile of it is drawn, *first tile* until the first is. *Usable*: from the
command until the image is on the screen, less the time of its imports. Memory: the most that the server had
(resident). `$POINTSEG_WEIGHTS` names the folder of the encoder's weights.

Targets, on an idle machine: first pixel 0.3 s (95 %: 1 s), whole view 1.5 s, new view 1 s with filters and 4 s with
MobileNetV2, usable after 2 s, memory below 2 GB; with 50 scenes and 1,000 points at most twice as long.

`python -m benchmarks.label` makes the picture in docs/label.md instead.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import rasterio
from playwright.sync_api import Page, sync_playwright
from rasterio.transform import Affine
from rasterio.windows import Window

from benchmarks.common import number, table
from benchmarks.field import CRS, TRANSFORM, put_together, write_scene
from pointseg.labelling.classes import Classes
from pointseg.types import IGNORE

VIEW = (1600, 1000)
PANEL = 340
SIDE, EACH = 6000, 20  # of each of many scenes: pixels of its side, points
PICTURE = Path(__file__).parent.parent / "docs/label.jpg"

# The time of each change on the screen, by comparing each tile of the map before and after it is drawn.
WATCH = """() => {
    const layer = sceneMap.layer, load = layer.load.bind(layer);
    window.seen = [];
    layer.load = async (tile) => {
        const context = tile.getContext("2d"), read = () => context.getImageData(0, 0, 256, 256).data;
        const before = read();
        await load(tile);
        const now = performance.now(), after = read();
        if (before.some((value, i) => value !== after[i])) window.seen.push(now);
    };
}"""


@dataclass(frozen=True)
class Size:
    clicks: int
    views: int
    side: int  # pixels of the large scene
    scenes: int = 50  # of the last rows


SIZES = {"tiny": Size(2, 1, 6000, 3), "quick": Size(10, 3, 30_000), "full": Size(30, 8, 30_000)}


def run(size: Size, folder: Path) -> str:
    with tempfile.TemporaryDirectory() as place:
        dataset, image, mask = put_together()
        small, large = Path(place) / "tile7.tif", Path(place) / "large.tif"
        write_scene(small, image)
        write_large(large, image, size.side)
        write_many(Path(place) / "many", image, size.scenes)
        encoders = {"filters": "model.encoder=null", "MobileNetV2": f"model.weights={weights()}"}
        names = {small: "Tile 7", large: f"{size.side:,}²", Path(place) / "many": f"{size.scenes} scenes"}
        rows = []
        for images, name in names.items():
            for encoder, option in encoders.items():
                points = Path(place) / f"{time.time_ns()}.gpkg"
                if images.is_dir():
                    write_points(points, mask, dataset.classes, size.scenes)
                rows.append([name, encoder, *measured(images, points, option, mask, dataset.classes, size)])
    head = ["scene", "features", "usable s", "first pixel s (95 %)", "whole view s", "first tile s", "new view s"]
    return table([*head, "memory MB"], rows)


def weights() -> Path:
    return Path(os.environ["POINTSEG_WEIGHTS"]) / "mobilenet_v2-imagenet.pth"


def write_large(file: Path, image: np.ndarray, side: int) -> None:
    """The image again and again."""
    profile = {"driver": "GTiff", "dtype": "uint8", "tiled": True, "compress": "JPEG", "photometric": "YCBCR"}
    shape = {"height": side, "width": side, "count": 3, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(file, "w", **profile, **shape, crs=CRS, transform=TRANSFORM) as f:
        for row in range(0, side, 512):
            height = min(512, side - row)
            rows = (np.arange(row, row + height)) % image.shape[0]
            line = np.moveaxis(image[rows][:, np.arange(side) % image.shape[1]], -1, 0)
            f.write(line, window=Window(0, row, side, height))
    with rasterio.open(file, "r+") as f:
        f.build_overviews([2**i for i in range(1, 7)], rasterio.enums.Resampling.nearest)


def write_many(folder: Path, image: np.ndarray, count: int) -> None:
    """Scenes side by side, each the image again and again."""
    folder.mkdir()
    first = folder / "00.tif"
    write_large(first, image, SIDE)
    for index in range(1, count):
        file = folder / f"{index:02}.tif"
        shutil.copyfile(first, file)
        with rasterio.open(file, "r+") as f:
            f.transform = placed(index)


def placed(index: int) -> Affine:
    return TRANSFORM @ Affine.translation(index * SIDE, 0)


def write_points(file: Path, mask: np.ndarray, classes: Sequence[str], scenes: int) -> None:
    """Random pixels of a view of each scene, of the classes that the masks say."""
    rng = np.random.default_rng(2)
    rows, cols = (rng.integers(start, start + size, (scenes, 100)) for start, size in ((1000, 1000), (1500, 1600)))
    labels = mask[rows % mask.shape[0], cols % mask.shape[1]]
    frames = []
    for index in range(scenes):
        chosen = np.flatnonzero(labels[index] != IGNORE)[:EACH]
        x, y = placed(index) @ Affine.translation(0.5, 0.5) @ (cols[index, chosen], rows[index, chosen])
        names = [classes[label] for label in labels[index, chosen]]
        frames.append(geopandas.GeoDataFrame({"class": names}, geometry=geopandas.points_from_xy(x, y), crs=CRS))
    pd.concat(frames).to_file(file)
    known = Classes(file)
    for name in classes:  # in the order of the number keys
        known.add(name)


def measured(
    images: Path, points: Path, option: str, mask: np.ndarray, classes: tuple[str, ...], size: Size
) -> list[str]:
    rng = np.random.default_rng(0)
    with served(images, points, option) as (process, started, port), opened(port) as page:
        usable = time.monotonic() - started - imports()
        begin(page, classes)
        show(page, 1000, 1500)
        for _ in range(20):
            click(page, mask, rng, (1000, 1500))
        wait(lambda: page.evaluate("window.lastMapTile"), 900)
        settled(page)
        page.evaluate(WATCH)
        first, whole = zip(*(timed_click(page, mask, rng, (1000, 1500)) for _ in range(size.clicks)), strict=True)
        views = [timed_view(page, 700 + 1300 * i, 3500 - 400 * (i % 3)) for i in range(1, size.views + 1)]
        memory = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    assert memory is not None
    first = [value for value in first if value is not None]
    tiles, all_tiles = zip(*views, strict=True)
    return [
        number(max(usable, 0.0)),
        f"{number(median(first))} ({number(float(np.percentile(first, 95)))})",
        number(median(whole)),
        number(median(tiles)),
        number(median(all_tiles)),
        f"{int(memory[1]) / 1024:,.0f}",
    ]


def picture() -> None:
    """The page at work on Tile 7."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as place:
        dataset, image, mask = put_together()
        scene = Path(place) / "tile7.tif"
        write_scene(scene, image)
        with (
            served(scene, scene.with_name("field.gpkg"), f"model.weights={weights()}") as (_, _, port),
            opened(port) as page,
        ):
            page.set_viewport_size({"width": 1300, "height": 840})
            begin(page, dataset.classes)
            for corner in ((1000, 1500), (1900, 1200), (2600, 2600)):
                show(page, *corner)
                for _ in range(20):
                    click(page, mask, rng, corner, (960, 840))
            show(page, 1000, 1500)
            settled(page, 20)
            page.screenshot(path=PICTURE, type="jpeg", quality=72)


def begin(page: Page, classes: Sequence[str]) -> None:
    for name in classes:
        if name in page.evaluate("Object.keys(sceneMap.classes)"):
            continue
        page.fill(".new-class input", name)
        page.press(".new-class input", "Enter")
        wait(lambda name=name: name in page.evaluate("Object.keys(sceneMap.classes)"))
    page.evaluate("document.activeElement.blur()")


@contextmanager
def served(images: Path, points: Path, option: str) -> Iterator[tuple["subprocess.Popen[str]", float, int]]:
    started = time.monotonic()
    log = points.with_suffix(".log")
    command = [sys.executable, "-m", "pointseg.label", f"images={images}", f"points={points}", option]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "port=0", "show=false"], stdout=stream, stderr=subprocess.STDOUT, text=True
        )
    try:
        found = wait(lambda: re.search(r"http://127\.0\.0\.1:(\d+)/", log.read_text()), 120)
        yield process, started, int(found[1])
    finally:
        process.terminate()
        process.wait()


@contextmanager
def opened(port: int) -> Iterator[Page]:
    browser = shutil.which("chromium")
    assert browser, "the row needs Chromium: apt-get install chromium"
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(viewport={"width": VIEW[0] + PANEL, "height": VIEW[1]})
        for attempt in range(50):
            try:
                page.goto(f"http://127.0.0.1:{port}/")
                break
            except Exception:
                time.sleep(0.1)
                assert attempt < 49
        page.wait_for_function("window.sceneMap?.image && !window.sceneMap.image.isLoading()")
        yield page
        started.close()


def imports() -> float:
    start = time.monotonic()
    command = "import pointseg.labelling.command, pointseg.labelling.server"
    subprocess.run([sys.executable, "-c", command], check=True)
    return time.monotonic() - start


def show(page: Page, row: int, col: int) -> None:
    """The view whose top-left pixel this is, at full zoom."""
    move = """([row, col]) => {
        const size = sceneMap.map.getSize();
        sceneMap.map.setView([-row - Math.floor(size.y / 2), col + Math.floor(size.x / 2)], 0, {animate: false});
    }"""
    page.evaluate(move, [row, col])


def click(
    page: Page,
    mask: np.ndarray,
    rng: np.random.Generator,
    corner: tuple[int, int],
    view: tuple[int, int] = VIEW,
) -> None:
    """A random pixel of the view that the mask names."""
    while True:
        row, col = int(rng.integers(40, view[1] - 40)), int(rng.integers(80, view[0] - 40))
        label = int(mask[(corner[0] + row) % mask.shape[0], (corner[1] + col) % mask.shape[1]])
        near = page.evaluate("([x, y]) => document.elementFromPoint(x, y)?.classList.contains('point')", [col, row])
        if label != IGNORE and not near:
            break
    before = page.evaluate("sceneMap.markers.size")
    page.keyboard.press(str(label + 1))
    page.wait_for_timeout(150)
    page.mouse.click(col, row)
    wait(lambda: page.evaluate("sceneMap.markers.size") == before + 1)


def timed_click(
    page: Page, mask: np.ndarray, rng: np.random.Generator, corner: tuple[int, int]
) -> tuple[float | None, float]:
    """Seconds from a click to the first change, None where nothing changes, and to the last tile."""
    settled(page)
    page.evaluate("window.seen = []")
    click(page, mask, rng, corner)
    wait(lambda: page.evaluate("window.lastFit > window.lastClick && window.lastMapTile > window.lastFit"), 60)
    wait(lambda: quiet(page), 60)
    clicked, last, seen = page.evaluate("[window.lastClick, window.lastMapTile, window.seen]")
    return (min(seen) - clicked) / 1000 if seen else None, (last - clicked) / 1000


def timed_view(page: Page, row: int, col: int) -> tuple[float, float]:
    settled(page)
    start = page.evaluate("(window.seen = [], performance.now())")
    show(page, row, col)
    wait(lambda: page.evaluate("window.seen.length > 0"), 120)
    wait(lambda: quiet(page), 120)
    first, last = page.evaluate("[window.seen[0], window.lastMapTile]")
    return (first - start) / 1000, (last - start) / 1000


def quiet(page: Page) -> bool:
    return bool(page.evaluate("sceneMap.layer.active === 0 && sceneMap.layer.waiting.size === 0"))


def settled(page: Page, seconds: float = 3.0) -> None:
    """Until nothing has been drawn for a while: what followed the last click is done."""
    wait(lambda: quiet(page) and page.evaluate(f"performance.now() - window.lastMapTile > {1000 * seconds}"), 300)


def wait(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page does not go on"
        time.sleep(0.01)
    return found


if __name__ == "__main__":
    picture()
