import json
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from pointseg.config import construct
from pointseg.datasets.synthetic import draw, write
from pointseg.errors import InputError
from pointseg.types import IGNORE, Dataset, Scene, whole
from tests.conftest import BLACK, COLOUR_TABLE, COLOURS, CONF, write_layout
from tests.ground import composed
from tests.support.datasets import INTEGERS, part, write_folder


def aerial(root: Path | None, **options: Any) -> Dataset:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "dataset" / "aerial.yaml"))
    assert isinstance(node, dict)
    built = construct({**node, "root": root and str(root), **options})
    assert isinstance(built, Dataset)
    return built


def everything(dataset: Dataset) -> dict[str, Scene]:
    return {scene.id: scene for split in ("train", "val", "test") for scene in dataset.splits[split]}


def refused(match: str, root: Path | None, **options: Any) -> str:
    with pytest.raises(InputError, match=match) as error:
        aerial(root, **options)
    return str(error.value)


def test_every_trap_of_the_layout_is_read_right(tmp_path: Path) -> None:
    """True colours although classes.json lists others, palette masks, and black as no class."""
    labels = write_layout(tmp_path)
    dataset = aerial(tmp_path)
    assert dataset.classes == tuple(COLOURS)
    assert (dataset.palette == COLOUR_TABLE[:6]).all()
    scenes = everything(dataset)
    assert len(scenes) == 72
    for (tile, number), label in labels.items():
        scene = scenes[f"Tile {tile}/image_part_{number:03}"]
        assert scene.group == f"Tile {tile}"
        expected = np.where(label == BLACK, IGNORE, label)
        assert (scene.mask(whole(scene)) == expected).all()
        image = Image.open(tmp_path / f"Semantic segmentation dataset/Tile {tile}/images/image_part_{number:03}.jpg")
        assert (scene.image(whole(scene)) == np.asarray(image)).all()


def test_unlabeled_can_be_ignored(layout: Path) -> None:
    labels = write_layout(layout)
    dataset = aerial(layout, unlabeled="ignore")
    assert dataset.classes == tuple(COLOURS)[:5]
    assert all(dataset.land_cover)
    scene = everything(dataset)["Tile 1/image_part_001"]
    assert (scene.mask(whole(scene)) == np.where(labels[1, 1] >= 5, IGNORE, labels[1, 1])).all()
    assert aerial(layout).land_cover == (True,) * 5 + (False,)


@pytest.mark.parametrize("fold", range(4))
def test_folds_hold_out_whole_tiles(layout: Path, fold: int) -> None:
    dataset = aerial(layout, fold=fold)
    splits = [dataset.splits["train"], dataset.splits["val"], dataset.splits["test"]]
    assert [len(scenes) for scenes in splits] == [45, 18, 9]
    groups = [{scene.group for scene in scenes} for scenes in splits]
    assert [len(tiles) for tiles in groups] == [5, 2, 1]
    assert len(set.union(*groups)) == 8
    for scenes in splits:
        present = set().union(*(np.unique(scene.mask(whole(scene))).tolist() for scene in scenes))
        assert present - {IGNORE} == set(range(6))


def test_every_tile_is_in_validation_once(layout: Path) -> None:
    held = [scene.group for fold in range(4) for scene in aerial(layout, fold=fold).splits["val"]]
    assert sorted(set(held)) == [f"Tile {i}" for i in range(1, 9)]
    assert len(held) == 72


def test_a_split_by_images_has_its_sizes_warns_and_follows_its_seed(layout: Path, caplog: Any) -> None:
    first = aerial(layout, split="images")
    assert "leak" in caplog.text
    assert [len(scenes) for scenes in (first.splits["train"], first.splits["val"], first.splits["test"])] == [45, 18, 9]
    assert len(everything(first)) == 72
    assert [s.id for s in aerial(layout, split="images").splits["train"]] == [s.id for s in first.splits["train"]]
    assert [s.id for s in aerial(layout, split="images", split_seed=1).splits["train"]] != [
        s.id for s in first.splits["train"]
    ]


