"""What tests share with those of datasets."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def part(layout: Path, kind: str, tile: int = 2, number: int = 5) -> Path:
    suffix = "jpg" if kind == "images" else "png"
    return layout / f"Semantic segmentation dataset/Tile {tile}/{kind}/image_part_{number:03}.{suffix}"


def write_folder(root: Path, mask: Any, names: list[str], suffix: str = "png") -> None:
    for name in names:
        for kind in ("images", "masks"):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), (9, 8, 7)).save(root / "images" / f"{name}.{suffix}")
        (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(root / "masks" / f"{name}.png")


INTEGERS = np.array([[1, 1, 2, 2, 0, 0]] * 4, np.uint8)
