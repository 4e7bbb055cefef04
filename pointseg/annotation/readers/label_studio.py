"""Exports of Label Studio: JSON (or JSON-MIN) of key points, polygons and rectangles, which are in percent."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from pointseg.annotation.readers.labels import Labels, in_pixels
from pointseg.errors import InputError, reading

KINDS = ("keypointlabels", "polygonlabels", "rectanglelabels")


def is_export(content: object) -> bool:
    return isinstance(content, list) and all(isinstance(task, dict) for task in content)


def read(file: Path, tasks: list[dict[str, Any]]) -> Labels:
    """The regions of all annotations that were not cancelled. Raises InputError for regions of other kinds."""
    with reading(file, "an export of Label Studio", "export it anew as JSON."):
        lines = [
            {"geometry": _shape(region), "raw": _label(file, region), "scene": _image(task)}
            | {"width": region["original_width"], "height": region["original_height"]}
            for task in tasks
            for region in _regions(file, task)
        ]
    if not lines:
        raise InputError(f"{file}: holds no labelled points, polygons or rectangles; export it as JSON.")
    return in_pixels(file, pd.DataFrame(lines))


def _image(task: Mapping[str, Any]) -> str:
    """What the task says of its image: a path, an address, or a local file as /data/local-files/?d=site/a.png."""
    data = task.get("data", task)
    values = [value for value in data.values() if isinstance(value, str)]
    image = data.get("image") or task.get("file_upload") or values[0]
    return unquote(str(image).rpartition("?d=")[2])


def _regions(file: Path, task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Those with labels; in JSON-MIN they lie under the names of the controls, and without a `value`."""
    if "annotations" in task:
        found = [
            {**region, **region["value"]}
            for annotation in task["annotations"]
            if not annotation.get("was_cancelled")
            for region in annotation["result"]
            if "original_width" in region
        ]
    else:
        lists = [value for value in task.values() if isinstance(value, list)]
        found = [region for regions in lists for region in regions if isinstance(region, dict)]
    for region in found:
        if region.get("image_rotation"):
            raise InputError(f"{file}: labels of {_image(task)} were made on the turned image; turn the file itself.")
        if any(kind in region for kind in KINDS):
            yield region
        elif kind := next((key for key in region if key.endswith("labels")), None):
            raise InputError(f"{file}: holds {kind} of {_image(task)}; {', '.join(KINDS)} are read: leave others out.")


def _label(file: Path, region: Mapping[str, Any]) -> str | None:
    labels: list[str] = next(region[kind] for kind in KINDS if kind in region)
    if len(labels) > 1:
        raise InputError(f"{file}: a region has the labels {', '.join(labels)}; each needs one.")
    return labels[0] if labels else None


def _shape(region: Mapping[str, Any]) -> BaseGeometry:
    across, down = region["original_width"] / 100, region["original_height"] / 100
    if "polygonlabels" in region:
        return shapely.Polygon([(x * across, y * down) for x, y in region["points"]])
    x, y = region["x"] * across, region["y"] * down
    if "keypointlabels" in region:
        return shapely.Point(x, y)
    area = shapely.box(x, y, x + region["width"] * across, y + region["height"] * down)
    return shapely.affinity.rotate(area, region.get("rotation", 0), origin=(x, y))