def test_a_group_in_two_splits_is_refused(layout: Path) -> None:
    leak = [{"train": [1, 2, 3], "val": [3, 4], "test": [5]}]
    refused(r"'Tile 3'.*'train'.*'val'", layout, folds=leak)


def test_scale_resizes_images_smoothly_and_masks_to_the_nearest(layout: Path) -> None:
    labels = write_layout(layout)
    for scene in everything(aerial(layout, scale=30)).values():
        assert scene.shape == (30, 30)
        assert scene.image(whole(scene)).shape == (30, 30, 3)
    mask = scene.mask(whole(scene))
    tile, part = int(scene.group[5:]), int(scene.id[-3:])
    rows, cols = ((np.arange(30) + 0.5) * side / 30 for side in (40, 48))
    expected = labels[tile, part][rows.astype(int)][:, cols.astype(int)]
    assert (mask == np.where(expected == BLACK, IGNORE, expected)).all()


def test_the_second_start_reads_the_cache_and_a_changed_file_is_read_anew(layout: Path, monkeypatch: Any) -> None:
    aerial(layout)
    monkeypatch.setattr("pointseg.imagery.decoded._open", lambda file: pytest.fail(f"{file} decoded again"))
    scenes = everything(aerial(layout))
    monkeypatch.undo()
    monkeypatch.setenv("POINTSEG_CACHE", str(scenes["Tile 1/image_part_001"].image_file.parents[1]))  # type: ignore[attr-defined]
    mask = layout / "Semantic segmentation dataset/Tile 1/masks/image_part_001.png"
    Image.new("RGB", (48, 40), COLOURS["Water"]).save(mask)
    scene = everything(aerial(layout))["Tile 1/image_part_001"]
    assert (scene.mask(whole(scene)) == 0).all()


def test_the_cache_is_no_larger_than_the_pixels(layout: Path) -> None:
    scenes = everything(aerial(layout)).values()
    files = [file for scene in scenes for file in (scene.image_file, scene.mask_file)]  # type: ignore[attr-defined]
    assert sum(file.stat().st_size for file in files) <= 1.2 * 72 * 40 * 48 * 4


# --- where the dataset is looked for ---


def test_root_comes_before_the_environment_and_that_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("root", "environment", "cache/semantic-segmentation-of-aerial-imagery"):
        write_layout(tmp_path / name, parts=1)
    monkeypatch.setenv("POINTSEG_CACHE", str(tmp_path / "cache"))
    from pointseg.datasets.aerial import find

    monkeypatch.setenv("POINTSEG_DATA", str(tmp_path / "environment"))
    assert find(str(tmp_path / "root")).parent == tmp_path / "root"
    assert find(None).parent == tmp_path / "environment"
    monkeypatch.delenv("POINTSEG_DATA")
    assert find(None).parent.parent == tmp_path / "cache"


