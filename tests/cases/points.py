"""Labels as people have them: each case writes files, and says what the labelled pixels are or that it is refused.

`outcome` reads a case: right (every pixel has its place and class), clear (refused in a sentence), or wrong.
"""

import gzip
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyogrio
import shapely
from PIL import Image
from rasterio.transform import Affine, from_origin

from pointseg.annotation.given import Given
from pointseg.datasets.field import field
from pointseg.errors import InputError
from tests.site import CRS, ORIGIN, frame, write_image

SHAPE = (96, 128)
SPLIT = {"bands": None, "classes": None, "not_land_cover": [], "val": 0.25, "test": 0.0, "block": 8, "split_seed": 0}
READ = {"column": "class", "layer": None, "crs": None, "outside": "refuse", "nodata": "skip", "contradicting": "refuse"}

Click = tuple[int, int, str]
CLICKS: list[Click] = [
    (row, col, ("forêt", "sand")[(row // 9 + col // 11) % 2]) for row in range(4, 96, 9) for col in range(3, 128, 11)
]
"""On a grid, of two classes."""


@dataclass(frozen=True)
class Told:
    """What a case gives to `field`, by key, and to `Given`; and the pixels (scene id, row, col, class) that it means.

    refused: whether that is the answer wanted; a case may be refused although it could be read.
    """

    images: Any
    points: Any
    pixels: set[tuple[str, int, int, str]]
    given: dict[str, Any]
    dataset: dict[str, Any]
    refused: bool = False


CASES: dict[str, Callable[[Path], Told]] = {}


def case(function: Callable[[Path], Told]) -> Callable[[Path], Told]:
    CASES[function.__name__] = function
    return function


def told(
    folder: Path, points: Any, clicks: Any = None, images: Any = None, refused: bool = False, **options: Any
) -> Told:
    """clicks: by scene; else CLICKS in the scene a. options: of Given and of field."""
    by_scene = {"a": CLICKS} if clicks is None else clicks
    pixels = {(scene, *click) for scene, these in by_scene.items() for click in these}
    names = [str(folder / name) for name in ([points] if isinstance(points, str) else points)]
    of_given = {key: value for key, value in options.items() if key in Given.__dataclass_fields__}
    of_field = {key: value for key, value in options.items() if key not in of_given}
    return Told(str(folder / "a.tif") if images is None else images, names, pixels, of_given, of_field, refused)


def outcome(case: Callable[[Path], Told], folder: Path) -> tuple[str, str, str]:
    """right, clear or wrong; which of the first two is wanted; and why it is another."""
    folder.mkdir(parents=True, exist_ok=True)
    expected = case(folder)
    word, reason = _read(expected)
    return word, "clear" if expected.refused else "right", reason


def _read(expected: Told) -> tuple[str, str]:
    try:
        annotation = Given(**{**READ, **expected.given})
        arguments = {**SPLIT, "images": expected.images, "points": expected.points, **expected.dataset}
        dataset = field(annotation=annotation, **arguments)
    except InputError as error:
        return "clear", str(error)
    except Exception as error:
        return "wrong", f"{type(error).__name__}: {error}"
    found = {
        (scene.group, int(row), int(col), dataset.classes[label])  # type: ignore[attr-defined]
        for split in dataset.splits.values()
        for scene in split
        for row, col, label in zip(scene.points.rows, scene.points.cols, scene.points.labels, strict=True)  # type: ignore[attr-defined]
    }
    if expected.refused:
        return "wrong", "used"
    lost, more = expected.pixels - found, found - expected.pixels
    return ("right", "") if not lost and not more else ("wrong", f"lost {sorted(lost)[:3]}, more {sorted(more)[:3]}")


def georeferenced(folder: Path, name: str = "a.tif", **options: Any) -> Path:
    write_image(folder / name, SHAPE, **options)
    return folder / name


def picture(folder: Path, name: str) -> Path:
    write_image(folder / name, SHAPE, crs=None)
    return folder / name


def on_map(clicks: list[Click] = CLICKS) -> pd.DataFrame:
    located = frame(clicks)
    return pd.DataFrame({"x": located.geometry.x, "y": located.geometry.y, "class": located["class"]})


def in_pixels(clicks: list[Click] = CLICKS, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame(clicks, columns=["row", "col", "class"]).assign(**columns)


def degrees() -> pd.DataFrame:
    located = frame(CLICKS).to_crs("EPSG:4326")
    return pd.DataFrame({"lon": located.geometry.x, "lat": located.geometry.y, "class": located["class"]})


# Tables


@case
def csv_with_a_byte_order_mark(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, encoding="utf-8-sig")
    return told(folder, "p.csv", crs=CRS)


@case
def csv_in_utf16_with_tabs(folder: Path) -> Told:
    """Excel's "Unicode text"."""
    georeferenced(folder)
    on_map().to_csv(folder / "p.txt", index=False, encoding="utf-16", sep="\t")
    return told(folder, "p.txt", crs=CRS)


@case
def csv_in_latin_1(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, encoding="latin-1")
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_with_spaces_in_its_header(folder: Path) -> Told:
    georeferenced(folder)
    on_map().rename(columns=" {} ".format).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_semicolons_and_decimal_commas(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, sep=";", decimal=",")
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_semicolons_and_decimal_points(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, sep=";")
    return told(folder, "p.csv", crs=CRS)


@case
def txt_with_columns_between_spaces(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.txt").write_text(on_map().to_string(index=False))
    return told(folder, "p.txt", crs=CRS)


@case
def tsv(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.tsv", index=False, sep="\t")
    return told(folder, "p.tsv", crs=CRS)


@case
def csv_of_degrees_minutes_and_seconds(folder: Path) -> Told:
    georeferenced(folder)
    degrees().assign(lon="55°0'49\"E").to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", refused=True)


@case
def csv_of_degrees_beside_a_projected_crs(folder: Path) -> Told:
    """annotation.crs is meant for the other file."""
    georeferenced(folder)
    degrees()[::2].to_csv(folder / "p.csv", index=False)
    on_map()[1::2].to_csv(folder / "q.csv", index=False)
    return told(folder, ["p.csv", "q.csv"], crs=CRS)


@case
def csv_with_capital_headers(folder: Path) -> Told:
    georeferenced(folder)
    on_map().rename(columns=str.upper).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_x_and_capital_x(folder: Path) -> Told:
    georeferenced(folder)
    on_map().assign(X=0).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_with_row_and_capital_row(folder: Path) -> Told:
    georeferenced(folder)
    in_pixels(Row=0).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", refused=True)


@case
def csv_of_wkt_as_qgis_writes_it(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    pd.DataFrame({"WKT": located.geometry.to_wkt(), "class": located["class"]}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_trailing_separators_and_empty_lines(folder: Path) -> Told:
    georeferenced(folder)
    lines = on_map().to_csv(index=False).splitlines()
    (folder / "p.csv").write_text("\n".join(f"{line},," for line in lines) + "\n,,,,\n\n")
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_a_comma_in_a_name(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_text(on_map().to_csv(index=False) + "300001,2799999,forêt, dense\n")
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_with_a_quote_that_is_never_closed(folder: Path) -> Told:
    georeferenced(folder)
    text = on_map().to_csv(index=False).splitlines()
    text[3] = text[3].replace(",sand", ',"sand').replace(",forêt", ',"forêt')
    (folder / "p.csv").write_text("\n".join(text))
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_of_thousands_with_commas(folder: Path) -> Told:
    georeferenced(folder)
    on_map().assign(x=[f"{x:,.2f}" for x in on_map()["x"]]).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_of_arcgis(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map().rename(columns={"x": "POINT_X", "y": "POINT_Y"})
    table.to_csv(folder / "p.csv", index_label="OID_")
    return told(folder, "p.csv", crs=CRS)


@case
def csv_of_minus_signs_as_printed(folder: Path) -> Told:
    transform = from_origin(-300_000, 2_800_000, 0.5, 0.5)
    georeferenced(folder, transform=transform)
    located = frame(CLICKS, transform)
    x = [f"{x}".replace("-", "\N{MINUS SIGN}") for x in located.geometry.x]
    pd.DataFrame({"x": x, "y": located.geometry.y, "class": located["class"]}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_whose_header_alone_is_there(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_text("x,y,class\n")
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def empty_csv(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_text("")
    return told(folder, "p.csv", crs=CRS, refused=True)


# Names of classes


def renamed(folder: Path, forest: str, sand: str, shown: tuple[str, str] | None = None, **options: Any) -> Told:
    georeferenced(folder)
    mapping = {"forêt": forest, "sand": sand}
    table = on_map()
    table.assign(**{"class": table["class"].map(mapping)}).to_csv(folder / "p.csv", index=False)
    new = dict(zip(mapping, shown or (forest, sand), strict=True))
    return told(folder, "p.csv", {"a": [(r, c, new[name]) for r, c, name in CLICKS]}, crs=CRS, **options)


@case
def classes_called_none_and_na(folder: Path) -> Told:
    return renamed(folder, "None", "NA")


@case
def classes_called_null_and_nan(folder: Path) -> Told:
    return renamed(folder, "null", "nan")


@case
def classes_called_n_a_and_true(folder: Path) -> Told:
    return renamed(folder, "N/A", "True")


@case
def classes_that_are_numbers_and_named_so(folder: Path) -> Told:
    return renamed(folder, "1", "2", classes=[1, 2])


@case
def classes_that_are_numbers_with_colours(folder: Path) -> Told:
    return renamed(folder, "1", "2", classes={1: "#0000FF", 2: "#FF0000"})


@case
def classes_that_are_truth_values(folder: Path) -> Told:
    return renamed(folder, "true", "false", classes=[True, False])


@case
def classes_with_leading_zeros(folder: Path) -> Told:
    return renamed(folder, "007", "012")


@case
def numbers_from_two_files(folder: Path) -> Told:
    """A column of whole numbers that lacks one is of floating-point numbers."""
    georeferenced(folder)
    located = frame(CLICKS)
    located["class"] = located["class"].map({"forêt": 1, "sand": 2})
    located[::2].to_file(folder / "p.gpkg")
    half = located[1::2].copy()
    half["class"] = half["class"].astype(float)
    lacking = pd.concat([half, half.head(1).assign(**{"class": np.nan})])
    lacking.to_file(folder / "q.geojson", driver="GeoJSON")
    clicks = [(r, c, {"forêt": "1", "sand": "2"}[name]) for r, c, name in CLICKS]
    return told(folder, ["p.gpkg", "q.geojson"], {"a": clicks})


@case
def composed_and_decomposed_accents(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map()
    table.loc[::2, "class"] = table.loc[::2, "class"].str.normalize("NFD")
    table.to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def one_class_in_capitals_here_and_there(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map()
    table.loc[:9, "class"] = table.loc[:9, "class"].str.upper()
    table.to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def named_classes_in_another_spelling(folder: Path) -> Told:
    return renamed(folder, "forêt", "sand", ("Forêt", "Sand"), classes=["Forêt", "Sand"])


@case
def one_class_named_twice(folder: Path) -> Told:
    return renamed(folder, "forêt", "sand", classes=["forêt", "sand", "Sand"], refused=True)


@case
def classes_in_other_scripts(folder: Path) -> Told:
    return renamed(folder, "水域", "जंगल")


# Files of GIS


@case
def geopackage_with_a_style_saved_by_qgis(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg", layer="points")
    with sqlite3.connect(folder / "p.gpkg") as database:
        database.execute("CREATE TABLE layer_styles (id INTEGER PRIMARY KEY, f_table_name TEXT, styleQML TEXT)")
        database.execute("INSERT INTO layer_styles VALUES (1, 'points', '<qgis/>')")
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 's')"
        )
    return told(folder, "p.gpkg")


@case
def a_layer_that_one_file_alone_has(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located[::2].to_file(folder / "p.gpkg", layer="points")
    located[:1].to_file(folder / "p.gpkg", layer="old")
    located[1::2].to_file(folder / "q.gpkg", layer="next")
    return told(folder, ["p.gpkg", "q.gpkg"], layer="points")


@case
def a_second_layer_without_classes(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg", layer="points")
    area = geopandas.GeoDataFrame({"owner": ["x"]}, geometry=[shapely.box(0, 0, 1, 1)], crs=CRS)
    area.to_file(folder / "p.gpkg", layer="boundary")
    return told(folder, "p.gpkg")


@case
def geojson_in_metres_without_a_crs(folder: Path) -> Told:
    georeferenced(folder)
    content = json.loads(frame(CLICKS).to_json())
    content.pop("crs", None)
    (folder / "p.geojson").write_text(json.dumps(content))
    return told(folder, "p.geojson", refused=True)


@case
def geojson_in_metres_whose_crs_is_given(folder: Path) -> Told:
    case_ = geojson_in_metres_without_a_crs(folder)
    return Told(case_.images, case_.points, case_.pixels, {"crs": CRS}, {})


@case
def shapefile_with_capital_column(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).rename(columns={"class": "CLASS"}).to_file(folder / "p.shp", encoding="utf-8")
    return told(folder, "p.shp")


@case
def zipped_shapefile(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.shp", encoding="utf-8")
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        for file in folder.glob("p.*"):
            if file.suffix != ".zip":
                archive.write(file, file.name)
    return told(folder, "p.zip")


@case
def zipped_csv(folder: Path) -> Told:
    georeferenced(folder)
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        archive.writestr("p.csv", on_map().to_csv(index=False))
    return told(folder, "p.zip", crs=CRS)


@case
def points_by_a_pattern(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located[::2].to_file(folder / "p1.gpkg")
    located[1::2].to_file(folder / "p2.gpkg")
    return told(folder, "p*.gpkg")


@case
def files_with_brackets_in_their_names(folder: Path) -> Told:
    georeferenced(folder, "ortho [1].tif")
    frame(CLICKS).to_file(folder / "p [2].gpkg")
    return told(folder, "p [2].gpkg", {"ortho [1]": CLICKS}, str(folder / "ortho [1].tif"))


@case
def multipoints(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).dissolve("class").reset_index().to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def a_file_for_each_class(folder: Path) -> Told:
    georeferenced(folder)
    for name, of_class in frame(CLICKS).groupby("class"):
        of_class.drop(columns="class").assign(id=1).to_file(folder / f"{name}.gpkg")
    return told(folder, "*.gpkg", column=None)


@case
def points_in_three_dimensions(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located.geometry = shapely.force_3d(located.geometry, 12.5)
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def a_file_in_which_nothing_is_labelled_yet(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).assign(**{"class": ""}).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", refused=True)


@case
def longitude_and_latitude_exchanged(folder: Path) -> Told:
    georeferenced(folder)
    degrees().rename(columns={"lon": "lat", "lat": "lon"}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", refused=True)


@case
def longitudes_to_360_and_points_from_minus_180(folder: Path) -> Told:
    transform = from_origin(200.0, 40.0, 0.01, 0.01)
    georeferenced(folder, crs="EPSG:4326", transform=transform)
    located = frame(CLICKS, transform, "EPSG:4326")
    located.geometry = shapely.transform(located.geometry, lambda xy: xy - (360, 0))
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def map_coordinates_of_a_world_file(folder: Path) -> Told:
    """Neither image nor points say their CRS."""
    write_image(folder / "a.png", SHAPE, crs=None)
    (folder / "a.pgw").write_text("0.5\n0\n0\n-0.5\n300000.25\n2799999.75\n")
    on_map().to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", images=str(folder / "a.png"))


# Scenes


@case
def pictures_of_one_name_in_two_folders(folder: Path) -> Told:
    for name in ("x/ortho.png", "y/ortho.png"):
        picture(folder, name)
    half = {"x/ortho": CLICKS[::2], "y/ortho": CLICKS[1::2]}
    pd.concat([in_pixels(clicks, scene=f"{name}.png") for name, clicks in half.items()]).to_csv(folder / "p.csv")
    return told(folder, "p.csv", half, str(folder / "*/ortho.png"))


@case
def windows_paths_of_pictures(folder: Path) -> Told:
    for name in ("x/ortho.png", "y/ortho.png"):
        picture(folder, name)
    half = {"x/ortho": CLICKS[::2], "y/ortho": CLICKS[1::2]}
    parts = [in_pixels(clicks, scene=f"C:\\site\\{name[0]}\\ortho.png") for name, clicks in half.items()]
    pd.concat(parts).to_csv(folder / "p.csv")
    return told(folder, "p.csv", half, str(folder / "*/ortho.png"))


@case
def a_name_that_two_pictures_have(folder: Path) -> Told:
    for name in ("x/ortho.png", "y/ortho.png"):
        picture(folder, name)
    in_pixels(scene="ortho.png").to_csv(folder / "p.csv")
    return told(folder, "p.csv", {}, str(folder / "*/ortho.png"), refused=True)


@case
def two_folders_of_another_machine(folder: Path) -> Told:
    """Only one picture is here; the points of the other must not fall on it."""
    picture(folder, "z/ortho.png")
    picture(folder, "z/other.png")
    half = [
        in_pixels(clicks, scene=f"/home/me/{name}/ortho.png") for name, clicks in zip("xy", (CLICKS, []), strict=True)
    ]
    half[1] = in_pixels([(1, 1, "sand")], scene="/home/me/y/ortho.png")
    pd.concat(half).to_csv(folder / "p.csv")
    return told(folder, "p.csv", {}, str(folder / "z/*.png"), refused=True)


@case
def a_scene_that_is_not_there(folder: Path) -> Told:
    picture(folder, "b.png")
    picture(folder, "c.png")
    in_pixels(scene="a.png").to_csv(folder / "p.csv")
    return told(folder, "p.csv", {}, str(folder / "*.png"), refused=True)


@case
def links_into_a_store(folder: Path) -> Told:
    georeferenced(folder, "store/9f86d081884c")
    (folder / "a.tif").symlink_to(folder / "store/9f86d081884c")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def a_link_to_a_folder(folder: Path) -> Told:
    georeferenced(folder, "disk/2023/a.tif")
    georeferenced(folder, "disk/b.tif", offset=5000)
    (folder / "site").mkdir()
    (folder / "site/linked").symlink_to(folder / "disk/2023")
    (folder / "site/linked/again").symlink_to(folder / "site")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "site"))


@case
def one_image_by_two_names(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "latest.tif").symlink_to(folder / "a.tif")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "*.tif"))


@case
def stray_files_beside_the_image(folder: Path) -> Told:
    georeferenced(folder, "site/a.tif")
    for name in (
        "._a.tif",
        "@eaDir/a.tif/SYNOPHOTO_THUMB_M.jpg",
        ".ipynb_checkpoints/a.tif",
        "empty.tif",
        "thumbs/a.jpg",
    ):
        (folder / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "site" / name).write_bytes(b"" if name == "empty.tif" else b"stray")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "site"))


@case
def zipped_images(folder: Path) -> Told:
    georeferenced(folder)
    with zipfile.ZipFile(folder / "site.zip", "w") as archive:
        archive.write(folder / "a.tif", "inner/a.tif")
        archive.writestr("__MACOSX/inner/._a.tif", "stray")
    os.remove(folder / "a.tif")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "site.zip"))


@case
def image_by_gdals_name_in_an_archive(folder: Path) -> Told:
    zipped_images(folder)
    return told(folder, "p.gpkg", images=f"/vsizip/{folder}/site.zip/inner/a.tif")


@case
def a_directory_of_a_tiff(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a_1": CLICKS}, f"GTIFF_DIR:1:{folder}/a.tif")


@case
def images_in_a_list(folder: Path) -> Told:
    georeferenced(folder, "a, (1) $x.tif")
    (folder / "images.txt").write_text(f"{folder}/a, (1) $x.tif\n")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a, (1) $x": CLICKS}, f"@{folder}/images.txt")


@case
def two_dates_of_one_ground_all(folder: Path) -> Told:
    for name in ("s2_20230601.tif", "s2_20230901.tif"):
        georeferenced(folder, name)
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"s2_20230601": CLICKS, "s2_20230901": CLICKS}, str(folder / "*.tif"))


@case
def two_dates_of_one_ground_by_a_column(folder: Path) -> Told:
    for name in ("s2_20230601.tif", "s2_20230901.tif"):
        georeferenced(folder, name)
    dates = ["2023-06-01" if i % 2 else "2023-09-01" for i in range(len(CLICKS))]
    located = frame(CLICKS).assign(date=pd.to_datetime(dates))
    located.to_file(folder / "p.gpkg")
    clicks = {"s2_20230601": CLICKS[1::2], "s2_20230901": CLICKS[::2]}
    return told(folder, "p.gpkg", clicks, str(folder / "*.tif"), scene="date")


@case
def two_dates_of_one_ground_first(folder: Path) -> Told:
    for name in ("s2_20230601.tif", "s2_20230901.tif"):
        georeferenced(folder, name)
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"s2_20230601": CLICKS}, str(folder / "*.tif"), several="first")


# Exports of annotation tools


def label_studio(image: str, size: tuple[int, int] = SHAPE) -> list[dict[str, Any]]:
    height, width = size
    result = [
        {"type": "keypointlabels", "original_width": width, "original_height": height, "image_rotation": 0}
        | {"from_name": "kp", "to_name": "image"}
        | {"value": {"x": (c + 0.5) / 128 * 100, "y": (r + 0.5) / 96 * 100, "width": 0.5, "keypointlabels": [name]}}
        for r, c, name in CLICKS
    ]
    return [{"id": 1, "data": {"image": image}, "annotations": [{"id": 1, "was_cancelled": False, "result": result}]}]


@case
def label_studio_of_an_upload(folder: Path) -> Told:
    picture(folder, "a.png")
    (folder / "p.json").write_text(json.dumps(label_studio("/data/upload/1/3f2a9c1b-a.png")))
    return told(folder, "p.json", images=str(folder / "a.png"))


@case
def label_studio_of_a_local_file(folder: Path) -> Told:
    picture(folder, "x/a.png")
    picture(folder, "y/a.png")
    (folder / "p.json").write_text(json.dumps(label_studio("/data/local-files/?d=site%2Fy%2Fa.png")))
    return told(folder, "p.json", {"y/a": CLICKS}, str(folder / "*/a.png"))


@case
def label_studio_of_a_smaller_copy(folder: Path) -> Told:
    picture(folder, "a.png")
    (folder / "p.json").write_text(json.dumps(label_studio("a.png", (48, 64))))
    return told(folder, "p.json", images=str(folder / "a.png"))


@case
def label_studio_of_a_crop(folder: Path) -> Told:
    picture(folder, "a.png")
    (folder / "p.json").write_text(json.dumps(label_studio("a.png", (64, 64))))
    return told(folder, "p.json", images=str(folder / "a.png"), refused=True)


@case
def label_studio_min(folder: Path) -> Told:
    picture(folder, "a.png")
    regions = label_studio("a.png")[0]["annotations"][0]["result"]
    flat = [{"original_width": 128, "original_height": 96, **region["value"]} for region in regions]
    (folder / "p.json").write_text(json.dumps([{"id": 1, "image": "/data/upload/1/3f2a9c1b-a.png", "kp": flat}]))
    return told(folder, "p.json", images=str(folder / "a.png"))


@case
def cvat_for_images(folder: Path) -> Told:
    picture(folder, "a.png")
    points = "".join(
        f'<points label="{name}" points="{c + 0.31:.2f},{r + 0.66:.2f}" occluded="0" z_order="0" source="manual"/>'
        for r, c, name in CLICKS
    )
    image = f'<image id="0" name="a.png" width="128" height="96">{points}</image>'
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{image}</annotations>'
    (folder / "annotations.xml").write_text(text, encoding="utf-8")
    with zipfile.ZipFile(folder / "p.zip", "w") as archive:
        archive.write(folder / "annotations.xml", "annotations.xml")
    return told(folder, "p.zip", images=str(folder / "a.png"))


@case
def cvat_of_a_video(folder: Path) -> Told:
    picture(folder, "a.png")
    track = '<track id="0" label="x"><points frame="0" points="1,1"/></track>'
    (folder / "p.xml").write_text(f"<annotations>{track}</annotations>")
    return told(folder, "p.xml", images=str(folder / "a.png"), refused=True)


@case
def labelme_of_two_images(folder: Path) -> Told:
    half = {"a": CLICKS[::2], "b": CLICKS[1::2]}
    for name, clicks in half.items():
        picture(folder, f"{name}.png")
        shapes = [
            {"label": n, "points": [[c + 0.7, r + 0.2]], "group_id": None, "shape_type": "point", "flags": {}}
            for r, c, n in clicks
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{name}.png"}
        content |= {"imageData": None, "imageHeight": 96, "imageWidth": 128}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return told(folder, "*.json", half, str(folder / "*.png"))


@case
def napari_points_with_classes(folder: Path) -> Told:
    picture(folder, "a.png")
    table = in_pixels().rename(columns={"row": "axis-0", "col": "axis-1"})
    table[["axis-0", "axis-1"]] += 0.3
    table.to_csv(folder / "p.csv", index_label="index")
    return told(folder, "p.csv", images=str(folder / "a.png"))


@case
def napari_layer_for_each_class(folder: Path) -> Told:
    picture(folder, "a.png")
    for name, of_class in in_pixels().groupby("class"):
        table = of_class[["row", "col"]].rename(columns={"row": "axis-0", "col": "axis-1"}).astype(float)
        table.to_csv(folder / f"{name}.csv", index_label="index")
    return told(folder, "*.csv", images=str(folder / "a.png"), column=None)


@case
def napari_points_in_a_stack(folder: Path) -> Told:
    picture(folder, "a.png")
    (folder / "p.csv").write_text("index,axis-0,axis-1,axis-2,class\n0,0,5,6,sand\n1,1,7,8,water\n")
    return told(folder, "p.csv", images=str(folder / "a.png"), refused=True)


# What nobody had reported

SQUARE, RING = (
    shapely.box(10.2, 12.7, 40.1, 30.9),
    shapely.Polygon(shapely.box(60, 40, 100, 80).exterior.coords, [shapely.box(70, 50, 90, 70).exterior.coords]),
)
EVERY = 100_000  # pixels of each shape: all


MORE: list[Click] = [(90, 3, "sand"), (3, 120, "forêt"), (90, 120, "forêt")]
"""Points beside the shapes, so that some can be held out."""


def inside(*shapes: tuple[str, shapely.Geometry]) -> dict[str, list[Click]]:
    """MORE, and all pixels of the scene a whose centres lie in shapes, which are in pixels from the corner."""
    rows, cols = (axis.ravel() for axis in np.mgrid[: SHAPE[0], : SHAPE[1]])
    centres = shapely.points(cols + 0.5, rows + 0.5)
    clicks = [
        (int(rows[i]), int(cols[i]), name)
        for name, shape in shapes
        for i in np.flatnonzero(shapely.contains(shape, centres))
    ]
    return {"a": [*MORE, *clicks]}


def of_shapes(crs: Any = CRS) -> geopandas.GeoDataFrame:
    a, b, c, d, e, f = frame_transform()
    located = [shapely.transform(shape, lambda xy: xy @ [[a, d], [b, e]] + [c, f]) for shape in (SQUARE, RING)]
    return geopandas.GeoDataFrame({"class": ["sand", "forêt"]}, geometry=located, crs=CRS).to_crs(crs)


def frame_transform() -> tuple[float, ...]:
    return tuple(ORIGIN[:6])


@case
def polygons_with_a_hole(folder: Path) -> Told:
    georeferenced(folder)
    pd.concat([of_shapes(), frame(MORE)]).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", inside(("sand", SQUARE), ("forêt", RING)), per_shape=EVERY)


@case
def polygons_of_labelme(folder: Path) -> Told:
    picture(folder, "a.png")
    square = {"label": "sand", "points": [[10.2, 12.7], [40.1, 30.9]], "shape_type": "rectangle"}
    outline = {"label": "forêt", "points": [[60, 40], [100, 40], [100, 80], [60, 80]], "shape_type": "polygon"}
    points = [{"label": name, "points": [[c + 0.5, r + 0.5]], "shape_type": "point"} for r, c, name in MORE]
    content = {"shapes": [square, outline, *points], "imagePath": "a.png", "imageHeight": 96, "imageWidth": 128}
    (folder / "p.json").write_text(json.dumps(content))
    clicks = inside(("sand", SQUARE), ("forêt", shapely.box(60, 40, 100, 80)))
    return told(folder, "p.json", clicks, str(folder / "a.png"), per_shape=EVERY)


@case
def polygons_of_cvat(folder: Path) -> Told:
    picture(folder, "a.png")
    shapes = (
        '<box label="sand" xtl="10.2" ytl="12.7" xbr="40.1" ybr="30.9" z_order="0"/>'
        '<polygon label="forêt" points="60,40;100,40;100,80;60,80" z_order="0"/><tag label="summer"/>'
    ) + "".join(f'<points label="{name}" points="{c}.5,{r}.5"/>' for r, c, name in MORE)
    text = f'<annotations><image id="0" name="b/a.png" width="128" height="96">{shapes}</image></annotations>'
    (folder / "p.xml").write_text(text, encoding="utf-8")
    clicks = inside(("sand", SQUARE), ("forêt", shapely.box(60, 40, 100, 80)))
    return told(folder, "p.xml", clicks, str(folder / "a.png"), per_shape=EVERY)


@case
def polygons_of_label_studio(folder: Path) -> Told:
    picture(folder, "a.png")
    common = {"original_width": 128, "original_height": 96, "image_rotation": 0}
    box = {"x": 10.2 / 1.28, "y": 12.7 / 0.96, "width": 29.9 / 1.28, "height": 18.2 / 0.96, "rotation": 0}
    ring = [[60 / 1.28, 40 / 0.96], [100 / 1.28, 40 / 0.96], [100 / 1.28, 80 / 0.96], [60 / 1.28, 80 / 0.96]]
    result = [
        {**common, "type": "rectanglelabels", "value": {**box, "rectanglelabels": ["sand"]}},
        {**common, "type": "polygonlabels", "value": {"points": ring, "polygonlabels": ["forêt"]}},
    ]
    result += [
        {**common, "value": {"x": (c + 0.5) / 1.28, "y": (r + 0.5) / 0.96, "keypointlabels": [name]}}
        for r, c, name in MORE
    ]
    cancelled = {"was_cancelled": True, "result": [{**result[0], "value": {**box, "rectanglelabels": ["forêt"]}}]}
    task = {"data": {"image": "s3://bucket/a.png"}, "annotations": [{"result": result}, cancelled]}
    (folder / "p.json").write_text(json.dumps([task]))
    clicks = inside(("sand", SQUARE), ("forêt", shapely.box(60, 40, 100, 80)))
    return told(folder, "p.json", clicks, str(folder / "a.png"), per_shape=EVERY)


@case
def brushes_of_label_studio(folder: Path) -> Told:
    picture(folder, "a.png")
    tasks = label_studio("a.png")
    brush = {"original_width": 128, "original_height": 96, "value": {"rle": [1, 2], "brushlabels": ["sand"]}}
    tasks[0]["annotations"][0]["result"].append(brush)
    (folder / "p.json").write_text(json.dumps(tasks))
    return told(folder, "p.json", images=str(folder / "a.png"), refused=True)


@case
def csv_whose_first_line_names_the_separator(folder: Path) -> Told:
    """Excel's."""
    georeferenced(folder)
    (folder / "p.csv").write_text("sep=;\n" + on_map().to_csv(index=False, sep=";"))
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_comments_before_its_header(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_text("# made in the field\n#\n" + on_map().to_csv(index=False))
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_the_line_ends_of_old_macs(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_bytes(on_map().to_csv(index=False).replace("\n", "\r").encode())
    return told(folder, "p.csv", crs=CRS)


@case
def csv_with_everything_in_quotes(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, quoting=1)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_in_scientific_notation(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv", index=False, float_format="%.8E")
    return told(folder, "p.csv", crs=CRS)


@case
def csv_of_pixels_with_decimals(folder: Path) -> Told:
    georeferenced(folder)
    in_pixels().astype({"row": float, "col": float}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv")


@case
def csv_of_numbers_beyond_all_bounds(folder: Path) -> Told:
    georeferenced(folder)
    table = pd.concat([in_pixels(), in_pixels([(10**300, 10**18, "sand")])])
    table.to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", outside="skip")


@case
def csv_with_a_name_on_two_lines(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map()
    table["class"] = table["class"].replace({"sand": "fine\nsand"})
    table.to_csv(folder / "p.csv", index=False)
    clicks = [(r, c, {"sand": "fine sand"}.get(name, name)) for r, c, name in CLICKS]
    return told(folder, "p.csv", {"a": clicks}, crs=CRS)


@case
def gzipped_csv(folder: Path) -> Told:
    georeferenced(folder)
    on_map().to_csv(folder / "p.csv.gz", index=False)
    return told(folder, "p.csv.gz", crs=CRS)


@case
def gzipped_geopackage(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg")
    (folder / "p.gpkg.gz").write_bytes(gzip.compress((folder / "p.gpkg").read_bytes()))
    return told(folder, "p.gpkg.gz", refused=True)


def workbook(folder: Path, name: str, driver: str, table: pd.DataFrame, **options: Any) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(table, folder / name, driver=driver, layer="points")
    return told(folder, name, crs=CRS, **options)


@case
def excel(folder: Path) -> Told:
    return workbook(folder, "p.xlsx", "XLSX", on_map())


@case
def excel_with_text_for_numbers_and_an_empty_row(folder: Path) -> Told:
    table = on_map().astype("object").map(str)
    return workbook(folder, "p.xlsx", "XLSX", pd.concat([table[:3], table[:1].map(lambda _: None), table[3:]]))


@case
def excel_of_pixels(folder: Path) -> Told:
    return workbook(folder, "p.xlsx", "XLSX", in_pixels())


@case
def libre_office(folder: Path) -> Told:
    return workbook(folder, "p.ods", "ODS", on_map())


@case
def excel_of_two_sheets(folder: Path) -> Told:
    excel(folder)
    pyogrio.write_dataframe(on_map(), folder / "p.xlsx", driver="XLSX", layer="more", append=True)
    return told(folder, "p.xlsx", crs=CRS, refused=True)


@case
def excel_of_two_sheets_of_which_one_is_named(folder: Path) -> Told:
    excel_of_two_sheets(folder)
    return told(folder, "p.xlsx", crs=CRS, layer="points")


@case
def excel_cut_short(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.xlsx").write_bytes(b"PK\x03\x04 a workbook")
    return told(folder, "p.xlsx", refused=True)


@case
def a_mask_given_as_points(folder: Path) -> Told:
    georeferenced(folder)
    georeferenced(folder, "mask.tif", bands=1)
    return told(folder, "mask.tif", refused=True)


@case
def shapefile_without_prj(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.shp", encoding="utf-8")
    (folder / "p.prj").unlink()
    return told(folder, "p.shp", refused=True)


@case
def shapefile_without_prj_whose_crs_is_given(folder: Path) -> Told:
    shapefile_without_prj(folder)
    return told(folder, "p.shp", crs=CRS)


@case
def shapefile_without_dbf(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.shp", encoding="utf-8")
    (folder / "p.dbf").unlink()
    return told(folder, "p.shp", refused=True)


@case
def shapefile_whose_column_was_cut(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).rename(columns={"class": "land_cover_class"}).to_file(folder / "p.shp", encoding="utf-8")
    return told(folder, "p.shp", column="land_cover_class")


@case
def flatgeobuf(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.fgb")
    return told(folder, "p.fgb")


@case
def kml(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_crs("EPSG:4326").rename(columns={"class": "Name"}).to_file(folder / "p.kml", driver="LIBKML")
    return told(folder, "p.kml", column="Name")


@case
def geojson_with_a_byte_order_mark(folder: Path) -> Told:
    georeferenced(folder)
    text = frame(CLICKS).to_crs("EPSG:4326").to_json()
    (folder / "p.geojson").write_text(text, encoding="utf-8-sig")
    return told(folder, "p.geojson")


@case
def geojson_called_json(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.json").write_text(frame(CLICKS).to_crs("EPSG:4326").to_json(), encoding="utf-8-sig")
    return told(folder, "p.json")


@case
def geopackage_that_qgis_has_open(folder: Path) -> Told:
    """Its last edits lie in the write-ahead log beside it."""
    georeferenced(folder)
    unlike = frame([(r, c, "sand") for r, c, _ in CLICKS])
    unlike.to_file(folder / "p.gpkg", layer="p", SPATIAL_INDEX="NO")  # whose triggers SQLite alone does not know
    database = sqlite3.connect(folder / "p.gpkg")
    database.execute("PRAGMA journal_mode=WAL")
    for line, (_, _, name) in enumerate(CLICKS, 1):
        database.execute("UPDATE p SET class=? WHERE fid=?", (name, line))
    database.commit()
    OPEN.append(database)
    return told(folder, "p.gpkg")


OPEN: list[sqlite3.Connection] = []


@case
def geopackage_of_whole_numbers_with_nulls(folder: Path) -> Told:
    georeferenced(folder)
    located = frame([*CLICKS, (1, 1, "sand")])
    located["class"] = pd.array([{"forêt": 11, "sand": 12}[name] for name in located["class"][:-1]] + [None], "Int64")
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a": [(r, c, {"forêt": "11", "sand": "12"}[name]) for r, c, name in CLICKS]})


@case
def one_file_twice(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, ["p.gpkg", "p.gpkg"])


@case
def a_folder_of_points(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "points").mkdir()
    frame(CLICKS).to_file(folder / "points/p.gpkg")
    return told(folder, "points", refused=True)


@case
def points_on_the_edges_of_pixels(folder: Path) -> Told:
    """A pixel has its upper and left edge."""
    georeferenced(folder)
    located = frame(CLICKS)
    located.geometry = shapely.transform(located.geometry, lambda xy: np.add(xy, (-0.25, 0.25)))
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def image_whose_rows_count_from_the_south(folder: Path) -> Told:
    transform = Affine(0.5, 0, 300_000, 0, 0.5, 2_799_000)
    georeferenced(folder, transform=transform)
    frame(CLICKS, transform).to_crs("EPSG:4326").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def image_turned_on_the_map(folder: Path) -> Told:
    transform = Affine.translation(300_000, 2_800_000) * Affine.rotation(33) * Affine.scale(0.5, -0.5)
    georeferenced(folder, transform=transform)
    frame(CLICKS, transform).to_crs("EPSG:4326").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def images_in_two_zones(folder: Path) -> Told:
    other = from_origin(600_000, 5_000_000, 0.5, 0.5)
    georeferenced(folder, "a.tif")
    georeferenced(folder, "b.tif", crs="EPSG:32633", transform=other)
    located = [frame(CLICKS[::2]).to_crs("EPSG:4326"), frame(CLICKS[1::2], other, "EPSG:32633").to_crs("EPSG:4326")]
    pd.concat(located).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a": CLICKS[::2], "b": CLICKS[1::2]}, str(folder / "*.tif"))


@case
def image_across_the_date_line(folder: Path) -> Told:
    transform = from_origin(179.9, 10.0, 0.002, 0.002)
    georeferenced(folder, crs="EPSG:4326", transform=transform)
    located = frame(CLICKS, transform, "EPSG:4326")
    located.geometry = shapely.transform(located.geometry, lambda xy: np.add(xy, (180, 0)) % (360, 1e9) - (180, 0))
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def names_of_pictures_with_decomposed_accents(folder: Path) -> Told:
    """As macOS once wrote them."""
    for name in ("fore\u0302t.png", "plage.png"):
        picture(folder, name)
    half = [in_pixels(CLICKS[::2], scene="for\u00eat.png"), in_pixels(CLICKS[1::2], scene="plage")]
    pd.concat(half).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", {"fore\u0302t": CLICKS[::2], "plage": CLICKS[1::2]}, str(folder / "*.png"))


@case
def pictures_named_by_numbers(folder: Path) -> Told:
    for name in ("1.png", "10.png"):
        picture(folder, name)
    half = [in_pixels(CLICKS[::2], scene=1), in_pixels(CLICKS[1::2], scene=10)]
    pd.concat(half).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", {"1": CLICKS[::2], "10": CLICKS[1::2]}, str(folder / "*.png"))


@case
def pictures_in_capitals(folder: Path) -> Told:
    for name in ("DSC_1.png", "DSC_2.png"):
        picture(folder, name)
    half = [in_pixels(CLICKS[::2], scene="dsc_1.PNG"), in_pixels(CLICKS[1::2], scene="dsc_2.PNG")]
    pd.concat(half).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", {"DSC_1": CLICKS[::2], "DSC_2": CLICKS[1::2]}, str(folder / "*.png"))


@case
def scenes_whose_names_go_on_after_a_dot(folder: Path) -> Told:
    for name in ("a.png", "a.b.png"):
        picture(folder, name)
    half = [in_pixels(CLICKS[::2], scene="a"), in_pixels(CLICKS[1::2], scene="a.b")]
    pd.concat(half).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", {"a": CLICKS[::2], "a.b": CLICKS[1::2]}, str(folder / "*.png"))


@case
def a_link_that_leads_nowhere(folder: Path) -> Told:
    georeferenced(folder, "site/a.tif")
    (folder / "site/b.tif").symlink_to(folder / "gone.tif")
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "site"))


@case
def a_virtual_raster_with_relative_sources(folder: Path) -> Told:
    georeferenced(folder, "tiles/b.tif")
    a, b, c, d, e, f = frame_transform()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><SimpleSource><SourceFilename relativeToVRT="1">tiles/b.tif'
        f"</SourceFilename><SourceBand>{i}</SourceBand></SimpleSource></VRTRasterBand>"
        for i in (1, 2, 3)
    )
    place = f"<SRS>{CRS}</SRS><GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>"
    text = f'<VRTDataset rasterXSize="128" rasterYSize="96">{place}{bands}</VRTDataset>'
    (folder / "a.vrt").write_text(text)
    frame(CLICKS).to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", images=str(folder / "a.vrt"))


@case
def points_in_metres_and_in_pixels_together(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS[::2]).to_file(folder / "p.gpkg")
    in_pixels(CLICKS[1::2]).to_csv(folder / "q.csv", index=False)
    return told(folder, ["p.gpkg", "q.csv"])


@case
def points_in_a_geographic_crs_of_another_datum(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_crs("EPSG:4258").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def points_whose_crs_has_another_axis_order(folder: Path) -> Told:
    """EPSG:31467 counts north first; files count east first."""
    transform = from_origin(3_500_000, 5_400_000, 0.5, 0.5)
    georeferenced(folder, crs="EPSG:31467", transform=transform)
    frame(CLICKS, transform, "EPSG:31467").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def labels_of_two_annotators_who_differ(folder: Path) -> Told:
    georeferenced(folder)
    frame(CLICKS).to_file(folder / "p.gpkg")
    frame([(*CLICKS[0][:2], "sand")]).to_file(folder / "q.gpkg")
    return told(folder, ["p.gpkg", "q.gpkg"], refused=True)


@case
def coco(folder: Path) -> Told:
    picture(folder, "a.png")
    outlines = [[60, 40, 100, 40, 100, 80, 60, 80]]
    points = [{"bbox": [c, r, 1, 1], "category_id": 7 if name == "sand" else 9} for r, c, name in MORE]
    found = [
        {"bbox": [10.2, 12.7, 29.9, 18.2], "category_id": 7, "segmentation": []},
        {"bbox": [0, 0, 1, 1], "category_id": 9, "segmentation": outlines},
        *points,
    ]
    annotations = [{"id": i, "image_id": 3, **fields} for i, fields in enumerate(found)]
    images = [{"id": 3, "file_name": "train/a.png", "width": 128, "height": 96}]
    categories = [{"id": 7, "name": "sand"}, {"id": 9, "name": "forêt"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "p.json").write_text(json.dumps(content))
    clicks = inside(("sand", SQUARE), ("forêt", shapely.box(60, 40, 100, 80)))
    return told(folder, "p.json", clicks, str(folder / "a.png"), per_shape=EVERY)


@case
def coco_of_masks(folder: Path) -> Told:
    coco(folder)
    content = json.loads((folder / "p.json").read_text())
    content["annotations"][0]["segmentation"] = {"counts": "abc", "size": [96, 128]}
    (folder / "p.json").write_text(json.dumps(content))
    return told(folder, "p.json", images=str(folder / "a.png"), refused=True)


@case
def the_second_page_of_a_tiff(folder: Path) -> Told:
    rng = np.random.default_rng(0)
    pages = [Image.fromarray(rng.integers(0, 255, (*side, 3), np.uint8)) for side in ((9, 9), SHAPE)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    in_pixels().to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", {"pages_2": CLICKS}, f"GTIFF_DIR:2:{folder}/pages.tif")
