"""The map of a scene as an element of NiceGUI, whose wheel brings Leaflet."""

from pathlib import Path

import nicegui.elements.leaflet as leaflet
from nicegui import ui


class SceneMap(ui.element, component="scene_map.js"):
    """See scene_map.js for its methods and events."""

    def __init__(self) -> None:
        super().__init__()
        self.add_resource(Path(leaflet.__file__).parent / "dist")
