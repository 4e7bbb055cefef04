"""A dataset audited in one go: every fault is named, whatever the others are."""

import re
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import Affine

from pointseg.annotation.kept import file_of
from pointseg.config import CONF
from pointseg.datasets.folder import _files
from pointseg.errors import Faults, InputError, InputErrorGroup, reading, single
from pointseg.evaluation.agreement import agreement, border_pairs
from pointseg.evaluation.check import check
from pointseg.imagery.paths import find
from pointseg.types import IGNORE, Scene
from tests.conftest import COLOURS, ArrayScene, Outcome
from tests.site import NAMES, frame, pixels, write_image
from tests.support.datasets import INTEGERS, part, write_folder


def faults(*overrides: str) -> list[str]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check(compose("check", list(overrides)))


def test_independent_steps_raise_their_faults_together() -> None:
    def read(*contents: Exception | None) -> list[int]:
        done = []
        with Faults() as faults:
            for number, content in enumerate(contents):
                with faults.step():
                    if content:
                        with reading(Path(f"{number}.png"), "an image", "copy it anew."):
                            raise content
                    done.append(number)
        return done

    assert read(None, None) == [0, 1]
    with pytest.raises(InputError) as alone:
        read(None, InputError("one"))
    assert single(alone.value) == [alone.value]
    with pytest.raises(InputError) as several:
        read(InputError("one"), None, KeyError("k"), InputErrorGroup([InputError("two"), InputError("three")]))
    messages = [str(fault) for fault in single(several.value)]
    assert [messages[0], *messages[2:]] == ["one", "two", "three"]
    assert "2.png" in messages[1]
    assert all(message in str(several.value) for message in messages)
    many = InputErrorGroup([InputError(f"fault <{i}>") for i in range(99)])
    assert "<19>" in str(many)
    assert "<20>" not in str(many)
    assert "79" in str(many)  # so many more
    faults = Faults()
    faults.add("one")
    with pytest.raises(ZeroDivisionError), faults:  # a bug is no fault of the input
        raise ZeroDivisionError


def assert_each_once(found: list[str], expected: list[str]) -> None:
    for pattern in expected:
        assert sum(bool(re.search(pattern, message)) for message in found) == 1, pattern
    assert len(found) == len(expected)


