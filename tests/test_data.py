from pathlib import Path
from typing import Any

import pytest
import torch

from pointseg.imagery.augment import Augment
from pointseg.imagery.crops import Grid
from pointseg.training.data import Epoch
from tests.support.data import CROP, data, epoch


def test_a_class_without_a_point_is_warned_of_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data(tmp_path)
    assert " z" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("workers", [0, 2])
def test_tiles_do_not_depend_on_the_number_of_workers(tmp_path: Path, workers: int) -> None:
    def run(workers: int, number: int = 0) -> list[Any]:
        return epoch(data(tmp_path, Augment(CROP), num_workers=workers), number)

    for expected, batch in zip(run(0), run(workers), strict=True):
        assert torch.equal(expected.images, batch.images)
        assert torch.equal(expected.points, batch.points)
    assert not torch.equal(run(0)[0].images, run(0, number=1)[0].images)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_epoch_goes_on_after_the_batches_that_were_done(tmp_path: Path, workers: int) -> None:
    """Whether or not the epoch is set before its first crops are cut, which workers do not wait for."""
    whole = epoch(data(tmp_path, Augment(CROP)), 1)
    built = data(tmp_path, Augment(CROP), num_workers=workers)
    built.load_state_dict({"epochs": 1, "batches": 2})
    loader = built.train_dataloader()
    for expected, batch in zip(whole[2:], loader, strict=True):
        assert torch.equal(expected.images, batch.images)
    loader.sampler.set_epoch(2)  # type: ignore[union-attr]
    assert len(list(loader)) == len(whole) > 2


def test_ranks_share_tiles_and_scenes_without_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = data(tmp_path)
    alone = list(Epoch(Grid(), [(40, 40)] * 4, [], CROP, 6, seed=0))
    shares, scenes = [], []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        shares.append(list(Epoch(Grid(), [(40, 40)] * 4, [], CROP, 3, seed=0)))
        scenes.append([labelled and labelled.scene.id for labelled in built.val_dataloader()])
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in alone]
    assert scenes == [["c", "f"], ["e", None]]  # equally many steps
