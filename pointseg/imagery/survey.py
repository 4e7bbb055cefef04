"""What the values of images are like, from windows of them: which hold no data, and how the others become grey."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Num

from pointseg.errors import InputError
from pointseg.imagery.stretch import stretch
from pointseg.types import RGB, Bands, Shape, Window

SIDE = 256  # pixels of a window's side, of images of up to 8 bands
TAILS = (0.1, 1, 99, 99.9)  # percentiles
REACH = 0.5  # of the middle 98 % of the values, by which 0 and 255 may lie beyond them
CROWDED = 8  # grey values: where half of the values falls in fewer, a line is no good stretch
STEPS = 65  # values of a curve
STEP, RARE = 8, 1e-3  # grey values; share of the values, below which training has hardly seen them
SENTINELS = (-9999, -99999, -999, -32768, -32767, -(2**31))  # what programs write where they have no value
NEARLY, WHOLE, VOID = 4, 0.9, 0.02  # grey values; share of a window's edge; share of the pixels (see _void)
HUGE = 1e15  # beyond any quantity that is measured
REPEATED = 1e-4  # the share of a band's values that a value without data makes up at least
FAR = 5.0  # by so many times the spread of the others it lies beyond them; one that programs write, by half of it


@dataclass(frozen=True)
class Block:
    """A window's values, and which are known to be none. partly: of which pixels some bands are missing, not all."""

    values: Num[np.ndarray, "c h w"]
    lacking: Bool[np.ndarray, "c h w"]
    partly: Bool[np.ndarray, "h w"]