def test_every_fault_of_the_aerial_dataset_is_named(layout: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert faults(f"dataset.root={layout}") == []
    assert " 0" in caplog.text.splitlines()[-1]
    part(layout, "masks", 1, 1).unlink()
    part(layout, "images", 2, 2).unlink()
    part(layout, "images", 3, 3).write_bytes(part(layout, "images", 3, 3).read_bytes()[:400])
    part(layout, "masks", 3, 3).write_bytes(b"")
    Image.new("RGB", (47, 40), COLOURS["Land"]).save(part(layout, "masks", 4, 4))
    Image.new("RGB", (48, 40), (1, 2, 3)).save(part(layout, "masks", 5, 5))
    Image.new("CMYK", (48, 40)).save(part(layout, "images", 5, 5))
    found = faults(f"dataset.root={layout}")
    expected = [
        r"Tile 1/images/image_part_001.jpg.*\n.*Tile 2/masks/image_part_002.png",
        r"Tile 3/images/image_part_003.jpg",
        r"Tile 3/masks/image_part_003.png",
        r"Tile 4/images/image_part_004.jpg.*40×48.*40×47",
        r"Tile 5/images/image_part_005.jpg.*CMYK",
        r"Tile 5/masks/image_part_005.png.*#010203 \(1,920 ",
    ]
    assert_each_once(found, expected)


def test_what_is_seen_once_every_file_can_be_read(layout: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for kind in ("images", "masks"):
        part(layout, kind, 6, 6).unlink()
    part(layout, "images", 8, 8).write_bytes(part(layout, "images", 7, 7).read_bytes())
    part(layout, "images", 3, 9).write_bytes(part(layout, "images", 7, 7).read_bytes())  # 3 is validation, 7 training
    expected = [
        r"Tile 6/image_part_006",
        r"Tile 7/image_part_007 in train and Tile 3/image_part_009 in val",
    ]
    assert_each_once(faults(f"dataset.root={layout}"), expected)
    assert re.search("Tile 7/image_part_007 .*Tile 8/image_part_008 ", caplog.text)


def test_leaks_that_were_asked_for_are_said_and_groups_in_two_splits_are_each_a_fault(
    layout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert faults(f"dataset.root={layout}", "dataset.split=images") == []
    assert "Remark: 8 " in caplog.text
    found = faults(f"dataset.root={layout}", "dataset.folds=[{train: [1, 2, 3], val: [2, 3], test: [4]}]")
    assert [re.search(r"Tile \d", message).group() for message in found] == [  # type: ignore[union-attr]
        "Tile 2",
        "Tile 3",
    ]
    found = faults(f"dataset.root={layout}", "dataset.folds=[{train: [1, 2, 3], val: [4], test: [9]}]")
    assert_each_once(found, ["Tile 9"])


def test_masks_and_class_shares_agree_with_closed_forms() -> None:
    mask = np.zeros((4, 5), np.uint8)
    parts = [ArrayScene(f"T/image_part_{i:03}", mask, mask.copy(), "T") for i in range(1, 10)]
    scenes: list[Scene] = list(parts)

    def agreements() -> list[float]:
        return [agreement(pairs) for pairs in border_pairs(scenes, 3, 3)["T"]]

    assert agreements() == [1, 1]
    # Six cuts between columns of 4 pairs and six between rows of 5: 54 pairs, and twice as many beside them.
    parts[0].labels[0, -1] = 1  # one pair across the cut to the right, one beside it
    assert agreements() == pytest.approx((53 / 54, 107 / 108))
    assert np.array_equal(
        border_pairs(scenes, 3, 3)["T"].across, [[106, 1, 0], [1, 0, 0], [0, 0, 0]]
    )  # either way round
    parts[0].labels[1, -1] = IGNORE  # is in one pair across, and one beside
    assert agreements() == pytest.approx((52 / 53, 106 / 107))
    parts[4].labels[:] = 2  # its four cuts disagree, and nothing beside them
    assert agreements()[0] == pytest.approx((53 - 1 - 18) / 53)
    assert border_pairs(scenes[:1], 3, 3) == {}


def test_every_fault_of_points_and_their_images_is_named(tmp_path: Path) -> None:
    labels = write_image(tmp_path / "site/a.tif")
    field = [*pixels(labels), (500, 3, "sand"), (2, 2, "sand"), (2, 2, "water"), (5, 5, "sadn")]
    frame(field).to_file(tmp_path / "field.gpkg")
    site = [
        "dataset=field",
        f"dataset.images={tmp_path}/site",
        "dataset.block=8",
        f"dataset.classes=[{','.join(NAMES)}]",
    ]
    write_image(
        tmp_path / "site/b.tif", nodata=0, hole=(slice(0, 9), slice(0, 9)), transform=Affine.translation(9e5, 9e5)
    )
    (tmp_path / "site/c.tif").write_bytes(b"II*\0 no image")
    write_image(tmp_path / "site/d.tif", bands=5)
    (tmp_path / "bad.gpkg").write_bytes(b"no database")
    (tmp_path / "more.csv").write_text("x,y,class\n1,2,sand\nnowhere,2,sand\n")
    (tmp_path / "on.csv").write_text("scene,row,col,class\nb,3,3,sand\n")

    def found(*names: str) -> list[str]:
        files = ",".join(str(tmp_path / name) for name in names)
        return faults(*site, f"points=[{files}]", "annotation.crs=EPSG:32640")

    everything = ("field.gpkg", "bad.gpkg", "more.csv", "on.csv", "gone.csv")
    assert_each_once(found(*everything), [r"c\.tif", r"d\.tif has 5 bands .*a\.tif has 3 bands"])
    (tmp_path / "site/c.tif").unlink()
    (tmp_path / "site/d.tif").unlink()
    assert_each_once(found(*everything), [r"bad\.gpkg", r"more\.csv, line 3: x is 'nowhere'", r"gone\.csv"])
    rules = [
        r"1 labels? .*'sand' at x 3\d+\.\d+, y 27\d+",
        r"1 labels? .*'sand' at row 3, col 3",
        r"2 labels .*'sand' at row 2, col 2 of a, 'water'",
    ]
    assert_each_once(found("field.gpkg", "on.csv"), rules)
    assert_each_once(
        faults(*site, f"points={tmp_path}/field.gpkg", "annotation.outside=skip", "annotation.contradicting=skip"),
        [r"sadn \(1\)"],
    )
    frame(pixels(labels)).to_file(tmp_path / "good.gpkg")
    healthy = [*site[:1], f"dataset.images={tmp_path}/site/a.tif", *site[2:], f"points={tmp_path}/good.gpkg"]
    assert faults(*healthy) == []
    whole = (tmp_path / "site/a.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    cut = faults(*healthy, f"dataset.images={tmp_path}/cut.tif")
    assert cut
    assert all("cut.tif" in message for message in cut)


def test_the_command_says_what_is_wrong_with_a_folder_and_whether_anything_is(
    command: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_folder(tmp_path, INTEGERS, [f"site_{i}" for i in range(5)])
    for i in range(5):
        Image.new("RGB", (6, 4), (i, 0, 0)).save(tmp_path / f"images/site_{i}.png")
    options = ("dataset=folder", "dataset.images=images", "dataset.masks=masks", "dataset.classes={a: 1, b: 2}")
    healthy = command("pointseg.check", *options, "dataset.ignore=[0]", "picture=check.png")
    assert healthy.code == 0, healthy.output
    assert " 0" in healthy.output.splitlines()[-1]
    assert re.search(r"a +50\.00% +50\.00% +50\.00%", healthy.output)
    assert re.search(r"pixels of no class +24 +8 +8", healthy.output)
    with Image.open(tmp_path / "check.png") as picture:
        assert picture.width > 300
    Image.new("RGB", (6, 4), (0, 0, 0)).save(tmp_path / "images/site_4.png")
    Image.fromarray(np.ones((3, 6), np.uint8)).save(tmp_path / "masks/site_2.png")
    (tmp_path / "masks/site_9.png").write_bytes(b"")
    result = command("pointseg.check", *options)
    assert result.code == 1
    assert "Traceback" not in result.output
    for message in ("site_9.png", "3×6", "0 (8 pixels)"):
        assert message in result.output
    typo = command("pointseg.check", *options, "+pictur=x.png")
    assert typo.code == 1
    assert "'picture'" in typo.output


def test_a_split_without_a_label_is_no_score_of_nan(tmp_path: Path) -> None:
    from pointseg.training.train import train as train_run
    from tests.support.training import composed

    write_folder(tmp_path, INTEGERS, [f"{name}" for name in "abcd"])
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "masks/d.png")
    options = [f"dataset.images={tmp_path}/images", f"dataset.masks={tmp_path}/masks", "dataset.classes={x: 1, y: 2}"]
    options += ["dataset.ignore=[0]", "dataset.val=[d]", "dataset.test=[c]", "budget=0.5", "crops=around_points"]
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="'val'"):
        train_run(composed("dataset=folder", *options, "crops.number=4"), tmp_path / "run", {})
    assert not (tmp_path / "run/best.ckpt").exists()


# --- what lies outside the data folder stays as it is ---

NAME = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(NAME.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3))
def test_no_name_of_a_file_leads_out_of_the_run_s_folder(names: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "site", *names[:-1], f"{names[-1]}.png")
        try:
            file.parent.mkdir(parents=True)
            file.write_bytes(b"x")
        except OSError:  # too long for this file system
            return
        ids = [*find(str(file), "input"), *_files(Path(place, "site"), "dataset.images")]
        with suppress(InputError):  # in a folder, names of stray files are passed over
            ids += find(str(Path(place, "site")), "input")
        for name in ids:
            scene = ArrayScene(name, np.zeros((1, 1)), np.zeros((1, 1)))
            kept = file_of(Path(place, "run/points"), scene)
            assert Path(place, "run/points").resolve() in kept.resolve().parents


@pytest.mark.parametrize("kind", ["zip", "tar", "link"])
def test_an_archive_cannot_write_outside_the_folder_that_it_is_unpacked_into(kind: str, tmp_path: Path) -> None:
    from kagglehub.http_resolver import _extract_archive  # what unpacks the dataset

    (tmp_path / "evil").write_text("x")
    archive = tmp_path / "archive"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as stream:
            stream.write(tmp_path / "evil", "../../outside")
    else:
        with tarfile.open(archive, "w") as stream:
            if kind == "tar":
                stream.add(tmp_path / "evil", "../../outside")
            else:
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
                stream.addfile(link)
    before = set(tmp_path.rglob("*"))
    try:
        _extract_archive(str(archive), str(tmp_path / "a/b"))
    except tarfile.FilterError:
        assert kind != "zip"
    new = set(tmp_path.rglob("*")) - before
    assert all((tmp_path / "a") in [file, *file.parents] and not file.is_symlink() for file in new)
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "a/outside").exists()


def test_a_scene_named_in_a_file_of_points_is_looked_up_and_never_opened(tmp_path: Path) -> None:
    from pointseg.imagery.rasters import open_rasters
    from tests.support.field_points import placed

    write_image(tmp_path / "site/a.png", crs=None)
    write_image(tmp_path / "b.png", crs=None)
    (tmp_path / "p.csv").write_text(f"scene,row,col,class\n../b.png,1,1,x\n{tmp_path}/b.png,2,2,x\na,3,3,y\n")
    rasters: Any = open_rasters({"a": tmp_path / "site/a.png"})
    assert placed(tmp_path / "p.csv", rasters) == {(0, 3, 3, "y")}
