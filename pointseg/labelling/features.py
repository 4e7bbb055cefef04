"""Features of windows and points of scenes, kept in memory up to a limit."""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from pointseg.labelling.records import Pixel
from pointseg.models.encoders import Level
from pointseg.models.frozen import Frozen, Head, Maps, read
from pointseg.prediction.windows import reaching
from pointseg.training.each_point import windows_around
from pointseg.training.point_features import features_at, margin
from pointseg.types import Points, Shape, Window

ALIGNMENT = 64  # pixels; maps whose cells do not all meet within as many are used whole


@runtime_checkable
class Imagery(Protocol):
    """What is needed of a scene: a file's raster has it, and so has whatever stands in for one."""

    @property
    def id(self) -> str: ...
    @property
    def shape(self) -> Shape: ...
    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]: ...
    def valid(self, window: Window) -> Bool[np.ndarray, "h w"]: ...


class Place(NamedTuple):
    """A window of a scene (its index)."""

    scene: int
    window: Window


class Features:
    """Of a frozen network on scenes: what `predict` computes in each window, so that the page's map is its map.

    limit: bytes of maps that are kept, the longest unused going first.
    """

    def __init__(self, network: Frozen, scenes: Sequence[Imagery], window_size: int, overlap: int, limit: int) -> None:
        self.network, self.scenes = network, scenes
        self.window_size, self.overlap, self.limit = window_size, overlap, limit
        self.margin = margin(network, window_size)
        self.kept: OrderedDict[Place, Maps] = OrderedDict()
        self.bytes = 0
        self.alignment = math.lcm(*(level.stride for level in network.levels))

    @property
    def width(self) -> int:
        return self.network.classifier.width

    @torch.inference_mode()
    def of_window(self, place: Place) -> Maps:
        """The maps of a window, each of half precision."""
        if place not in self.kept:
            maps = self.computed(place)
            self.kept[place] = maps
            self.bytes += _size(maps)
            while self.bytes > self.limit and len(self.kept) > 1:
                _, oldest = self.kept.popitem(last=False)
                self.bytes -= _size(oldest)
        self.kept.move_to_end(place)
        return self.kept[place]

    @torch.inference_mode()
    def computed(self, place: Place) -> Maps:
        """As `of_window`, and not kept."""
        return [of_level for part in self.parts(place) for of_level in part]

    def parts(self, place: Place) -> Iterator[Maps]:
        """As `computed`, some at a time, for who has to listen between them. To be iterated in inference mode."""
        if place in self.kept:
            yield self.kept[place]
            return
        image = self._image(place)
        yield [of_level.half() for of_level in self.network.filtered(image)]
        for scale in range(self.network.scales):
            yield [of_level.half() for of_level in self.network.at_scale(image, scale)]

    def missing(self, scene: int, area: Window) -> list[Place]:
        """The windows that `probabilities` of an area would have to compute."""
        found = reaching(self.scenes[scene].shape, area, self.window_size, self.overlap)
        places = [Place(scene, window) for window, _, _ in found]
        return [place for place in places if place not in self.kept]

    def needed(self, scene: int, area: Window) -> int:
        """Bytes of the maps of all windows that an area needs."""
        each = sum(2 * level.channels / level.stride**2 for level in self.network.levels)
        found = reaching(self.scenes[scene].shape, area, self.window_size, self.overlap)
        return round(sum(window.height * window.width * each for window, _, _ in found))

    @torch.inference_mode()
    def probabilities(self, head: Head, scene: int, area: Window) -> Float[Tensor, "k h w"]:
        """What `predict_scene` gives in an area, with this head."""
        total = torch.zeros(head.classes, area.height, area.width)
        for window, part, weights in reaching(self.scenes[scene].shape, area, self.window_size, self.overlap):
            maps = self.of_window(Place(scene, window))
            inner = part._replace(row=part.row - window.row, col=part.col - window.col)
            top, left = part.row - area.row, part.col - area.col
            target = total[:, top : top + part.height, left : left + part.width]
            target += self._logits(head, maps, inner).softmax(0) * weights
        return total

    def around(self, pixels: Sequence[Pixel]) -> list[tuple[Place, list[Pixel]]]:
        """Windows that show the pixels and the ground around them, as in training, and the pixels of each."""
        found = []
        for scene in sorted({pixel.scene for pixel in pixels}):
            own = [pixel for pixel in pixels if pixel.scene == scene]
            rows, cols = (np.array([pixel[axis] for pixel in own], np.float64) for axis in (1, 2))
            points = Points(rows, cols, np.zeros(len(own), np.int64))
            parts = windows_around([self.scenes[scene].shape], [points], self.margin)
            found += [(Place(scene, part.window), [own[i] for i in part.points]) for part in parts]
        return found

    @torch.inference_mode()
    def at(self, place: Place, pixels: Sequence[Pixel], ways: int) -> Float[Tensor, "n r f"]:
        """Those of pixels under so many symmetries of a window of `around`."""
        positions = [[0, pixel.row - place.window.row, pixel.col - place.window.col] for pixel in pixels]
        return features_at(self.network, self._image(place), torch.tensor(positions, dtype=torch.float32), ways)

    @torch.inference_mode()
    def read(self, maps: Maps, window: Window, rows: np.ndarray, cols: np.ndarray) -> Float[Tensor, "n f"]:
        """Those of pixels (in the scene's frame) of a window with these maps, of half precision."""
        positions = (torch.from_numpy(axis).float() for axis in (rows - window.row, cols - window.col))
        found: Tensor = read(maps, self.network.levels, torch.zeros(len(rows), dtype=torch.long), *positions)
        return found.half()

    def _image(self, place: Place) -> Tensor:
        image = self.scenes[place.scene].image(place.window)
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]

    def _logits(self, head: Head, maps: Maps, part: Window) -> Float[Tensor, "k h w"]:
        """Of a part of a window, from as few cells of its maps as that needs."""
        if self.alignment > ALIGNMENT:
            shape = (part.row + part.height, part.col + part.width)
            logits: Tensor = head(maps, shape)
            return logits[0, :, part.row :, part.col :]
        top, left = (start // self.alignment * self.alignment for start in (part.row, part.col))
        height, width = part.row + part.height - top, part.col + part.width - left
        cut = [
            of_level[:, :, _cells(top, height, level), :][:, :, :, _cells(left, width, level)]
            for of_level, level in zip(maps, self.network.levels, strict=True)
        ]
        logits = head(cut, (height, width))
        return logits[0, :, part.row - top :, part.col - left :]


def _cells(start: int, length: int, level: Level) -> slice:
    """The cells between which pixels are interpolated; slicing ends with the map, where the last cell counts on."""
    first = start // level.stride
    return slice(first, first + -(-length // level.stride) + 1)


def _size(maps: Maps) -> int:
    return sum(of_level.numel() * of_level.element_size() for of_level in maps)
