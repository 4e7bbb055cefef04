"""What users of other tools have reported, in the order of the field's list: a test for each, named after it.

 1 unlabelled pixels trained as a class (geoai#765, raster-vision#2326, mmseg#3650)
 2 NaN where a crop or batch has no labelled pixel (pytorch#70348, ultralytics#25096)
 3 the loss averaged over all pixels instead of the labelled ones (mmseg's avg_non_ignore=False)
 4 "multi-class focal" that is a sigmoid for each class (segmentation_models.pytorch)
 5 an ignore value that differs from part to part (kornia#839, segmentation_models.pytorch#366)
 6 label masks warped by augmentation, which drops and doubles isolated pixels (albumentations#2245)
 7 a last batch of one image, which DeepLabV3's batch norm refuses (vision#2151)
 8 micro against macro IoU, absent classes, ignored pixels (torchgeo#1874, #1923, torchmetrics#1124)
 9 splits that leak (torchgeo#866, #4094)
10 big rasters that exhaust memory (terratorch#1199, raster-vision#616); seams (geoai#87, deepness#112)
11 Hydra with Lightning: sweeps over several processes, and resuming (lightning#11300, hydra#2070)
12 points drawn anew in each epoch, which spends more annotation than is reported
"""

import math
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pointseg.annotation.drawn import Drawn, draw
from pointseg.config import construct
from pointseg.errors import InputError
from pointseg.imagery.augment import Augment
from pointseg.imagery.crops import AroundPoints, Grid
from pointseg.losses.functional import cross_entropy, focal
from pointseg.metrics import scores
from pointseg.prediction.windows import predict_scene
from pointseg.samplers.random import Random
from pointseg.samplers.stratified import Stratified
from pointseg.training.data import Epoch
from pointseg.types import IGNORE, Batch, Sampler
from tests.conftest import CONF, options
from tests.support.augment import SIDE, coordinates, every_pixel
from tests.support.data import CROP, data, dataset, epoch, scene
from tests.support.losses import LOSSES, batch, build, logits
from tests.support.metrics import CLASSES, LAND, computed
from tests.support.training import train
from tests.support.windows import scene as noise
from tests.support.windows import stitched


