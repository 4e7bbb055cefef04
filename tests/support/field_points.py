"""What tests share with those of field points."""

from pathlib import Path
from typing import Any

from pointseg.annotation.given import Given
from pointseg.imagery.rasters import Raster

READ = {"column": "class", "layer": None, "crs": None, "outside": "skip", "nodata": "skip", "contradicting": "refuse"}


def reader(**options: Any) -> Given:
    return Given(**{**READ, **options})


def placed(file: Path, rasters: list[Raster], **options: Any) -> set[tuple[int, int, int, str]]:
    table = reader(**options).read([file], rasters)
    return set(table[["scene", "row", "col", "name"]].itertuples(index=False, name=None))
