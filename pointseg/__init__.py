"""Maps from aerial and satellite imagery and a few labelled points.

fit and load: pointseg in notebooks and scripts, see pointseg.interactive.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
__all__ = ["__version__", "fit", "load"]


def __getattr__(name: str) -> Any:
    # When they are asked for: they import torch, which --help and a version can do without.
    if name in ("fit", "load"):
        return getattr(import_module("pointseg.interactive"), name)
    raise AttributeError(f"module 'pointseg' has no attribute {name!r}")
