"""Annotations in COCO's format, which most tools export: JSON of polygons and boxes in pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from pointseg.annotation.readers.labels import Labels, in_pixels
from pointseg.errors import InputError, reading

PARTS = {"images", "annotations", "categories"}


def is_export(content: object) -> bool:
    return isinstance(content, dict) and content.keys() >= PARTS


def read(file: Path, content: Mapping[str, Any]) -> Labels:
    """Outlines, or boxes where there are none. Raises InputError for masks in run lengths (crowds)."""
    with reading(file, "annotations of COCO", "export them anew."):
        images = {image["id"]: image for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        lines = [
            {"geometry": _shape(file, found), "raw": names[found["category_id"]], **_facts(images[found["image_id"]])}
            for found in content["annotations"]
        ]
    if not lines:
        raise InputError(f"{file}: holds no annotations; export the labelled images.")
    return in_pixels(file, pd.DataFrame(lines))


def _facts(image: Mapping[str, Any]) -> dict[str, Any]:
    return {"scene": image["file_name"], "width": image["width"], "height": image["height"]}


def _shape(file: Path, found: Mapping[str, Any]) -> BaseGeometry:
    outlines = found.get("segmentation") or []
    if isinstance(outlines, Mapping):
        raise InputError(f"{file}: annotation {found['id']} is a mask in run lengths; export polygons.")
    if outlines:
        rings = [list(zip(ring[::2], ring[1::2], strict=True)) for ring in outlines]
        return shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in rings])
    x, y, width, height = found["bbox"]
    return shapely.box(x, y, x + width, y + height)