@pytest.mark.parametrize("sampler", options("sampler"))
def test_01_no_point_is_drawn_where_there_is_no_label(sampler: str, tmp_path: Path) -> None:
    """Nor does one arrive there: every label of an epoch is that of its pixel."""
    chosen = construct(OmegaConf.load(CONF / "sampler" / f"{sampler}.yaml"))
    built = data(tmp_path, annotator=Drawn(chosen, 0.9, 0))
    assert (scene("a", "1").labels == IGNORE).mean() > 0.2
    for shown in epoch(built):
        crop, row, col = shown.points.long().unbind(1)
        assert (shown.images[crop, 0, row, col] == shown.labels).all()
        assert (shown.labels < len(built.dataset.classes)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_01_unlabelled_pixels_are_never_trained_as_a_class(name: str) -> None:
    low = logits(dtype=torch.float32, shape=(2, 4, 8, 8))
    points = Batch(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.tensor([[1.0, 12, 20]]), torch.tensor([2]))
    (gradient,) = torch.autograd.grad(build(name)(low, points), low)
    touched = gradient.abs().sum(1).nonzero()
    # Row 12 lies between the centres (3.5, 11.5, 19.5, …) of cells 1 and 2, column 20 of cells 2 and 3.
    assert {tuple(index) for index in touched.tolist()} == {(1, r, c) for r in (1, 2) for c in (2, 3)}


@pytest.mark.parametrize("name", LOSSES)
def test_02_no_labels_mean_zero_with_a_gradient_not_nan(name: str) -> None:
    low = logits(dtype=torch.float32)
    loss = build(name)(low, batch(0))
    loss.backward()
    assert loss.item() == 0
    assert low.grad is not None
    assert (low.grad == 0).all()


def test_02_a_run_with_batches_without_any_point_stays_finite(tmp_path: Path) -> None:
    """One point a scene of four crops: most batches of two crops hold none."""
    options = ("budget=1", "crop_size=16", "overlap=0", "batch_size=2", "trainer.limit_train_batches=1.0")
    assert math.isfinite(train(tmp_path, *options)["val"]["final"]["loss"])


def test_02_crops_around_points_hold_them_and_use_each_equally_often(tmp_path: Path) -> None:
    few = Drawn(Random(), 5, 0)
    built = data(tmp_path, Augment(CROP, scale=2), annotator=few, cropping=AroundPoints(25), batch_size=5)
    batches = epoch(built)
    assert [len(batch.images) for batch in batches] == [5] * 5
    assert all(len(set(batch.points[:, 0].tolist())) == 5 for batch in batches)  # no crop is empty
    loader = built.train_dataloader()
    kept = [(crop.scene, *crop.anchor) for batch in loader.sampler for crop, _ in batch]  # type: ignore[union-attr, misc]
    assert {kept.count(point) for point in kept} == {2, 3}  # 25 crops about 10 points
    assert len(set(kept)) == 10


@pytest.mark.parametrize("name", LOSSES)
def test_03_the_mean_is_over_labelled_points_only(name: str) -> None:
    """Unlabelled pixels and empty crops neither dilute the loss nor reach it."""
    low, points = logits(dtype=torch.float32), batch(40)
    loss = build(name)
    wider = Batch(torch.zeros(5, 3, 33, 47, dtype=torch.uint8), points.points, points.labels)
    more = torch.cat([low.detach(), torch.full((3, 4, 5, 7), 1e3)])
    assert loss(more, wider).item() == pytest.approx(loss(low, points).item(), rel=1e-5)


def test_04_focal_is_the_paper_s_formula_with_softmax() -> None:
    low = logits(shape=(50, 6))
    labels = torch.arange(50) % 6
    p = low.detach().exp() / low.detach().exp().sum(1, keepdim=True)
    p_t = p[torch.arange(50), labels]
    expected = -0.25 * (1 - p_t) ** 2 * p_t.log()
    assert torch.allclose(focal(low, labels, 0.25, 2), expected, atol=1e-12, rtol=0)
    assert torch.allclose(focal(low, labels, 1, 0), cross_entropy(low, labels))


@pytest.mark.parametrize("chosen", [Random(), Stratified()])  # those that meet any budget
def test_05_points_losses_and_scores_ignore_the_same_pixels(chosen: Sampler) -> None:
    """What a budget of everything draws, is trained on at and is scored at, is one and the same set of pixels."""
    whole = scene("a", "1")
    points = draw(whole, chosen, 1.0, 0)
    drawn = np.full(whole.shape, IGNORE, np.uint8)
    drawn[points.rows.astype(int), points.cols.astype(int)] = points.labels
    assert (drawn == whole.labels).all()
    flat = torch.from_numpy(whole.labels.ravel())
    scored = computed(flat.numpy(), np.zeros(flat.shape, np.uint8), parts=1)["confusion"]
    assert scored.sum() == len(points)
    positions = torch.from_numpy(np.stack([np.zeros(len(points)), points.rows, points.cols], 1))
    shown = Batch(torch.zeros(1, 3, *whole.shape, dtype=torch.uint8), positions, torch.from_numpy(points.labels))
    dense = logits(shape=(1, 4, *whole.shape))
    expected = torch.nn.functional.cross_entropy(
        dense, torch.from_numpy(whole.labels)[None].long(), ignore_index=IGNORE
    )
    assert torch.allclose(build("partial_ce")(dense, shown), expected, atol=1e-12, rtol=0)


@settings(max_examples=60)
@given(st.integers(20, 120), st.integers(0, 2**32))
def test_06_augmentation_loses_doubles_and_relabels_no_point(side: int, seed: int) -> None:
    augment = Augment(SIDE)
    image, points = augment(coordinates(side), every_pixel(side), np.random.default_rng(seed))
    assert image.shape == (SIDE, SIDE, 3)
    assert sorted(points.labels.tolist()) == list(range(side * side))
    for axis in (points.rows, points.cols):
        assert axis.min() >= -0.5
        assert axis.max() < SIDE - 0.5


def test_06_an_epoch_shows_every_point_once_with_its_own_label(tmp_path: Path) -> None:
    built = data(tmp_path)
    batches = epoch(built)
    assert sum(len(batch.labels) for batch in batches) == sum(built.counts)
    for shown in batches:
        crop, row, col = shown.points.long().unbind(1)
        assert (shown.images[crop, 0, row, col] == shown.labels).all()
        assert shown.images.shape[1:] == (3, CROP, CROP)
        assert shown.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("crops", "batch_size", "sizes"), [(7, 3, [3, 4]), (8, 3, [3, 3, 2]), (2, 4, [2]), (45, 4, [4] * 10 + [5])]
)
def test_07_no_batch_of_one_image_is_left(crops: int, batch_size: int, sizes: list[int]) -> None:
    batches = list(Epoch(Grid(), [(CROP, CROP)] * crops, [], CROP, batch_size, seed=0))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(request.crop.scene for batch in batches for request in batch) == list(range(crops))


