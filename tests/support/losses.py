"""What tests share with those of losses."""

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from pointseg.config import construct
from pointseg.types import Batch
from tests.conftest import CONF, options

LOSSES = options("loss")


def batch(n: int, tiles: int = 2, shape: tuple[int, int] = (33, 47), classes: int = 4, seed: int = 0) -> Batch:
    """Points on distinct whole pixels, the image's corners among them."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(tiles * shape[0] * shape[1], n, replace=False)
    if n:
        flat[0] = 0
        flat[-1] = tiles * shape[0] * shape[1] - 1
    points = np.stack(np.unravel_index(np.unique(flat), (tiles, *shape)), 1)
    labels = torch.from_numpy(rng.integers(0, classes, len(points)))
    return Batch(torch.zeros(tiles, 3, *shape, dtype=torch.uint8), torch.from_numpy(points).float(), labels)


def logits(seed: int = 0, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = (2, 4, 5, 7)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype, requires_grad=True)


def build(name: str) -> torch.nn.Module:
    loss = construct(OmegaConf.load(CONF / "loss" / f"{name}.yaml"), counts=[5, 20, 100, 1], classes=4)
    assert isinstance(loss, torch.nn.Module)
    return loss
