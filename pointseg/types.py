"""The values that the parts of pointseg exchange.

Axis letters, everywhere: b batch, c bands, h rows, w columns, k classes, n points.
Frame of every coordinate: pixels, rows downwards and columns to the right; (0, 0) is the *centre*
of the top-left pixel, so a pixel covers [-0.5, 0.5) around its own row and column.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from pointseg.errors import Faults, InputError

IGNORE = 255
"""The value of a mask pixel that belongs to no class: neither drawn as a point nor scored."""

MOST = 254
"""Classes: their numbers and IGNORE are one byte of a map."""

SPLITS = ("train", "val", "test")

Shape = tuple[int, int]


@dataclass(frozen=True)
class Bands:
    """How the bands of a scene's file become 8-bit images, and these the network's input.

    dtype: of the pixels in the file. numbers: of the bands that are read, from 1. For each of these:
    low, high: values stretched linearly to 0 and 255, and clipped (8-bit values stay as they are).
    mean, std: of the stretched values; the network subtracts the one and divides by the other.
    curves: of a band whose values a line would crowd into a few grey values, its values at even steps of their rank,
        and the grey value is the mean of the line's and of the rank's; () for a line.
    nodata: values that hold no data, whatever the files declare. strict: a pixel that lacks one band holds no data;
        else where a missing value may as well be a dark one, it must lack all of three, or all but one of more.
    sought: whether further values without data are looked for in each file.
    of: the number of bands of the files. scales, offsets: stored value · scale + offset is the quantity, by the files'
        tags. Of runs of version 0.1.0 these are not known: 0 and None.
    names: what the files of training call each band; () where they do not. pixel: metres of ground that a pixel's side
        shows; 0: not known. seen: of 8 bits, for each band and each of 32 steps of the grey values a 1 where training
        has seen values of it or of a step beside it.
    """

    dtype: str
    numbers: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    curves: tuple[tuple[float, ...], ...] = ()
    nodata: tuple[float, ...] = ()
    strict: bool = False
    sought: bool = field(default=True, compare=False)
    of: int = field(default=0, compare=False)
    scales: tuple[float, ...] | None = field(default=None, compare=False)
    offsets: tuple[float, ...] | None = field(default=None, compare=False)
    names: tuple[str, ...] = field(default=(), compare=False)
    seen: tuple[tuple[int, ...], ...] = field(default=(), compare=False)
    pixel: float = field(default=0.0, compare=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def only(self, positions: Sequence[int]) -> "Bands":
        """Those at these positions among the bands."""
        chosen: dict[str, Any] = {
            name: tuple(values[i] for i in positions)
            for name in ("numbers", "low", "high", "mean", "std", "curves", "scales", "offsets", "names", "seen")
            if (values := getattr(self, name))
        }
        return replace(self, **chosen)


RGB = Bands("uint8", (1, 2, 3), (0, 0, 0), (255, 255, 255), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""8-bit RGB, normalised as ImageNet's weights expect it."""


class Window(NamedTuple):
    """A rectangle of whole pixels; `row` and `col` may be negative where a crop overhangs its scene."""

    row: int
    col: int
    height: int
    width: int


@dataclass(frozen=True)
class Points:
    """n labelled positions in the frame of one image (see the module), labels in 0..k-1."""

    rows: Float[np.ndarray, "n"]
    cols: Float[np.ndarray, "n"]
    labels: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.labels)

    def crop(self, window: Window) -> "Points":
        """The points whose position lies in `window`, moved into its frame."""
        rows, cols = self.rows - window.row, self.cols - window.col
        inside = (rows >= -0.5) & (rows < window.height - 0.5)
        inside &= (cols >= -0.5) & (cols < window.width - 0.5)
        return Points(rows[inside], cols[inside], self.labels[inside])

    @classmethod
    def of_pixels(cls, mask: UInt8[np.ndarray, "h w"], flat: Int[np.ndarray, "n"]) -> "Points":
        """Points at the centres of the pixels `flat` (row-major indices), labelled by `mask`."""
        rows, cols = np.unravel_index(flat, mask.shape)
        labels = mask.ravel()[flat].astype(np.int64)
        return cls(rows.astype(np.float64), cols.astype(np.float64), labels)