def windows(shape: Shape, count: int, bands: int) -> Iterator[Window]:
    """About `count` windows (all, where it takes fewer), evenly spread and its corners among them."""
    side = max(int(SIDE * min(1.0, 8 / bands) ** 0.5), 16)
    across = max(round((count * shape[1] / shape[0]) ** 0.5), 1 if count < 4 else 2)
    rows, cols = (_starts(size, side, n) for size, n in zip(shape, (max(count // across, 1), across), strict=True))
    for row in rows:
        for col in cols:
            yield Window(row, col, min(side, shape[0]), min(side, shape[1]))


def _starts(size: int, side: int, count: int) -> list[int]:
    if size <= side:
        return [0]
    count = min(count, -(-size // side))
    if count == 1:
        return [(size - side) // 2]
    return [round(start) for start in np.linspace(0, size - side, count)]


def undeclared(blocks: Sequence[Block]) -> dict[float, float]:
    """The values that hold no data although no header says so, each with its share of the pixels.

    They repeat exactly, lie far outside the others and, unless programs write them for nothing else, together.
    """
    if not blocks:
        return {}
    if blocks[0].values.dtype == np.uint8:  # where no value lies far outside the others
        return _void(blocks)
    found: dict[float, float] = {}
    for band in range(len(blocks[0].values)):
        values = np.concatenate([block.values[band][~block.lacking[band]] for block in blocks])
        values = values[np.isfinite(values)]
        while len(values) and (odd := _odd(values, blocks, band)) is not None:
            found[odd] = max(found.get(odd, 0.0), float((values == odd).mean()))
            values = values[values != odd]
    return found


def _void(blocks: Sequence[Block]) -> dict[float, float]:
    """Of 8 bits: black or white that fills areas in all bands up to a border, where little is nearly so."""
    found: dict[float, float] = {}
    for value in (0, 255) if len(blocks[0].values) > 1 else ():
        exact, near, border, pixels = 0, 0, 0, 0
        for block in blocks:
            usable = ~block.lacking.any(0)
            same = (block.values == value).all(0) & usable
            close = (np.abs(block.values.astype(int) - value) <= NEARLY).all(0) & usable
            edges = max(float(side.mean()) for side in (same[0], same[-1], same[:, 0], same[:, -1]))
            exact, near, pixels = exact + int(same.sum()), near + int(close.sum()), pixels + int(usable.sum())
            border += edges > WHOLE
        if pixels > exact >= VOID * pixels and near < 1.05 * exact and border:
            found[float(value)] = exact / pixels
    return found


def _odd(values: Num[np.ndarray, "n"], blocks: Sequence[Block], band: int) -> float | None:
    """The least or the greatest of a band's values, if it is none."""
    for extreme in (values.min(), values.max()):
        rest = values[values != extreme]
        share = 1 - len(rest) / len(values)
        if len(rest) and share >= REPEATED and _is_odd(float(extreme), rest, blocks, band):
            return float(extreme)
    return None


def _is_odd(value: float, rest: Num[np.ndarray, "n"], blocks: Sequence[Block], band: int) -> bool:
    low, high = np.percentile(rest.astype(np.float64), (1, 99))
    known = value in SENTINELS or abs(value) > HUGE
    if not known and rest.min() == rest.max():  # of two values, none is far from the others
        return False
    gap = max(low - value, value - high) / max(high - low, np.finfo(np.float32).eps * max(abs(low), abs(high)), 1e-30)
    if known:
        return bool(gap > FAR / 10)
    # Saturated pixels lie scattered, and one band may well be dark.
    if value == 0:
        return (
            bool(gap > FAR / 50) and len(blocks[0].values) > 1 and _in_all_bands(blocks) and _together(0, blocks, band)
        )
    signed = value < 0 <= low  # a quantity that is never negative
    return bool(gap > (FAR / 5 if signed else FAR)) and _together(value, blocks, band)


def _together(value: float, blocks: Sequence[Block], band: int) -> bool:
    """Whether most pixels of this value have a neighbour of the same."""
    pixels, beside = 0, 0
    for block in blocks:
        same = np.pad(block.values[band] == value, ((0, 0), (1, 1)))
        pixels += int(same.sum())
        beside += int((same[:, 1:-1] & (same[:, :-2] | same[:, 2:])).sum())
    return beside > 0.8 * pixels


def _in_all_bands(blocks: Sequence[Block]) -> bool:
    """Whether most pixels that are 0 in one band are so in all."""
    zeros = [block.values == 0 for block in blocks]
    return sum(int(zero.all(0).sum()) for zero in zeros) > 0.9 * sum(int(zero.any(0).sum()) for zero in zeros)


def isolated(missing: Iterable[float], blocks: Sequence[Block]) -> bool:
    """Whether values without data lie outside a band's others, so that no dark or bright pixel has them."""
    missing = list(missing)
    if not missing:
        return False
    for band in range(len(blocks[0].values)):
        values = np.concatenate([block.values[band][~block.lacking[band]] for block in blocks])
        if len(values):
            low, high = np.percentile(values.astype(np.float64), (0.5, 99.5))
            margin = 0.1 * (high - low)
            if not any(low - margin <= value <= high + margin for value in missing):  # NaN lies outside
                return True
    return False


def measured(bands: Bands, values: Num[np.ndarray, "n c"], name: str) -> Bands:
    """The bands with the statistics of these pixels; 8-bit RGB has ImageNet's.

    Raises InputError where there are none, or all have one colour.
    """
    if not len(values):
        raise InputError(f"{name}: no pixel with data was found; is its nodata value right?")
    if (values == values[0]).all():
        colour = ", ".join(map(str, values[0].tolist()))
        raise InputError(
            f"{name}: all pixels looked at have the same values ({colour}), which tell nothing apart; is it the right "
            "file, and whole?"
        )
    if bands.dtype == "uint8":
        bands = replace(bands, seen=tuple(_seen(band) for band in values.T))
    if bands.dtype == "uint8" and len(bands) == 3:
        return replace(bands, low=RGB.low, high=RGB.high, mean=RGB.mean, std=RGB.std)
    limits = replace(bands, low=(0.0,) * len(bands), high=(255.0,) * len(bands))
    if bands.dtype != "uint8":
        limits = _limits(bands, values.astype(np.float64))
    stretched = stretch(values[None], limits)[0]
    # A constant band tells nothing; its deviation of zero must not divide.
    std = np.maximum(stretched.std(0), 1)
    return replace(limits, mean=tuple(stretched.mean(0).tolist()), std=tuple(std.tolist()))


def _seen(values: Num[np.ndarray, "n"]) -> tuple[int, ...]:
    found = np.bincount(values.astype(int) // STEP, minlength=256 // STEP) > len(values) * RARE
    padded = np.pad(found, 1)
    return tuple((padded[:-2] | padded[1:-1] | padded[2:]).astype(int).tolist())


def unseen(values: Num[np.ndarray, "n c"], bands: Bands) -> Num[np.ndarray, "c"]:
    """The share of each band's values that are unlike all that training has seen."""
    if bands.seen:
        known = np.array(bands.seen, bool)
        return np.array([1 - known[band][values[:, band].astype(int) // STEP].mean() for band in range(len(known))])
    return np.asarray(((values < np.array(bands.low)) | (values > np.array(bands.high))).mean(0))


def _limits(bands: Bands, values: Num[np.ndarray, "n c"]) -> Bands:
    least, low, high, most = np.percentile(values, TAILS, axis=0)
    reach = REACH * (high - low)
    low, high = np.maximum(least, low - reach), np.minimum(most, high + reach)
    high = np.where(high > low, high, low + 1)
    ranks = np.percentile(values, np.linspace(0, 100, STEPS), axis=0).T
    half = (ranks[:, STEPS // 2 :] - ranks[:, : -(STEPS // 2)]).min(1)
    crowded = 255 * half / (high - low) < CROWDED
    curves = tuple(tuple(rank.tolist()) if bent else () for rank, bent in zip(ranks, crowded, strict=True))
    return replace(bands, low=tuple(low.tolist()), high=tuple(high.tolist()), curves=curves if any(crowded) else ())