def kaggle(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    monkeypatch.delenv("POINTSEG_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))


def test_kagglehub_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_layout(tmp_path)
    asked = []
    kaggle(monkeypatch, lambda handle: asked.append(handle) or str(tmp_path))
    assert len(everything(aerial(None))) == 72
    assert asked == ["humansintheloop/semantic-segmentation-of-aerial-imagery"]


def test_a_failed_download_names_page_layout_folder_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: str) -> str:
        raise ConnectionError("no route to host")

    kaggle(monkeypatch, fail)
    text = refused("no route to host", None)
    assert "kaggle.com/datasets/humansintheloop" in text
    assert "Tile 1..8/images" in text
    assert "dataset=synthetic" in text


@pytest.mark.parametrize("variable", [True, False])
def test_a_named_place_without_the_dataset_is_never_replaced(
    variable: bool, tmp_path: Path, layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle(monkeypatch, lambda handle: str(layout))
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("POINTSEG_DATA", str(empty if variable else layout))
    assert str(empty) in refused(str(empty), None if variable else empty)
    refused("nowhere", tmp_path / "nowhere")


# --- damaged copies ---


def test_an_image_without_mask_and_a_mask_without_image_are_all_named(layout: Path) -> None:
    part(layout, "masks").unlink()
    part(layout, "images", 7, 1).unlink()
    text = refused(r"\(2\)", layout)
    assert str(part(layout, "images")) in text
    assert str(part(layout, "masks", 7, 1)) in text


def test_sizes_that_differ(layout: Path) -> None:
    Image.new("RGB", (47, 40), COLOURS["Land"]).save(part(layout, "masks"))
    text = refused("40×48", layout)
    assert "40×48" in text
    assert "40×47" in text
    assert str(part(layout, "masks")) in text


def test_an_unknown_colour_is_named_with_its_count_and_file(layout: Path) -> None:
    pixels = np.full((40, 48, 3), COLOURS["Land"], np.uint8)
    pixels[0, :7] = (0x50, 0xE3, 0xC2)  # the Water of classes.json
    Image.fromarray(pixels).save(part(layout, "masks"))
    assert str(part(layout, "masks")) in refused(r"#50E3C2 \(7 ", layout)


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_truncated_files(layout: Path, kind: str, share: float) -> None:
    file = part(layout, kind, tile=3)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert str(file) in refused(file.name, layout)


def test_a_scale_that_is_no_size(layout: Path) -> None:
    for scale in (0, -3, 1_000_000):
        refused(rf"dataset\.scale={scale}: ", layout, scale=scale)


def test_a_fold_that_does_not_exist(layout: Path) -> None:
    refused("dataset.fold=4: ", layout, fold=4)


def test_a_tile_that_does_not_exist(layout: Path) -> None:
    refused("Tile 9", layout, folds=[{"train": [1, 9], "val": [2], "test": [3]}])


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(layout: Path) -> None:
    file = part(layout, "masks")
    content = bytearray(file.read_bytes())
    content[16:24] = struct.pack(">II", 1 << 20, 1 << 20)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    file.write_bytes(content)
    assert str(file) in refused("536,870,912", layout)


# --- the real files ---

REAL_SHARES = {  # per cent of the coloured pixels: Building, Land, Road, Vegetation, Water, Unlabeled; black pixels
    1: (5.31, 62.36, 12.76, 4.69, 14.01, 0.87, 0),
    2: (12.29, 59.66, 12.70, 5.77, 7.26, 2.32, 0),
    3: (2.96, 46.09, 7.40, 4.35, 36.59, 2.62, 306),
    4: (40.28, 28.92, 13.17, 6.74, 10.88, 0.00, 0),
    5: (1.95, 38.11, 4.31, 2.95, 52.44, 0.24, 506),
    6: (1.79, 24.97, 0.77, 32.42, 39.76, 0.30, 863),
    7: (8.86, 72.84, 9.27, 7.35, 1.54, 0.15, 3872),
    8: (20.76, 46.16, 11.83, 15.01, 5.52, 0.73, 546609),
}


@pytest.mark.data
def test_the_real_pixel_shares_are_those_of_the_table(real_data: Path) -> None:
    dataset = aerial(real_data)
    order = [dataset.classes.index(n) for n in ("Building", "Land", "Road", "Vegetation", "Water", "Unlabeled")]
    counts = {tile: np.zeros(256, int) for tile in REAL_SHARES}
    for scene in everything(dataset).values():
        counts[int(scene.group[5:])] += np.bincount(scene.mask(whole(scene)).ravel(), minlength=256)
    for tile, (*shares, black) in REAL_SHARES.items():
        found = counts[tile][order] / counts[tile][:6].sum() * 100
        assert found == pytest.approx(shares, abs=0.006)
        assert counts[tile][IGNORE] == black
    assert all(
        (sum(counts[int(s.group[5:])] for s in split)[:6] > 0).all()
        for split in (dataset.splits["val"], dataset.splits["test"])
    )


# --- synthetic ---


def test_synthetic_scenes_follow_their_seed_and_hold_every_class() -> None:
    image, _ = draw(192, np.random.default_rng(3))
    again, _ = draw(192, np.random.default_rng(3))
    other, _ = draw(192, np.random.default_rng(4))
    assert (image == again).all()
    assert (image != other).any()
    seen = [draw(384, np.random.default_rng(seed))[1] for seed in range(4)]
    assert {*np.unique(seen)} == {*range(6), BLACK}
    shares = np.bincount(np.ravel(seen), minlength=7) / np.size(seen)
    assert (shares[:5] > 0.05).all()


def test_synthetic_scenes_are_written_in_kaggle_s_layout() -> None:
    root = write(tiles=2, size=96, seed=5)
    inner = root / "Semantic segmentation dataset"
    assert len(list(inner.glob("Tile */images/*.jpg"))) == len(list(inner.glob("Tile */masks/*.png"))) == 18
    assert {entry["title"] for entry in json.loads((inner / "classes.json").read_text())["classes"]} == set(COLOURS)
    modes = {Image.open(inner / f"Tile {tile}/masks/image_part_001.png").mode for tile in (1, 2)}
    assert modes == {"RGB", "P"}
    before = (inner / "classes.json").stat().st_mtime_ns
    assert write(tiles=2, size=96, seed=5) == root
    assert (inner / "classes.json").stat().st_mtime_ns == before


# --- a user's own folder ---


def folder(tmp_path: Path, **options: Any) -> Dataset:
    node = OmegaConf.to_container(OmegaConf.load(CONF / "dataset" / "folder.yaml"))
    assert isinstance(node, dict)
    defaults = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "classes": {"a": 1, "b": 2}}
    built = construct({**node, **defaults, **options})
    assert isinstance(built, Dataset)
    return built


NAMES = [f"site_{site}/{i}" for site in "abcde" for i in range(2)]
EXPECTED = np.array([[0, 0, 1, 1, IGNORE, IGNORE]] * 4)


def palette_mask() -> Image.Image:
    mask = Image.fromarray(INTEGERS)
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    return mask


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_sparse_integer_masks(tmp_path: Path, suffix: str) -> None:
    write_folder(tmp_path, INTEGERS, NAMES, suffix)
    dataset = folder(tmp_path, ignore=[0])
    scenes = everything(dataset)
    assert set(scenes) == set(NAMES)
    assert all((scene.mask(whole(scene)) == EXPECTED).all() for scene in scenes.values())


@pytest.mark.parametrize(
    "options",
    [{"ignore": [0]}, {"classes": {"a": "#FF0000", "b": "#0000FF"}, "ignore": ["#000000"]}],
    ids=["indices", "colours"],
)
def test_palette_masks_by_index_or_by_colour(tmp_path: Path, options: dict[str, Any]) -> None:
    write_folder(tmp_path, palette_mask(), NAMES)
    scene = folder(tmp_path, **options).splits["train"][0]
    assert (scene.mask(whole(scene)) == EXPECTED).all()


def test_sixteen_bit_masks(tmp_path: Path) -> None:
    write_folder(tmp_path, INTEGERS.astype(np.uint16) * 1000, NAMES)
    scene = folder(tmp_path, classes={"a": 1000, "b": 2000}, ignore=[0]).splits["train"][0]
    assert (scene.mask(whole(scene)) == EXPECTED).all()


def test_groups_stay_together_and_can_be_named(tmp_path: Path) -> None:
    write_folder(tmp_path, INTEGERS, NAMES)
    dataset = folder(tmp_path, ignore=[0], group_depth=1)
    groups = [
        {s.group for s in split} for split in (dataset.splits["train"], dataset.splits["val"], dataset.splits["test"])
    ]
    assert [len(g) for g in groups] == [3, 1, 1]
    assert len(set.union(*groups)) == 5
    named = folder(tmp_path, ignore=[0], group_depth=1, val=["site_b"], test=["site_d", "site_e"])
    assert {s.group for s in named.splits["val"]} == {"site_b"}
    assert {s.group for s in named.splits["train"]} == {"site_a", "site_c"}


def test_a_table_names_the_groups(tmp_path: Path) -> None:
    write_folder(tmp_path, INTEGERS, NAMES)
    table = tmp_path / "days.csv"
    days = dict(zip(NAMES, ["07", "08", "07", "08", "09", "08", "09", "09", "07", "08"], strict=True))
    table.write_text("image,day\n" + "".join(f"{name},{day}\n" for name, day in days.items()))
    dataset = folder(tmp_path, ignore=[0], groups=str(table), group_column="day", val=["07"], test=["09"])
    for split, held in (("val", {"07"}), ("test", {"09"}), ("train", {"08"})):
        assert {scene.id for scene in dataset.splits[split]} == {name for name, day in days.items() if day in held}


@pytest.mark.parametrize("lines", ["{0},07\n{0},08\n", "{0},\n", "", "elsewhere,07\n"])
def test_images_without_a_group_are_named(tmp_path: Path, lines: str) -> None:
    write_folder(tmp_path, INTEGERS, NAMES)
    table = tmp_path / "days.csv"
    first, *others = NAMES
    table.write_text("image,day\n" + lines.format(first) + "".join(f"{name},09\n" for name in others))
    with pytest.raises(InputError, match=first):
        folder(tmp_path, ignore=[0], groups=str(table), group_column="day", val=["07"], test=["09"])
    with pytest.raises(InputError, match="day"):
        folder(tmp_path, ignore=[0], groups=str(table), group_column="flight")


@pytest.mark.parametrize(
    ("name", "classes", "sizes"),
    [
        ("monterey_dunes", 11, {"train": 59, "val": 21, "test": 20}),
        ("obx_coast", 3, {"train": 77, "val": 37, "test": 42}),
    ],
)
def test_sets_of_other_places(real_sets: Path, name: str, classes: int, sizes: dict[str, int]) -> None:
    dataset = construct(composed("train", f"dataset={name}").dataset)
    assert {split: len(scenes) for split, scenes in dataset.splits.items()} == sizes
    groups = [{scene.group for scene in scenes} for scenes in dataset.splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    scene = dataset.splits["train"][0]
    file = next((real_sets / name / "masks").glob(f"{scene.id}.png"))
    drawn, mask = np.asarray(Image.open(file)).astype(int), scene.mask(whole(scene)).astype(int)
    assert (mask == np.where(drawn == 255, IGNORE, drawn - (name == "monterey_dunes"))).all()
    assert len(dataset.classes) == classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r" 0 \(8 "),
        ({"classes": {"a": 1, "b": "#FF0000"}}, r"dataset\.classes"),
        ({"classes": {"a": 1, "b": 1}}, r"dataset\.classes"),
        ({"classes": {"a": "red", "b": "#FF0000"}}, "'red'"),
        ({"classes": {}}, r"dataset\.classes"),
        ({"ignore": [0], "not_land_cover": ["c"]}, r"dataset\.not_land_cover: c"),
        ({"ignore": [0], "val": ["site_x"]}, "site_x"),
        ({"ignore": [0], "val": 0}, "dataset.val=0: "),
        ({"ignore": [0], "test": -0.5}, "dataset.test=-0.5: "),
        ({"ignore": [0], "group_depth": 1, "val": ["site_a"], "test": ["site_a"]}, "'site_a'"),
        ({"ignore": [0], "group_depth": 1, "val": [f"site_{s}" for s in "abcd"]}, "'train'"),
        ({"images": "/nowhere"}, "dataset.images=/nowhere"),
    ],
)
def test_what_is_wrong_with_a_folder(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write_folder(tmp_path, INTEGERS, NAMES)
    with pytest.raises(InputError, match=message):
        folder(tmp_path, **options)


def test_deep_images_are_refused_rather_than_cut_to_eight_bits(tmp_path: Path) -> None:
    write_folder(tmp_path, INTEGERS, NAMES)
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(tmp_path / "images/site_a/0.png")
    with pytest.raises(InputError, match=r"site_a/0\.png"):
        folder(tmp_path, ignore=[0])