@pytest.mark.parametrize(("crops", "batch_size"), [(5, 1), (1, 4)])
def test_07_a_batch_of_one_image_is_refused(crops: int, batch_size: int) -> None:
    with pytest.raises(InputError, match=r"batch_size|crop_size"):
        Epoch(Grid(), [(CROP, CROP)] * crops, [], CROP, batch_size, seed=0)


def test_08_the_mean_over_classes_is_not_the_share_of_pixels_and_ignored_pixels_do_not_count() -> None:
    """95 pixels of one class and 5 of another, all taken for the first: macro 0.475, micro 95 / 105, accuracy 0.95."""
    truth = np.array([0] * 95 + [1] * 5)
    result = scores(computed(truth, np.zeros(100, np.int64)), CLASSES, LAND)
    assert result["miou_all_classes"] == pytest.approx(0.95 / 2)
    assert result["accuracy"] == pytest.approx(0.95)
    more = np.concatenate([truth, np.full(300, IGNORE)])
    assert scores(computed(more, np.zeros(400, np.int64)), CLASSES, LAND) == pytest.approx(result, nan_ok=True)


def test_08_a_class_that_occurs_nowhere_has_no_iou_and_one_that_is_only_predicted_has_zero() -> None:
    result = scores(computed(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), parts=1), CLASSES, LAND)
    assert math.isnan(result["iou/other"])
    assert result["iou/c"] == 0
    assert result["miou_all_classes"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_08_scores_are_pooled_and_not_means_over_scenes() -> None:
    truth = np.array([0] * 90 + [1] * 10 + [0] * 10)
    prediction = np.array([0] * 90 + [0] * 10 + [0] * 10)
    result = scores(computed(truth, prediction, parts=11), CLASSES, LAND)
    assert result["iou/a"] == pytest.approx(100 / 110)
    assert result["miou_all_classes"] == pytest.approx(50 / 110)


def test_09_splits_that_share_a_group_are_refused_unless_asked_for() -> None:
    shared = {"test": [scene("d", "1")]}
    with pytest.raises(InputError, match=r"'1'.*'train'.*'test'"):
        dataset(**shared)
    assert dataset(**shared, leaks=True).leaks
    with pytest.raises(InputError, match="'val'"):
        dataset(val=[])


def test_10_memory_does_not_grow_with_the_scene() -> None:
    """Bytes in tensors while the blocks are handed out, at the most, for a scene and for one four times as long."""

    def held(height: int) -> int:
        with _Alive() as tensors:
            blocks = predict_scene(lambda images: images.float(), noise(height, 60), 20, 5, 2, "cpu")
            return max(tensors.bytes() for _ in blocks)

    assert held(800) < 1.3 * held(200)


class _Alive(TorchDispatchMode):
    """The tensors that torch has made within it and that still exist."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: WeakValueDictionary[int, Tensor] = WeakValueDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.tensors[id(made)] = made
        return made

    def bytes(self) -> int:
        storages = {tensor.data_ptr(): tensor.untyped_storage().nbytes() for tensor in self.tensors.values()}
        return sum(storages.values())


def test_10_windows_fade_into_each_other() -> None:
    """Windows that disagree (each predicts its own mean) leave no step where the next one begins."""

    def own_mean(images: Tensor) -> Tensor:
        return images.float().mean((2, 3), keepdim=True).expand(-1, -1, *images.shape[2:])

    blended = stitched(own_mean, 64, 200, 64, 32, 2)
    abrupt = stitched(own_mean, 64, 200, 64, 0, 2)
    assert blended.diff(dim=2).abs().max() < abrupt.diff(dim=2).abs().max() / 4


def test_12_points_are_drawn_once_and_only_for_training_and_validation(tmp_path: Path) -> None:
    built = data(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert {file.stem for file in before} == {"a", "b", "c", "e", "f"}
    epoch(built, 0)
    epoch(built, 1)
    data(tmp_path, annotator=Drawn(Random(), 0.2, 99))  # what is drawn stays drawn
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