@dataclass(frozen=True)
class Batch:
    """Crops of one size and the points on them.

    images: 8-bit, as read; the network normalises them.
    points: crop (index into the batch), row, col in the frame of that crop; crop by crop, in their order.
    scenes: the id of each crop's scene, for messages.

    Raises ValueError where points are not in the order of their crops.
    """

    images: UInt8[Tensor, "b c h w"]
    points: Float[Tensor, "n 3"]
    labels: Int[Tensor, "n"]
    scenes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Where batches are made, on the CPU: a GPU would have to be waited for.
        if self.points.device.type == "cpu" and bool((self.points[:, 0].diff() < 0).any()):
            raise ValueError("Batch.points: not in the order of their crops")

    def to(self, device: torch.device | str) -> "Batch":
        # Pinned memory can be copied while the device computes; for other memory the flag does nothing.
        images, points, labels = (
            tensor.to(device, non_blocking=True) for tensor in (self.images, self.points, self.labels)
        )
        return Batch(images, points, labels, self.scenes)

    def pin_memory(self) -> "Batch":
        return Batch(self.images.pin_memory(), self.points.pin_memory(), self.labels.pin_memory(), self.scenes)


@runtime_checkable
class Scene(Protocol):
    """One image with its truth, dense or sparse, read by window.

    `group` names what must stay together: scenes of one group show the same ground, or ground that
    touches, and are never divided between training and evaluation unless that is asked for.
    """

    @property
    def id(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def shape(self) -> Shape: ...
    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]: ...
    def mask(self, window: Window) -> UInt8[np.ndarray, "h w"]: ...
    def has_truth(self, window: Window) -> bool:
        """Whether the mask may hold a label there: False spares reading and predicting the window."""
        ...


def whole(scene: Scene) -> Window:
    """The window that holds all of the scene."""
    return Window(0, 0, *scene.shape)


class LabelledScene(NamedTuple):
    """What one evaluation step is given: a scene, and its points where some were drawn."""

    scene: Scene
    points: Points | None

    def to(self, device: torch.device) -> "LabelledScene":
        """Itself: a scene stays on disk. Lightning would take its dataclass apart to find tensors."""
        return self


@dataclass(frozen=True)
class Dataset:
    """The scenes of each split (train, val and, where there is one, test) and the legend of their masks.

    land_cover: for each class, whether it counts in the mean over land-cover classes (a class such
        as "Unlabeled" does not).
    leaks: the caller asked for groups to be shared between splits.
    bands: how the scenes' images were read.
    points: those of each scene, by its id, where a person gave them; None: they are drawn from the masks.
    cuts: where the scenes are the images of tiles cut cuts×cuts: `<group>/<stem>_<001 …>`, row by row; None elsewhere.
    Raises InputError for more than MOST classes, when train or val is missing or a split is empty, when two scenes
    share an id, or when splits share a group although `leaks` is False.
    """

    classes: tuple[str, ...]
    palette: UInt8[np.ndarray, "k 3"]
    land_cover: tuple[bool, ...]
    splits: Mapping[str, Sequence[Scene]]
    leaks: bool = False
    bands: Bands = RGB
    points: Mapping[str, Points] | None = None
    cuts: int | None = None

    def __post_init__(self) -> None:
        if len(self.classes) > MOST:
            raise InputError(f"dataset: {len(self.classes)} classes, but a map can hold {MOST} at most; join some.")
        required = {"train": (), "val": ()} | dict(self.splits)
        if empty := [name for name, scenes in required.items() if not scenes]:
            raise InputError(f"dataset: the split {empty[0]!r} holds no scene; give it one in the yaml.")
        if not self.leaks:
            self._refuse_shared_groups()
        ids = Counter(scene.id for scenes in self.splits.values() for scene in scenes)
        if twice := [name for name, n in ids.items() if n > 1]:  # their points would be one file
            raise InputError(f"dataset: two scenes are called {twice[0]!r}; rename the file of one.")

    def _refuse_shared_groups(self) -> None:
        owner: dict[str, str] = {}
        with Faults() as faults:
            for name, scenes in self.splits.items():
                for group in dict.fromkeys(scene.group for scene in scenes):
                    if owner.setdefault(group, name) != name:
                        faults.add(
                            f"dataset: the group {group!r} stands in both {owner[group]!r} and {name!r}; scores would "
                            "be measured on ground seen in training. Give each group to one split, or ask for the leak "
                            "with dataset.split=images."
                        )


@runtime_checkable
class Sampler(Protocol):
    """Plays the annotator: at most `count` distinct labelled pixels of one scene's mask, as points."""

    def __call__(self, mask: UInt8[np.ndarray, "h w"], count: int, rng: np.random.Generator) -> Points: ...


@runtime_checkable
class Loss(Protocol):
    """logits at the network's own stride and the batch they were computed from → a scalar."""

    def __call__(self, logits: Float[Tensor, "b k h w"], batch: Batch) -> Float[Tensor, ""]: ...
