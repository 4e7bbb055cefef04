"""Images in files that GDAL reads, by window and never whole: GeoTIFF, COG, JPEG, PNG, …"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Num, UInt8
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.transform import Affine

from pointseg.errors import Faults, InputError
from pointseg.imagery.stored import Stored, chosen_bands, describe
from pointseg.imagery.stretch import stretch
from pointseg.imagery.survey import Block, isolated, measured, undeclared, unseen, windows
from pointseg.types import RGB, Bands, Shape, Window

Values = Num[np.ndarray, "c h w"]

log = logging.getLogger(__name__)

AVERAGED = 2048**2  # pixels of a window that is shown smaller; of more, some are shown in place of their means
SAMPLES = 64  # windows that the statistics of bands are measured on
NEVER = 1e30  # a floating-point number so large is what programs write where they have no value
PARTLY = 1e-3  # share of the pixels that lack some bands and not others, from which on it is said
SCALED = 1.5  # ratio of the pixels' sides, from which on it is said
OUTSIDE = 0.5  # share of an image's pixels beyond what training has seen, from which on it is said


@dataclass(frozen=True)
class Raster:
    """A scene's image file, and how a run reads it: everything after training does it by the run's own bands.

    crs: as WKT; None for a plain picture, or coordinates of a map without a name. transform: (col, row) counted from
        the corner of the top-left pixel → the file's map coordinates.
    stored: the file itself. nodata: values without data that were found in this file. masked: whether GDAL's masks
        hold; else its declared values alone, where a band that is marked as alpha is none.
    """

    id: str
    file: Path
    shape: Shape
    bands: Bands
    crs: str | None
    transform: Affine
    stored: Stored | None = None
    nodata: tuple[float, ...] = ()
    masked: bool = True

    @property
    def mapped(self) -> bool:
        """Whether its pixels have map coordinates, be it in a CRS that has no name."""
        return self.crs is not None or self.transform != Affine.identity()

    @property
    def local(self) -> bool:
        """Whether its map coordinates are those of no place on Earth: without a CRS, or with an engineering one."""
        return is_local(self.crs)

    def image(self, window: Window) -> UInt8[np.ndarray, "h w c"]:
        """8-bit values (see Bands); pixels without data have each band's mean, which the network takes for zero."""
        block = self.block(window)
        stretched = stretch(np.moveaxis(block.values, 0, -1), self.bands)
        valid = self.holding(block)
        if not valid.all():
            stretched[~valid] = np.round(self.bands.mean)
        return stretched

    def valid(self, window: Window) -> Bool[np.ndarray, "h w"]:
        """Which pixels hold data: no value without data, not masked, not transparent, not NaN (see Bands.strict)."""
        if not (self.file_of.masked or self._without_data or np.dtype(self.bands.dtype).kind == "f"):
            return np.ones(window[2:], bool)
        return self.holding(self.block(window))

    def holding(self, block: Block) -> Bool[np.ndarray, "h w"]:
        """Which of a block's pixels hold data."""
        bands = len(block.lacking)
        enough = 1 if self.bands.strict else bands - (bands > 3)
        return np.asarray(block.lacking.sum(0) < max(enough, 1))

    def block(self, window: Window, shape: Shape | None = None, resampling: Resampling = Resampling.nearest) -> Block:
        """The values, in the units of the run's first file, and which are none, reduced to `shape`."""
        values = self.file_of.read(self.bands.numbers, window, shape, resampling)
        lacking = self._lacking(values, window, shape)
        never = _among(values, [value for value in self._without_data if value and not self._in_all_bands])
        if values.dtype.kind == "f":
            never |= ~(np.abs(values) < NEVER)  # NaN too
        # What cannot be a value of the band is no dark pixel either: its pixel holds nothing that can be used.
        return Block(
            self._converted(values), lacking | never.any(0), (lacking | never).any(0) & ~(lacking | never).all(0)
        )

    def _lacking(self, values: Values, window: Window, shape: Shape | None) -> Bool[np.ndarray, "c h w"]:
        lacking = _among(values, self._without_data)
        if self._in_all_bands:
            lacking &= lacking.all(0)
        if self.file_of.masked and self.masked:
            lacking |= self.file_of.masks(self.bands.numbers, window, shape)
        elif self.file_of.masked:
            for band, number in enumerate(self.bands.numbers):
                declared = self.file_of.nodata[number - 1]
                lacking[band] |= _among(values[band], [] if declared is None else [declared])
        return lacking

    def _converted(self, values: Values) -> Values:
        """By the tags of scale and offset, where they are not those of the images of training."""
        if self.bands.scales is None or self.bands.offsets is None:
            return values
        tags = zip(self.file_of.tags(self.bands.numbers), self.bands.scales, self.bands.offsets, strict=True)
        factors, shifts = np.array([(own / scale, (add - offset) / scale) for (own, add), scale, offset in tags]).T
        if (factors == 1).all() and (shifts == 0).all():
            return values
        return np.asarray(values * factors[:, None, None] + shifts[:, None, None])

    @property
    def file_of(self) -> Stored:
        assert self.stored is not None  # but of one that has a place alone, as points do
        return self.stored

    @property
    def _in_all_bands(self) -> bool:
        """Whether values without data are so in all bands alone, as black and white that were found in 8 bits."""
        return self.bands.dtype == "uint8" and self.bands.sought

    @property
    def _without_data(self) -> tuple[float, ...]:
        return (*self.bands.nodata, *self.nodata)


