"""Where the names in stored configurations have moved to, so that runs of version 0.1.0 go on loading."""

from collections.abc import Mapping
from typing import Any

TARGETS = {
    "pointseg.augment.Augment": "pointseg.imagery.augment.Augment",
    "pointseg.datasets.scenes.scenes": "pointseg.datasets.field.field",
    "pointseg.samplers.file.File": "pointseg.annotation.given.Given",
    "pointseg.samplers.margin.Margin": "pointseg.suggestions.annotator.Suggested",
    "pointseg.tiles.AroundPoints": "pointseg.imagery.crops.AroundPoints",
    "pointseg.tiles.Grid": "pointseg.imagery.crops.Grid",
}
"""`_target_` of version 0.1.0 → today's."""

KEYS = {"tile_size": "crop_size", "tiles": "crops", "tiles.tiles": "crops.number"}
"""Dotted key of version 0.1.0 → today's."""

ANNOTATORS = ("pointseg.annotation.given.Given", "pointseg.suggestions.annotator.Suggested")
DRAWN = {"_target_": "pointseg.annotation.drawn.Drawn"}
RANDOM = {"_target_": "pointseg.samplers.random.Random"}


DROPPED = ("dataset.misread",)
"""Dotted keys of version 0.1.0 that are gone, where they held nothing."""


def migrated(content: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration in today's names; one that has them already is returned as it is."""
    moved = {KEYS.get(key, key): _moved(value, key) for key, value in content.items()}
    if "sampler" not in moved or "annotation" in moved:
        return moved
    sampler = moved["sampler"]  # 0.1.0 had no group `annotation`: two of its options were among the samplers
    if isinstance(sampler, Mapping) and sampler.get("_target_") in ANNOTATORS:
        return {**moved, "annotation": sampler, "sampler": RANDOM}
    return {"annotation": DRAWN, **moved}


def _moved(value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    names = {key: KEYS.get(f"{place}.{key}", f".{key}").rpartition(".")[2] for key in value}
    kept = {key: item for key, item in value.items() if item is not None or f"{place}.{key}" not in DROPPED}
    moved = {names[key]: _moved(item, f"{place}.{key}") for key, item in kept.items()}
    if isinstance(target := moved.get("_target_"), str):
        moved["_target_"] = TARGETS.get(target, target)
    return moved
