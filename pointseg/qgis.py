"""What QGIS needs to show a file as it is meant: styles (QML) beside rasters and inside GeoPackages, category names.

QGIS loads <name>.qml beside a raster by itself, and of a GeoPackage the style in its table `layer_styles` that is
marked as the default. Other programs read the category names that GDAL keeps beside a raster.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as Xml
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from jaxtyping import UInt8

from pointseg.files import writing
from pointseg.plots import Palette

Colour = UInt8[np.ndarray, "3"]
# The list of classes is closed, as a Value Map of QGIS is: its last entry, no class, says where to add one. A list that
# lets one type (Unique Values) would offer no class before it has been typed once.
ADD = "another class: add it in Layer Properties, Attributes Form, {}"
RAMP = ("#000004", "#51127c", "#b73779", "#fc8961", "#fcfdbf")  # magma, dark: unsure, as in the previews
LAYER_STYLES = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN,
    description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')));
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles');
"""  # noqa: E501


def write_class_style(file: Path, classes: Sequence[str], palette: Palette) -> None:
    """Beside the class map `file`: its names and colours for QGIS, its names for GDAL."""
    root, renderer = _raster("paletted")
    entries = SubElement(renderer, "colorPalette")
    for value, (name, colour) in enumerate(zip(classes, palette, strict=True)):
        SubElement(entries, "paletteEntry", value=str(value), label=name, color=_hex(colour), alpha="255")
    _write(file.with_suffix(".qml"), root)
    names = Element("PAMDataset")
    listed = SubElement(SubElement(names, "PAMRasterBand", band="1"), "CategoryNames")
    for name in classes:
        SubElement(listed, "Category").text = name
    _write(file.with_name(f"{file.name}.aux.xml"), names)


def write_confidence_style(file: Path, highest: int) -> None:
    """Beside the confidence `file`: a ramp from 0 to the highest value, which means 1."""
    root, renderer = _raster("singlebandpseudocolor", classificationMin="0", classificationMax=str(highest))
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED", clip="0")
    for sure, colour in zip(np.linspace(0, 1, len(RAMP)), RAMP, strict=True):
        SubElement(shader, "item", value=f"{sure * highest:g}", label=f"{sure:.2f}", color=colour, alpha="255")
    _write(file.with_suffix(".qml"), root)


def areas(classes: Sequence[str], palette: Palette, column: str) -> str:
    """The style of polygons: filled with the colour of their class."""
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    colours = dict(zip(classes, palette, strict=True))
    symbols = {name: ("fill", "SimpleFill", _fill(colour)) for name, colour in colours.items()}
    root.append(_categories(column, symbols, {name: name for name in classes}))
    return Xml.tostring(root, "unicode")


def points_to_label(
    classes: Sequence[str], palette: Palette | None, column: str, hidden: Sequence[str] = (), order: str | None = None
) -> str:
    """The style of points whose class is to be filled in: a list to choose from, white where none of it is chosen yet.

    palette: None: the chosen ones are grey. hidden: columns that the form and the table leave out. order: the column
    by which the table is sorted.
    """
    root = Element("qgis", version="3.22", styleCategories="Symbology|Fields|Forms|AttributeTable")
    colours = np.full((len(classes), 3), 128, np.uint8) if palette is None else palette
    symbols = {name: _marker(_rgba(colour)) for name, colour in zip(classes, colours, strict=True)}
    labels = {name: name for name in classes}
    root.append(
        _categories(
            column, symbols | {"": _marker("255,255,255,255")}, labels | {"": "to be labelled, or of a new class"}
        )
    )
    fields = SubElement(root, "fieldConfiguration")
    choices = SubElement(_widget(fields, column, "ValueMap"), "Option", type="List", name="map")
    for name, value in (*labels.items(), (ADD.format(column), "")):
        SubElement(SubElement(choices, "Option", type="Map"), "Option", type="QString", name=name, value=value)
    for name in hidden:
        _widget(fields, name, "Hidden")
    table = SubElement(root, "attributetableconfig", sortOrder="0", sortExpression=f'"{order}"' if order else "")
    columns = SubElement(table, "columns")
    for name in (column, *([order] if order else []), *hidden):
        SubElement(columns, "column", type="field", name=name, hidden=str(int(name in hidden)), width="-1")
    return Xml.tostring(root, "unicode")


def save_style(file: Path, layer: str, style: str) -> None:
    """Make `style` that of the layer of a GeoPackage, for whoever opens it."""
    with closing(sqlite3.connect(file)) as database, database:
        database.executescript(LAYER_STYLES)
        found = database.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,))
        (geometry,) = found.fetchone()
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, "
            "styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, 'pointseg', ?, '', 1, '', '')",
            (layer, geometry, style),
        )


def _raster(kind: str, **attributes: str) -> tuple[Element, Element]:
    root = Element("qgis", version="3.22", styleCategories="Symbology")
    common = {"type": kind, "band": "1", "alphaBand": "-1", "opacity": "1", "nodataColor": ""}
    return root, SubElement(SubElement(root, "pipe"), "rasterrenderer", common | attributes)


def _categories(column: str, symbols: Mapping[str, tuple[str, str, dict[str, str]]], labels: dict[str, str]) -> Element:
    """symbols: value → kind of symbol, class of its only layer, and this one's properties."""
    renderer = Element("renderer-v2", type="categorizedSymbol", attr=column)
    categories, shapes = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, (value, (kind, layer, properties)) in enumerate(symbols.items()):
        SubElement(categories, "category", symbol=str(number), value=value, label=labels[value], render="true")
        symbol = SubElement(shapes, "symbol", {"type": kind, "name": str(number), "alpha": "1"})
        drawn = SubElement(symbol, "layer", {"class": layer, "enabled": "1"})
        options = SubElement(drawn, "Option", type="Map")
        for name, text in properties.items():
            SubElement(options, "Option", type="QString", name=name, value=text)
    return renderer


def _marker(colour: str) -> tuple[str, str, dict[str, str]]:
    properties = {"name": "circle", "color": colour, "size": "2.6", "outline_color": "0,0,0,255"}
    return "marker", "SimpleMarker", properties


def _fill(colour: Colour) -> dict[str, str]:
    return {"color": _rgba(colour), "outline_color": "60,60,60,255", "outline_width": "0.1", "style": "solid"}


def _widget(fields: Element, column: str, kind: str) -> Element:
    """The editor of a column; returns its options."""
    config = SubElement(SubElement(SubElement(fields, "field", name=column), "editWidget", type=kind), "config")
    return SubElement(config, "Option", type="Map")


def _hex(colour: Colour) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def _rgba(colour: Colour) -> str:
    return ",".join(str(int(part)) for part in (*colour, 255))


def _write(file: Path, root: Element) -> None:
    Xml.indent(root)
    with writing(file) as partial:
        partial.write_text(Xml.tostring(root, "unicode") + "\n", encoding="utf-8")
