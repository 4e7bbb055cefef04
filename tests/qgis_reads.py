"""What PyQGIS reads of a map, its confidence, polygons and points to label. Run by the Python that has QGIS.

python3 tests/qgis_reads.py map.tif map_confidence.tif map.gpkg next.gpkg <class>

The last point gets that class, as somebody would choose it from the list. Prints JSON.
"""

import json
import sys
from typing import Any

from qgis.core import QgsApplication, QgsRasterLayer, QgsVectorLayer


def raster(file: str) -> dict[str, Any]:
    layer = QgsRasterLayer(file, "raster")
    renderer = layer.renderer()
    found = {
        "type": renderer.type(),
        "legend": [(name, colour.name()) for name, colour in renderer.legendSymbologyItems()],
    }
    if renderer.type() == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        found["legend"] = [(item.value, item.color.name()) for item in items]
        statistics = layer.dataProvider().bandStatistics(1)
        found["range"] = [statistics.minimumValue, statistics.maximumValue]
    return found


def polygons(file: str) -> list[tuple[str, str]]:
    layer = QgsVectorLayer(file, "polygons")  # kept: it owns its renderer
    renderer = layer.renderer()
    return [(category.value(), category.symbol().color().name()) for category in renderer.categories()]


def points(file: str, chosen: str) -> dict[str, Any]:
    layer = QgsVectorLayer(file, "points")
    column = layer.fields().indexOf("class")
    widgets = {field.name(): layer.editorWidgetSetup(i).type() for i, field in enumerate(layer.fields())}
    table = layer.attributeTableConfig()
    options = layer.editorWidgetSetup(column).config()["map"]
    with_class = [category.label() for category in layer.renderer().categories()]
    layer.startEditing()
    last = list(layer.getFeatures())[-1]
    layer.changeAttributeValue(last.id(), column, chosen)
    return {
        "widgets": widgets,
        "choices": [name for option in options for name in option.values()],
        "categories": with_class,
        "sorted by": table.sortExpression(),
        "hidden": [one.name for one in table.columns() if one.hidden],
        "saved": layer.commitChanges(),
        "problems": layer.commitErrors(),
    }


application = QgsApplication([], False)
application.initQgis()
class_map, confidence, areas, to_label, name = sys.argv[1:]
print(
    json.dumps(
        {
            "map": raster(class_map),
            "confidence": raster(confidence),
            "polygons": polygons(areas),
            "points": points(to_label, name),
        }
    )
)
application.exitQgis()
