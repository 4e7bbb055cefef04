"""What every reader of labels gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas
import numpy as np
import pandas as pd

from pointseg.annotation import names


@dataclass(frozen=True)
class Columns:
    """Where a file says what: the names of columns, and what holds where it does not say it (see `given.Given`)."""

    column: str | None
    layer: str | Sequence[str] | None = None
    crs: str | None = None
    scene: str | None = None


@dataclass(frozen=True)
class Labels:
    """The labels of a file, one a line.

    frame: geometry; raw, name (of the class, as it stands there and `names.clean`; missing: not labelled yet) and scene
        (what the file says of the image that it lies in; missing: nothing). With `pixels` also width and height, the
        size in pixels of the image that was labelled (NaN: unknown).
    pixels: x counts columns and y rows, from the top left corner of the image. Else they are map coordinates in the
        frame's CRS, or, without one, in that of images that have none either.
    """

    file: Path
    frame: geopandas.GeoDataFrame
    pixels: bool


def in_pixels(file: Path, table: pd.DataFrame) -> Labels:
    """Of a table with the columns geometry, raw, scene and perhaps width and height."""
    sized = {side: table.get(side, np.nan) for side in ("width", "height")}
    frame = geopandas.GeoDataFrame(
        {"raw": table["raw"], "name": names.texts(table["raw"]), "scene": names.texts(table["scene"]), **sized},
        geometry=table["geometry"].to_numpy(),
        index=table.index,
    )
    return Labels(file, frame, pixels=True)


def on_map(file: Path, frame: geopandas.GeoDataFrame, column: str | None, scene: str | None) -> Labels:
    """Of a frame with geometries and these columns; without `column`, the file's name is the class."""
    raw = frame[column] if column is not None else pd.Series(file.stem, frame.index)
    where = frame[scene] if scene is not None else pd.Series(None, frame.index, dtype="object")
    kept = {"raw": raw, "name": names.texts(raw), "scene": names.texts(where)}
    return Labels(file, geopandas.GeoDataFrame(kept, geometry=frame.geometry, crs=frame.crs), pixels=False)
