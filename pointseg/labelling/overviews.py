"""Smaller copies of a large image, beside it, so that it can be seen from afar without reading all of it."""

import tempfile
from pathlib import Path

import rasterio
import rasterio.shutil
from rasterio.enums import Resampling

from pointseg.files import writing
from pointseg.imagery.rasters import Raster
from pointseg.imagery.stored import forget

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
        # Overviews are written beside what is opened for change; so that is a file that points to the image.
        pointer = Path(folder) / "image.vrt"
        rasterio.shutil.copy(raster.file, pointer, driver="VRT")
        options = {"COMPRESS_OVERVIEW": "DEFLATE", "BIGTIFF_OVERVIEW": "IF_SAFER"}
        with rasterio.Env(**options), rasterio.open(pointer, "r+") as dataset:
            dataset.build_overviews(factors, Resampling.average)
        pointer.with_suffix(".vrt.ovr").replace(partial)
    forget()
    return output