def is_local(crs: Any) -> bool:
    """Whether coordinates are those of no place on Earth: no CRS, or an engineering one."""
    return crs is None or bool(CRS.from_user_input(crs).is_engineering)


def _among(values: Num[np.ndarray, "*shape"], chosen: Sequence[float]) -> Bool[np.ndarray, "*shape"]:
    """Where the values are one of those chosen, as far as their type can express these."""
    if values.dtype.kind != "f":
        limits = np.iinfo(values.dtype)
        chosen = [value for value in chosen if limits.min <= value <= limits.max and value == int(value)]
    if not chosen:
        return np.zeros(values.shape, bool)
    return np.asarray(np.isin(values, np.array(chosen).astype(values.dtype)))


def reduced(raster: Raster, side: int) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """A small picture of the whole raster, at most `side` pixels a side, and its scale. Bands as red, green, blue.

    Of one or two bands the first is shown in grey.
    """
    factor = min(1.0, side / max(raster.shape))
    shape = (max(round(raster.shape[0] * factor), 1), max(round(raster.shape[1] * factor), 1))
    of_picture = raster.bands.only([0, 1, 2] if len(raster.bands) > 2 else [0, 0, 0])
    block = replace(raster, bands=of_picture).block(Window(0, 0, *raster.shape), shape)
    return stretch(np.moveaxis(block.values, 0, -1), of_picture), factor


def shown(
    raster: Raster, window: Window, shape: Shape, bands: Bands
) -> tuple[UInt8[np.ndarray, "h w c"], Bool[np.ndarray, "h w"]]:
    """A window reduced to `shape`, stretched as `bands` says, and which of its pixels hold data.

    bands: other ones of the same file than the raster's, or otherwise stretched. Overviews are used.
    """
    small = window.height * window.width <= AVERAGED
    how = Resampling.bilinear if small and shape < tuple(window[2:]) else Resampling.nearest
    raster = replace(raster, bands=bands)
    block = raster.block(window, shape, how)
    values = block.values
    stretched = any(bands.low) or any(value != 255 for value in bands.high)
    if values.dtype == np.uint8 and stretched:  # as no network sees it
        values = values.astype(np.float32)
    return stretch(np.moveaxis(values, 0, -1), bands), raster.holding(block)


def open_rasters(
    files: Mapping[str, Path],
    numbers: Sequence[int] | None = None,
    bands: Bands | None = None,
    nodata: Sequence[float] | None = None,
) -> list[Raster]:
    """The rasters of id → file, alike in their bands.

    numbers: of the bands to read, from 1; None: all but an alpha band.
    bands: as a run was trained on, which the files must have; None: measured on these files.
    nodata: values without data beside those that the files declare; None: those that are found (see `undeclared`).
    Raises InputError for a file that is no image, or whose bands differ; all files are tried first.
    """
    described: list[Raster] = []
    said: dict[str, int] = {}
    with Faults() as faults:
        for name, file in files.items():
            with faults.step():
                raster = _describe(name, file, numbers, said)
                if bands is not None:
                    raster = _fitting(raster, bands, said)
                elif described:
                    _check_alike(raster, described[0])
                described.append(raster)
    for remark, count in said.items():
        log.info("%s: %s", f"{count} images" if count > 1 else next(iter(files.values())), remark)
    return described if bands is not None else _measured(described, nodata)


def _describe(name: str, file: Path, asked: Sequence[int] | None, said: dict[str, int]) -> Raster:
    stored = describe(file)
    _say_further(stored, said)
    numbers, transparent = chosen_bands(stored, asked, said)
    unknown = (0.0,) * len(numbers)
    scales, offsets = zip(*stored.tags(numbers), strict=True)
    bands = Bands(stored.dtypes[numbers[0] - 1], numbers, unknown, unknown, unknown, unknown)
    bands = replace(bands, of=len(stored.dtypes) - len(transparent), scales=scales, offsets=offsets)
    bands = replace(bands, names=stored.names(numbers), pixel=stored.pixel)
    # Where an "alpha" band is one of data, it masks nothing; a mask beside it does.
    masked = set(transparent) == set(stored.alpha) or not stored.by_alpha
    return Raster(name, file, stored.shape, bands, stored.crs, stored.transform, stored, masked=masked)


