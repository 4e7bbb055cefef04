"""Which image is which scene of a run, and which places of several images are one piece of ground."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from pyproj import Transformer
from rasterio.transform import Affine

from pointseg.errors import counted, reading
from pointseg.files import writing
from pointseg.imagery.rasters import Raster
from pointseg.types import Scene

log = logging.getLogger(__name__)

FILE = "scenes.json"

Place = tuple[int, float, float]  # index of a raster, row, col


@runtime_checkable
class Located(Protocol):
    """A scene of which the image's file is known."""

    @property
    def raster(self) -> Raster: ...


def save(folder: Path, scenes: Iterable[Scene]) -> None:
    """Write scenes.json: for the id of each image its file, shape, CRS (WKT or null) and transform (6 numbers)."""
    rasters = {scene.raster.id: scene.raster for scene in scenes if isinstance(scene, Located)}
    facts = {
        name: {"file": str(raster.file), "shape": raster.shape, "crs": raster.crs, "transform": raster.transform[:6]}
        for name, raster in rasters.items()
    }
    if facts:
        with writing(folder / FILE) as partial:
            partial.write_text(json.dumps(facts, indent=1))


def known(folder: Path) -> dict[str, dict[str, Any]]:
    """What `save` wrote; empty for a run kept before it did."""
    file = folder / FILE
    if not file.exists():
        return {}
    with reading(file, "the scenes of a run", "restore it, or remove it: scenes are then known by their ids."):
        return {
            str(name): {**facts, "file": Path(facts["file"])} for name, facts in json.loads(file.read_text()).items()
        }


def scene_of(folder: Path, raster: Raster) -> str | None:
    """The id that the image has in the run whose points lie in `folder`; None if it is none of its images.

    It is the image of that file, or else of that id, where the run's own has gone from its place. If it has another
    shape than in training, a map must say where the points lie in it (see `placed`).
    """
    scenes = known(folder)
    if not scenes:
        return raster.id
    same = _of_file(scenes, raster.file)
    moved = [name for name, facts in scenes.items() if name == raster.id and not facts["file"].exists()]
    return next((name for name in same + moved if _joined(scenes[name], raster)), None)


def _of_file(scenes: dict[str, dict[str, Any]], file: Path) -> list[str]:
    return [name for name, facts in scenes.items() if facts["file"].resolve() == file.resolve()]


def holds_file(folder: Path, file: Path) -> bool:
    """Whether an image of the run had this file's name."""
    return bool(_of_file(known(folder), file))


def _joined(facts: dict[str, Any], raster: Raster) -> bool:
    return _on_one_map(facts, raster) or tuple(facts["shape"]) == raster.shape


def _on_one_map(facts: dict[str, Any], raster: Raster) -> bool:
    """Whether both have map coordinates, be it in a CRS that has no name."""
    if facts["crs"] is None and raster.crs is None:
        return raster.mapped and Affine(*facts["transform"]) != Affine.identity()
    return facts["crs"] is not None and raster.crs is not None


def regridded(folder: Path, raster: Raster) -> bool:
    """Whether the pixels of the run's scene with the raster's id lay elsewhere than the raster's own."""
    facts = known(folder).get(raster.id)
    if facts is None:
        return False
    same = tuple(facts["shape"]) == raster.shape
    return not same or (_on_one_map(facts, raster) and not raster.transform.almost_equals(Affine(*facts["transform"])))


def placed(table: pd.DataFrame, scene: str, folder: Path, raster: Raster) -> pd.DataFrame:
    """Points (row, col) of a run's scene in the pixels of its image as it is now.

    An image that was delivered again may have another extent or grid: the points keep their place on the map, and
    those that lie outside are left out; both is said.
    """
    facts = known(folder).get(scene)
    if table.empty or facts is None or not _on_one_map(facts, raster):
        return table
    there = np.stack(_moved(table["row"], table["col"], facts["crs"], Affine(*facts["transform"]), raster), 1)
    pixels = np.floor(np.nan_to_num(there, nan=-1, posinf=-1, neginf=-1) + 0.5).astype(int)
    if (pixels == table[["row", "col"]].to_numpy(int)).all():
        return table
    inside = ((pixels >= 0) & (pixels < raster.shape)).all(1)
    log.warning(
        "%s: covers other ground, or has other pixels, than when its points were kept in %s. They are placed by their "
        "map coordinates; %s outside the image and %s left out.",
        *(raster.file, folder, counted(int((~inside).sum()), "point lies", "points lie")),
        "is" if (~inside).sum() == 1 else "are",
    )
    return table.assign(row=pixels[:, 0], col=pixels[:, 1])[inside].drop_duplicates(ignore_index=True)


def on_ground(table: pd.DataFrame, scene: str, folder: Path, raster: Raster) -> pd.DataFrame | None:
    """Points (row, col) of a run's scene as places of the raster, perhaps outside it; None where no map joins them."""
    facts = known(folder).get(scene)
    if facts is None or facts["crs"] is None or raster.crs is None:
        return None
    rows, cols = _moved(table["row"], table["col"], facts["crs"], Affine(*facts["transform"]), raster)
    finite = np.isfinite(rows) & np.isfinite(cols)
    return table.assign(row=rows, col=cols)[finite]


def _moved(rows: Any, cols: Any, crs: str | None, transform: Affine, raster: Raster) -> tuple[np.ndarray, np.ndarray]:
    """Places in the pixels of one image in those of another."""
    x, y = transform @ (np.asarray(cols, float) + 0.5, np.asarray(rows, float) + 0.5)
    if crs and raster.crs and crs != raster.crs:
        x, y = Transformer.from_crs(crs, raster.crs, always_xy=True).transform(x, y)
    cols, rows = ~raster.transform @ (x, y)
    return np.asarray(rows - 0.5), np.asarray(cols - 0.5)


def elsewhere(rasters: Sequence[Raster]) -> Callable[[Place], list[Place]]:
    """A place → where the same ground lies in the other rasters; nowhere for plain pictures."""

    def find(place: Place) -> list[Place]:
        index, row, col = place
        own = rasters[index]
        found = []
        for i, raster in enumerate(rasters):
            if i != index and own.crs is not None and raster.crs is not None:
                there_row, there_col = _moved(row, col, own.crs, own.transform, raster)
                if 0 <= there_row + 0.5 < raster.shape[0] and 0 <= there_col + 0.5 < raster.shape[1]:
                    found.append((i, float(there_row), float(there_col)))
        return found

    return find


def shown_before(placed: pd.DataFrame, rasters: Sequence[Raster]) -> np.ndarray:
    """Which of the pixels (line, scene, row, col) lie on ground that an earlier raster shows of the same label."""
    found = np.zeros(len(placed), bool)
    scenes = placed[["line", "scene"]].drop_duplicates()
    several = scenes[scenes.duplicated("line", keep=False)]
    both = several.merge(several, on="line")[["scene_x", "scene_y"]].drop_duplicates()
    pairs = [(i, j) for i, j in both.itertuples(index=False) if i < j]
    lines, scene = placed["line"].to_numpy(), placed["scene"].to_numpy()
    for i, j in sorted(pairs):
        shared = np.flatnonzero((scene == j) & np.isin(lines, lines[scene == i]))
        own, other = rasters[j], rasters[i]
        if own.crs is None or other.crs is None:
            continue
        rows, cols = _moved(placed["row"].iloc[shared], placed["col"].iloc[shared], own.crs, own.transform, other)
        inside = (rows > -0.5) & (rows < other.shape[0] - 0.5) & (cols > -0.5) & (cols < other.shape[1] - 0.5)
        found[shared[inside]] = True
    return found
