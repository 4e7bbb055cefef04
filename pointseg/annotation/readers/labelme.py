"""Files of labelme: JSON, one an image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from pointseg.annotation.readers.labels import Labels, in_pixels
from pointseg.errors import InputError, reading


def is_export(content: object) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def read(file: Path, content: Mapping[str, Any]) -> Labels:
    """Points, polygons, rectangles, circles and lines. Raises InputError for shapes of other kinds."""
    with reading(file, "a file of labelme", "save it anew."):
        shapes = content["shapes"]
        lines = {"geometry": [_shape(file, shape) for shape in shapes], "raw": [shape["label"] for shape in shapes]}
        image = {"scene": content["imagePath"]}
        size = {side: content.get(f"image{side.title()}") for side in ("width", "height")}
        return in_pixels(file, pd.DataFrame(lines).assign(**image, **size))


def _shape(file: Path, shape: Mapping[str, Any]) -> BaseGeometry:
    points, kind = shape["points"], shape.get("shape_type", "polygon")
    match kind:
        case "point":
            return shapely.Point(points[0])
        case "points":
            return shapely.MultiPoint(points)
        case "polygon":
            return shapely.Polygon(points)
        case "rectangle":
            return shapely.MultiPoint(points).envelope
        case "line" | "linestrip":
            return shapely.LineString(points)
        case "circle":
            centre, edge = map(shapely.Point, points)
            return centre.buffer(centre.distance(edge))
    raise InputError(f"{file}: holds a shape of the kind {kind!r}; points, polygons, rectangles and lines are read.")