def _say_further(stored: Stored, said: dict[str, int]) -> None:
    if stored.further:
        names = f"{stored.further[0]}{' and so on' if len(stored.further) > 1 else ''}"
        remark = f"holds {len(stored.further)} more images, which are not read; to have one of them, name it as {names}"
        said[remark] = said.get(remark, 0) + 1


def _check_alike(raster: Raster, first: Raster) -> None:
    if (raster.bands.dtype, len(raster.bands)) != (first.bands.dtype, len(first.bands)):
        raise InputError(
            f"{raster.file} has {_words(raster.bands)}, but {first.file} has {_words(first.bands)}; a run needs "
            "images that are alike: name those of one kind, or the bands to use in dataset.bands."
        )
    _check_units(raster, first.bands, str(first.file))
    _check_order(raster, first.bands, str(first.file))


def _check_order(raster: Raster, bands: Bands, others: str) -> None:
    """Raises InputError where the file has bands of the same names in another order."""
    own = raster.file_of.names(raster.bands.numbers)
    here, there = ([name.casefold() for name in names] for names in (own, bands.names))
    if any(mine != other and other in here for mine, other in zip(here, there, strict=False)):
        raise InputError(
            f"{raster.file}: its bands are {', '.join(own)}, but those of {others} are {', '.join(bands.names)}; put "
            "them in that order, as with gdal_translate -b."
        )


def _words(bands: Bands) -> str:
    return f"{len(bands)} band{'s' if len(bands) > 1 else ''} of {bands.dtype}"


def _check_units(raster: Raster, bands: Bands, others: str) -> None:
    """Raises InputError where of the file and the others one alone says the scale of its values."""
    if bands.scales is None:
        return
    for number, (own, _), scale in zip(
        raster.bands.numbers, raster.file_of.tags(bands.numbers), bands.scales, strict=True
    ):
        if own != scale and 1 in (own, scale):
            raise InputError(
                f"{raster.file}: band {number} has the scale {own:g} in its tags, but in {others} it has {scale:g}. If "
                "their values are stored in one unit, give all the same tags, as with gdal_edit -scale and -offset; if "
                "not, convert them."
            )


def _fitting(raster: Raster, bands: Bands, said: dict[str, int]) -> Raster:
    """The raster, read by the bands of a run. A grey picture is read as RGB, as every viewer shows it."""
    own, stored = raster.bands, raster.file_of
    if own.dtype == bands.dtype and len(own) == 1 and bands == RGB:
        numbers = own.numbers * 3
    elif own.dtype == bands.dtype and len(own) == len(bands) and _are_all(bands):
        numbers = own.numbers  # an alpha band may lie elsewhere in this file
    elif own.dtype != bands.dtype or max(bands.numbers) > len(stored.dtypes):
        raise InputError(
            f"{raster.file} has {_words(own)}, but the run was trained on {_words(bands)}, number "
            f"{', '.join(map(str, bands.numbers))}; give images of the kind it was trained on."
        )
    else:
        raster = _describe(raster.id, raster.file, bands.numbers, {})
        numbers = bands.numbers
        if raster.bands.of != (bands.of or len(bands)):
            listed = ", ".join(map(str, numbers))
            remark = (
                f"has {raster.bands.of} bands, other than the images of training; read by its bands {listed} as these"
            )
            said[remark] = said.get(remark, 0) + 1
    raster = replace(raster, bands=replace(bands, numbers=numbers))
    _check_units(raster, bands, "the images of training")
    _check_order(raster, bands, "the images of training")
    return _surveyed(raster)


def _are_all(bands: Bands) -> bool:
    """Whether a run reads all bands of its images, in their order, but for an alpha band."""
    if bands.of:
        return bands.of == len(bands) and list(bands.numbers) == sorted(bands.numbers)
    return bands.numbers == tuple(range(1, len(bands) + 1))


def _by(bands: Bands, rasters: Sequence[Raster]) -> list[Raster]:
    return [replace(raster, bands=replace(bands, numbers=raster.bands.numbers)) for raster in rasters]


