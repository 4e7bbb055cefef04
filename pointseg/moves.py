"""Where the names in stored configurations have moved to, so that runs of earlier versions go on loading."""

from collections.abc import Mapping
from typing import Any

TARGETS = {
    "pointseg.augment.Augment": "pointseg.imagery.augment.Augment",
    "pointseg.datasets.scenes.scenes": "pointseg.datasets.field.field",
    "pointseg.samplers.file.File": "pointseg.annotation.given.File",
    "pointseg.samplers.margin.Margin": "pointseg.suggestions.margin.Margin",
    "pointseg.tiles.AroundPoints": "pointseg.imagery.crops.AroundPoints",
    "pointseg.tiles.Grid": "pointseg.imagery.crops.Grid",
}
"""`_target_` of version 0.1.0 → today's."""

KEYS = {"tile_size": "crop_size", "tiles": "crops", "tiles.tiles": "crops.number"}
"""Dotted key of version 0.1.0 → today's; a moved group has its new name already where a key below it is looked up."""


def migrated(content: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration, resolved or not, in today's names; one of today's is returned as it is."""
    return {KEYS.get(key, key): _moved(value, key) for key, value in content.items()}


def _moved(value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    keys = {key: KEYS.get(f"{place}.{key}", f".{key}").rpartition(".")[2] for key in value}
    moved = {keys[key]: _moved(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(target := moved.get("_target_"), str):
        moved["_target_"] = TARGETS.get(target, target)
    return moved
