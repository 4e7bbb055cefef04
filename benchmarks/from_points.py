"""Seconds and memory from points to the map of a whole scene, each way as the processes that a user starts.

The scene is Tile 7 of the aerial dataset, its nine images put together (33.7 megapixels), with 40 points of each class.
Forests are given what `benchmarks.pixels` computes, block by block, and write their map by rasterio;
`python -m benchmarks.from_points <contender> <scene> <points> <map>` is such a process.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from rasterio.windows import Window
from sklearn.ensemble import RandomForestClassifier
from tqdm import tqdm

from benchmarks.field import draw, put_together, write_scene
from benchmarks.pixels import of_filters, of_objects

SIDE, MARGIN = 1024, 64  # of the blocks in which forests look at a scene
FORESTS = ("random forest, pixel values", "random forest, scikit-image's features", "random forest, SLIC objects")


def measured(points: int = 40) -> Iterator[dict[str, Any]]:
    """contender, seconds, processor (seconds of all its threads) and megabytes (the largest process)."""
    encoder = f"model.weights={os.environ['POINTSEG_WEIGHTS']}/mobilenet_v2-imagenet.pth"
    trained = {
        "filters, linear head": ["experiment=field", "model.encoder=null", "model.head=linear"],
        "filters, `head=auto`": ["experiment=field", "model.encoder=null"],
        "both, linear head": ["experiment=field", encoder, "model.head=linear"],
        "both, `head=auto`": ["experiment=field", encoder],
        "trained": ["experiment=trained_field", encoder],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene, clicks = folder / "scene.tif", folder / "points.gpkg"
        dataset, image, mask = put_together()
        write_scene(scene, image)
        draw(mask, dataset.classes, points, 0).to_file(clicks)
        for contender in tqdm((*FORESTS, *trained), desc="from points to map", disable=None):
            if contender in FORESTS:
                commands = [["benchmarks.from_points", contender, str(scene), str(clicks), str(folder / "map.tif")]]
            else:
                given = [f"dataset.images={scene}", f"points={clicks}", "annotation.column=class"]
                run = folder / f"run{len(list(folder.iterdir()))}"
                commands = [["pointseg.train", *trained[contender], *given, f"hydra.run.dir={run}"]]
                commands += [["pointseg.predict", f"run={run}", f"input={scene}", f"output={run}/map.tif"]]
            yield {"contender": contender, **_total([_timed(command) for command in commands])}


def _timed(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds of the wall's clock, of the processor, and megabytes of a module run as a process."""
    start = time.perf_counter()
    with open(os.devnull, "w") as silence:
        process = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", *command],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, silence.fileno(), 1), (os.POSIX_SPAWN_DUP2, silence.fileno(), 2)],
        )
        _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)}: failed")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _total(parts: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    seconds, processor, megabytes = zip(*parts, strict=True)
    return {"seconds": sum(seconds), "processor": sum(processor), "megabytes": max(megabytes)}


def forest(contender: str, scene: Path, points: Path, output: Path) -> None:
    """Fit a random forest to the points, and write its map of the scene."""
    with rasterio.open(scene) as source:
        image, profile = np.moveaxis(source.read(), 0, -1), source.profile
    table = geopandas.read_file(points).to_crs(profile["crs"])
    inverse = ~profile["transform"]
    cols, rows = (np.floor(axis).astype(int) for axis in inverse * (table.geometry.x.values, table.geometry.y.values))
    whole = of_objects(image) if contender == FORESTS[2] else None
    model = RandomForestClassifier(200, random_state=0, n_jobs=-1)
    found: list[np.ndarray] = [np.empty(0)] * len(table)
    for top, left, values in _blocks(contender, image, whole):
        inside = (rows >= top) & (rows < top + values.shape[0]) & (cols >= left) & (cols < left + values.shape[1])
        for i in np.flatnonzero(inside):
            found[i] = values[rows[i] - top, cols[i] - left]
    codes = table["class"].factorize()[0]
    model.fit(np.stack(found), codes)
    profile.update(count=1, dtype="uint8", compress="deflate", photometric=None)
    with rasterio.open(output, "w", **profile) as target:
        for top, left, values in _blocks(contender, image, whole):
            answer = model.predict(values.reshape(-1, values.shape[2])).reshape(values.shape[:2])
            target.write(answer.astype(np.uint8), 1, window=Window(left, top, *answer.shape[::-1]))


def _blocks(contender: str, image: np.ndarray, whole: np.ndarray | None) -> Iterator[tuple[int, int, np.ndarray]]:
    """First row, first column and the values (h, w, f) of each block."""
    height, width = image.shape[:2]
    for top in range(0, height, SIDE):
        for left in range(0, width, SIDE):
            own = (slice(top, min(top + SIDE, height)), slice(left, min(left + SIDE, width)))
            if contender == FORESTS[0]:
                yield top, left, image[own]
            elif whole is not None:
                yield top, left, whole[own]
            else:
                above, before = max(top - MARGIN, 0), max(left - MARGIN, 0)
                around = of_filters(image[above : own[0].stop + MARGIN, before : own[1].stop + MARGIN])
                yield top, left, around[top - above :, left - before :][: own[0].stop - top, : own[1].stop - left]


if __name__ == "__main__":
    forest(sys.argv[1], *map(Path, sys.argv[2:]))