def _surveyed(raster: Raster) -> Raster:
    """The raster with the values that hold no data in it alone. Warns where its values are unlike those of training."""
    if raster.bands.sought:
        raster = replace(raster, nodata=_found([raster], SAMPLES // 4))
    values = _values(_blocks([raster], SAMPLES // 4))
    shares = unseen(values, raster.bands) if len(values) else np.zeros(len(raster.bands))
    for number, share, least, most in zip(
        raster.bands.numbers, shares, raster.bands.low, raster.bands.high, strict=True
    ):
        if share > OUTSIDE:
            log.warning(
                "%s: %.0f %% of the values of band %d are unlike those of training%s; is it of another sensor, in "
                "another light, or in another unit? Its map may be wrong.",
                *(raster.file, 100 * share, number, "" if raster.bands.seen else f" ({least:g} to {most:g})"),
            )
    _compare_pixels(raster)
    return raster


def _compare_pixels(raster: Raster) -> None:
    own, trained = raster.file_of.pixel, raster.bands.pixel
    if own and trained and max(own / trained, trained / own) > SCALED:
        log.warning(
            "%s: a pixel shows %.3g m of ground, and %.3g m in the images of training; things look otherwise at "
            "another scale, and its map may be wrong: resample it, as with gdalwarp -tr.",
            *(raster.file, own, trained),
        )


def _measured(rasters: Sequence[Raster], nodata: Sequence[float] | None) -> list[Raster]:
    """The rasters with the statistics of all their bands, from windows spread over them."""
    bands = replace(rasters[0].bands, nodata=tuple(map(float, nodata or ())), sought=nodata is None)
    some = [rasters[i] for i in np.unique(np.linspace(0, len(rasters) - 1, SAMPLES).astype(int))]
    if bands.sought:
        bands = replace(bands, nodata=_found(_by(bands, some), SAMPLES))
    blocks = _blocks(_by(bands, some), SAMPLES)
    missing = {value for raster in some for value in raster.file_of.nodata if value is not None}
    if bands.dtype != "uint8" or not bands.sought:  # else see Raster._in_all_bands
        missing |= set(bands.nodata)
    bands = replace(bands, strict=isolated(missing, [block for _, block in blocks]))
    blocks = [(raster, block) for raster, (_, block) in zip(_by(bands, [r for r, _ in blocks]), blocks, strict=True)]
    _check_bands([block for _, block in blocks], bands, str(rasters[0].file))
    _say_partly(blocks)
    return _by(measured(bands, _values(blocks), str(rasters[0].file)), rasters)


def _blocks(rasters: Sequence[Raster], count: int) -> list[tuple[Raster, Block]]:
    """About so many windows of the rasters, all together."""
    each = max(count // len(rasters), 1)
    return [
        (raster, raster.block(window))
        for raster in rasters
        for window in windows(raster.shape, each, len(raster.bands))
    ]


def _values(blocks: Sequence[tuple[Raster, Block]]) -> Num[np.ndarray, "n c"]:
    """Those of the pixels that hold data."""
    return np.concatenate([block.values[:, raster.holding(block)].T for raster, block in blocks])


def _found(rasters: Sequence[Raster], count: int) -> tuple[float, ...]:
    """The values without data that no header declares; each is said."""
    found = undeclared([block for _, block in _blocks(rasters, count)])
    for value, share in found.items():
        log.warning(
            "%s: the value %g (%.2g %% of the pixels looked at) %s and is taken for no data, although no header says "
            "so; dataset.nodata=[] in training takes it for a value.",
            *(rasters[0].file if len(rasters) == 1 else "Images", value, 100 * share),
            "fills areas in all bands" if rasters[0].bands.dtype == "uint8" else "lies far from all others",
        )
    return tuple(found)


def _check_bands(blocks: Sequence[Block], bands: Bands, file: str) -> None:
    """Raises InputError where a band holds nothing at all: no pixel could be used for want of it."""
    empty = [_is_empty(blocks, band) for band in range(len(bands))]
    if any(empty) and not all(empty):
        without, others = (
            ",".join(str(number) for number, none in zip(bands.numbers, empty, strict=True) if none == wanted)
            for wanted in (True, False)
        )
        raise InputError(
            f"{file}: no data was found in band {without}; leave it out, as with dataset.bands=[{others}]."
        )


def _is_empty(blocks: Sequence[Block], band: int) -> bool:
    values = np.concatenate([block.values[band].ravel() for block in blocks])
    lacking = all(block.lacking[band].all() for block in blocks)
    return bool((~(np.abs(values) < NEVER)).all() or (lacking and (values == values[0]).all()))


def _say_partly(blocks: Sequence[tuple[Raster, Block]]) -> None:
    """Say how many pixels are left out although some of their bands hold data."""
    left_out = [~raster.holding(block) & block.partly for raster, block in blocks]
    share = sum(int(part.sum()) for part in left_out) / sum(part.size for part in left_out)
    if share > PARTLY:
        log.warning(
            "%.1f %% of the pixels looked at lack some of their bands: they are left out of training and of maps; to "
            "have them, name the other bands in dataset.bands.",
            100 * share,
        )
