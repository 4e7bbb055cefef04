"""Smaller copies of a large image, beside it, so that it can be seen from afar without reading all of it."""

import os
import tempfile
from pathlib import Path

import rasterio
from rasterio.enums import Resampling

from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.imagery.rasters import Raster, forget

LARGE = 6000  # pixels of the longer side, from which a file without overviews is slow to see from afar
SMALLEST = 256


def lacking(raster: Raster) -> bool:
    """Whether the file is large and has none."""
    if max(raster.shape) < LARGE:
        return False
    with rasterio.open(raster.file) as dataset:
        return not dataset.overviews(1)


def build(raster: Raster) -> Path:
    """Write `<file>.ovr`, which every program of GDAL's finds; the image itself stays as it is.

    Raises InputError where that fails; then there is none.
    """
    output = raster.file.with_name(f"{raster.file.name}.ovr")
    factors = [2**i for i in range(1, 16) if max(raster.shape) >> i >= SMALLEST]
    with writing(output) as partial, tempfile.TemporaryDirectory(dir=output.parent, prefix=".") as folder:
        link = Path(folder) / raster.file.name
        os.symlink(raster.file, link)  # beside which GDAL writes them, out of sight until they are whole
        options = {"COMPRESS_OVERVIEW": "DEFLATE", "BIGTIFF_OVERVIEW": "IF_SAFER", "TIFF_USE_OVR": "YES"}
        with rasterio.Env(**options), rasterio.open(link) as dataset:
            dataset.build_overviews(factors, Resampling.average)
        made = link.with_name(f"{link.name}.ovr")
        if not made.exists():
            raise InputError(f"{raster.file}: GDAL writes no overviews for it; turn it into a GeoTIFF first.")
        made.replace(partial)
    forget()
    return output
