"""Labels and scenes in words, for messages about those that cannot be used."""

from collections.abc import Sequence

import pandas as pd

from pointseg.annotation.places import extent
from pointseg.imagery.rasters import Raster

SHOWN = 5  # labels that a message lists


def pixels(table: pd.DataFrame, scenes: Sequence[Raster]) -> str:
    """Labelled pixels (name, scene, row, col)."""
    shown = table[["name", "scene", "row", "col"]].head(SHOWN).itertuples(index=False)
    return _listed([f"{name!r} at row {row}, col {col} of {scenes[i].id}" for name, i, row, col in shown], len(table))


def labels(table: pd.DataFrame) -> str:
    """Labels (name, geometry, scene, pixels: whether they are in an image's pixels) as their file has them."""
    shown = []
    for label in table.head(SHOWN).itertuples(index=False):
        x, y = label.geometry.centroid.coords[0][:2]
        place = f"row {y // 1:.10g}, col {x // 1:.10g}" if label.pixels else f"x {x:.10g}, y {y:.10g}"
        shown.append(f"{label.name!r} at {place}" + ("" if pd.isna(label.scene) else f" of {label.scene!r}"))
    return _listed(shown, len(table))


def elsewhere(outside: pd.DataFrame, exchanged: int, scenes: Sequence[Raster]) -> str:
    """Why labels may lie in no scene. exchanged: of them, see `places.exchanged`."""
    if exchanged > len(outside) / 2:  # of pixels, some may by chance
        return (
            f"{exchanged} of these {len(outside)} would lie in one if x and y, longitude and latitude, or row and "
            f"column were exchanged: exchange them in the file. For comparison: {extents(scenes)}"
        )
    return extents(scenes)


def _listed(shown: Sequence[str], total: int) -> str:
    return ", ".join(shown) + (", …" if total > len(shown) else "")


def extents(scenes: Sequence[Raster]) -> str:
    """The ground of the first scene, to hold labels against that lie elsewhere."""
    (height, width), name = scenes[0].shape, scenes[0].id
    first = f"The scene {name}" if len(scenes) == 1 else f"The first of the {len(scenes)} scenes, {name},"
    words = f"{first} has {height} rows and {width} columns"
    if scenes[0].crs is None:
        return words
    left, bottom, right, top = extent(scenes[0])
    system = scenes[0].crs.partition('"')[2].partition('"')[0]  # the name with which WKT begins
    return f"{words}: x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g} in {system}"
