"""The pixels that lines and polygons label: those that training would draw from them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from pointseg.annotation import places, shapes
from pointseg.annotation.places import Found
from pointseg.imagery.rasters import Raster
from pointseg.labelling.records import Outline, Pixel


class Sampled:
    """Shapes, by their numbers, and the candidates among whose pixels those that label are chosen.

    per_shape: pixels of each.
    """

    def __init__(self, scenes: Sequence[Raster], per_shape: int) -> None:
        self.scenes, self.per_shape = scenes, per_shape
        self.outlines: dict[int, list[Outline]] = {}
        self._candidates: dict[int, pd.DataFrame] = {}

    def know(self, number: int, outlines: list[Outline]) -> None:
        found = [Found(outline.scene, np.array([number]), np.array([outline.geometry])) for outline in outlines]
        parts = [pd.DataFrame(places.of_shapes(one, self.scenes[one.scene], self.per_shape)) for one in found]
        table = pd.concat(parts, ignore_index=True).astype({"shape": bool}) if parts else pd.DataFrame()
        if len(table):
            table = table[places.in_scene(table, self.scenes)].reset_index(drop=True)
            table["valid"] = places.valid(table, self.scenes)
        self.outlines[number], self._candidates[number] = outlines, table

    def forget(self, number: int) -> None:
        del self.outlines[number], self._candidates[number]

    def clear(self) -> None:
        self.outlines, self._candidates = {}, {}

    def beside(self, other: "Sampled") -> "Sampled":
        """The shapes of both, whose numbers differ."""
        both = Sampled(self.scenes, self.per_shape)
        both.outlines = self.outlines | other.outlines
        both._candidates = self._candidates | other._candidates
        return both

    def usable(self, number: int) -> bool:
        """Whether any pixel of the shape holds data."""
        table = self._candidates[number]
        return bool(len(table) and table["valid"].any())

    def pixels(self, names: Mapping[int, str], points: Iterable[tuple[Pixel, str]]) -> dict[int, list[Pixel]]:
        """Of each shape with a name (by its number), none that another label gives another name.

        points: other labelled pixels and their names.
        """
        known = [number for number in names if len(self._candidates[number])]
        if not known:
            return {}
        table, spelled = self._table(known, names, points)
        found = [
            Found(outline.scene, np.array([line]), np.array([outline.geometry]))
            for line, number in enumerate(known)
            for outline in self.outlines[number]
        ]
        table = places.contested(table, found, spelled)
        chosen = table[shapes.drawn(table, self.per_shape) & table["valid"] & ~table["contested"] & table["shape"]]
        of_line = chosen.groupby("line")[["scene", "row", "col"]]
        return {known[line]: [Pixel(*map(int, place)) for place in own.to_numpy()] for line, own in of_line}

    def _table(
        self, known: list[int], names: Mapping[int, str], points: Iterable[tuple[Pixel, str]]
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """As `places.pixels` has it, but for contested; and the name of each of its lines."""
        parts = [self._candidates[number].assign(line=line) for line, number in enumerate(known)]
        others = list(points)
        plain = pd.DataFrame([pixel for pixel, _ in others], columns=["scene", "row", "col"]).astype(int)
        parts.append(plain.assign(line=len(known) + np.arange(len(plain)), shape=False, order=0.0, valid=True))
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
        spelled = np.array([*(names[number] for number in known), *(name for _, name in others)], object)
        return table.assign(name=spelled[table["line"].to_numpy()]), spelled
