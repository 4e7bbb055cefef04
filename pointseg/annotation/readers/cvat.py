"""Exports of CVAT: XML, "CVAT for images 1.1"."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from pointseg.annotation.readers.labels import Labels, in_pixels
from pointseg.errors import InputError, reading

IGNORED = {"tag"}  # of a whole image: no place


def read(file: Path, content: bytes) -> Labels:
    """Points, polygons, lines and boxes. Raises InputError for other shapes, and for an export of a video."""
    with reading(file, "an export of CVAT", "export it anew as 'CVAT for images 1.1'."):
        root = ElementTree.fromstring(content)
    if root.tag != "annotations" or root.find("track") is not None:
        raise InputError(f"{file}: is no export of CVAT of the kind 'CVAT for images 1.1'; choose that one.")
    with reading(file, "an export of CVAT", "export it anew as 'CVAT for images 1.1'."):
        lines = [line for image in root.iter("image") for line in _lines(file, image)]
    if not lines:
        raise InputError(f"{file}: holds no points, polygons, lines or boxes; export the labelled images.")
    return in_pixels(file, pd.DataFrame(lines))


def _lines(file: Path, image: ElementTree.Element) -> Iterator[dict[str, Any]]:
    facts = {"scene": image.get("name"), "width": float(image.get("width", "nan"))}
    facts["height"] = float(image.get("height", "nan"))
    for element in image:
        if element.tag not in IGNORED:
            for shape in _shapes(file, element):
                yield {"geometry": shape, "raw": element.get("label"), **facts}


def _shapes(file: Path, element: ElementTree.Element) -> list[BaseGeometry]:
    if element.tag == "box":
        left, top, right, bottom = (float(element.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
        area = shapely.box(left, top, right, bottom)
        return [shapely.affinity.rotate(area, float(element.get("rotation", 0)), origin="center")]
    if element.tag not in ("points", "polygon", "polyline"):
        raise InputError(f"{file}: holds a {element.tag}; points, polygons, polylines and boxes are read.")
    corners = [tuple(map(float, pair.split(","))) for pair in element.attrib["points"].split(";")]
    if element.tag == "points":
        return [shapely.Point(corner) for corner in corners]
    return [shapely.Polygon(corners) if element.tag == "polygon" else shapely.LineString(corners)]
