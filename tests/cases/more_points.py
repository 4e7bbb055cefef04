"""More labels as people have them (see `points`): containers, kinds of geometry, and what classes are called."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import shapely
from rasterio.transform import from_origin

from tests.cases.points import (
    CLICKS,
    SHAPE,
    Told,
    case,
    degrees,
    georeferenced,
    in_pixels,
    on_map,
    picture,
    renamed,
    told,
)
from tests.site import CRS, frame


@case
def geojson_with_a_crs_of_its_own(folder: Path) -> Told:
    """As of the first version of the format."""
    georeferenced(folder)
    pyogrio.write_dataframe(frame(CLICKS), folder / "p.geojson", driver="GeoJSON", RFC7946="NO")
    return told(folder, "p.geojson")


@case
def geojson_whose_features_are_a_line_each(folder: Path) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(
        frame(CLICKS).to_crs("EPSG:4326"), folder / "p.geojsonl", driver="GeoJSONSeq", COORDINATE_PRECISION=12
    )
    return told(folder, "p.geojsonl")


@case
def geojson_with_a_feature_without_geometry(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS).to_crs("EPSG:4326")
    located.loc[3, "geometry"] = None
    located.to_file(folder / "p.geojson")
    return told(folder, "p.geojson", refused=True)


@case
def empty_points(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located.loc[3, "geometry"] = shapely.Point()
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", refused=True)


@case
def points_with_measures(folder: Path) -> Told:
    georeferenced(folder)
    measured = [f"POINT ZM ({point.x} {point.y} 5 7)" for point in frame(CLICKS).geometry]
    pd.DataFrame({"wkt": measured, "class": [name for *_, name in CLICKS]}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def file_geodatabase(folder: Path) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(frame(CLICKS), folder / "p.gdb", driver="OpenFileGDB", layer="points")
    return told(folder, "p.gdb")


@case
def mapinfo(folder: Path) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(frame(CLICKS), folder / "p.mif", driver="MapInfo File", encoding="UTF-8")
    return told(folder, "p.mif")


@case
def gml(folder: Path) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(frame(CLICKS), folder / "p.gml", driver="GML")
    return told(folder, "p.gml")


@case
def spatialite(folder: Path) -> Told:
    georeferenced(folder)
    pyogrio.write_dataframe(frame(CLICKS), folder / "p.sqlite", driver="SQLite")
    return told(folder, "p.sqlite")


@case
def way_points_of_a_gps(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS).to_crs("EPSG:4326").rename(columns={"class": "name"})
    pyogrio.write_dataframe(located, folder / "p.gpx", driver="GPX", layer="waypoints")
    return told(folder, "p.gpx", column="name", layer="waypoints")


@case
def geoparquet(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.parquet").write_bytes(b"PAR1 and so on PAR1")
    return told(folder, "p.parquet", refused=True)


@case
def old_excel(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.xls").write_bytes(bytes.fromhex("D0CF11E0A1B11AE1") + bytes(2000))
    return told(folder, "p.xls", refused=True)


@case
def curves(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located.to_file(folder / "p.gpkg")
    with sqlite3.connect(folder / "p.gpkg") as database:
        database.execute("UPDATE gpkg_geometry_columns SET geometry_type_name='COMPOUNDCURVE'")
    return told(folder, "p.gpkg")


@case
def classes_that_are_dates(folder: Path) -> Told:
    return renamed(folder, "2023-06-01", "2023-06-02")


@case
def classes_that_are_dates_in_a_geopackage(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    named = {"forêt": "2023-06-01", "sand": "2023-06-02"}
    located["class"] = pd.to_datetime(located["class"].map(named)).dt.date
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a": [(r, c, named[name]) for r, c, name in CLICKS]})


@case
def classes_that_are_decimals(folder: Path) -> Told:
    return renamed(folder, "0.1", "0.30000000000000004")


@case
def classes_that_are_decimals_in_a_geopackage(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located["class"] = located["class"].map({"forêt": 0.1, "sand": 2.5})
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a": [(r, c, {"forêt": "0.1"}.get(name, "2.5")) for r, c, name in CLICKS]})


@case
def classes_of_yes_and_no_in_a_geopackage(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS)
    located["class"] = located["class"] == "sand"
    located.to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", {"a": [(r, c, str(name == "sand")) for r, c, name in CLICKS]})


@case
def classes_that_are_paths(folder: Path) -> Told:
    return renamed(folder, "land/../forest", "C:\\sand")


@case
def classes_that_are_formulas(folder: Path) -> Told:
    return renamed(folder, "=1+1", "$\\frac$")


@case
def classes_in_three_hundred_letters(folder: Path) -> Told:
    return renamed(folder, "a" * 300, "b" * 300)


@case
def classes_of_emoji(folder: Path) -> Told:
    return renamed(folder, "🌲", "🏖️")


@case
def easting_and_northing_exchanged(folder: Path) -> Told:
    georeferenced(folder)
    on_map().rename(columns={"x": "y", "y": "x"}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def latitude_first_in_a_geopackage(folder: Path) -> Told:
    georeferenced(folder)
    located = frame(CLICKS).to_crs("EPSG:4326")
    located.geometry = shapely.transform(located.geometry.to_numpy(), lambda xy: xy[:, ::-1])
    located.set_crs("EPSG:4326").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg", refused=True)


@case
def coordinates_in_kilometres(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map()
    table.assign(x=table["x"] / 1000, y=table["y"] / 1000).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def coordinates_between_0_and_1(folder: Path) -> Told:
    """As detectors of objects have them."""
    picture(folder, "a.png")
    table = in_pixels()
    pd.DataFrame({"x": table["col"] / 128, "y": table["row"] / 96, "class": table["class"]}).to_csv(folder / "p.csv")
    return told(folder, "p.csv", images=str(folder / "a.png"), refused=True)


@case
def pixels_counted_from_below(folder: Path) -> Told:
    """QGIS shows a picture without coordinates so: y is −row."""
    picture(folder, "a.png")
    table = in_pixels()
    pd.DataFrame({"x": table["col"] + 0.5, "y": -table["row"] - 0.5, "class": table["class"]}).to_csv(folder / "p.csv")
    return told(folder, "p.csv", images=str(folder / "a.png"), refused=True)


@case
def csv_with_null_bytes(folder: Path) -> Told:
    georeferenced(folder)
    (folder / "p.csv").write_bytes(on_map().to_csv(index=False).encode() + bytes(4096))
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_with_two_columns_of_classes(folder: Path) -> Told:
    georeferenced(folder)
    table = on_map()
    table.insert(2, "other", table["class"])
    (folder / "p.csv").write_text(table.to_csv(index=False).replace("other", "class", 1))
    return told(folder, "p.csv", crs=CRS, refused=True)


@case
def csv_with_lines_twice(folder: Path) -> Told:
    georeferenced(folder)
    pd.concat([on_map(), on_map()]).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS)


@case
def csv_of_pixels_outside(folder: Path) -> Told:
    picture(folder, "a.png")
    (folder / "p.csv").write_text(in_pixels().to_csv(index=False) + "-1,5,sand\n96,5,sand\n5,128,sand\n")
    return told(folder, "p.csv", images=str(folder / "a.png"), outside="skip")


@case
def a_scene_across_the_pole(folder: Path) -> Told:
    transform = from_origin(-32_000, 24_000, 500, 500)
    georeferenced(folder, crs="EPSG:3413", transform=transform)
    frame(CLICKS, transform, "EPSG:3413").to_crs("EPSG:4326").to_file(folder / "p.gpkg")
    return told(folder, "p.gpkg")


@case
def twenty_thousand_points(folder: Path) -> Told:
    georeferenced(folder)
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(0, SHAPE[0], 20_000), rng.integers(0, SHAPE[1], 20_000)
    names = np.where((rows // 16 + cols // 16) % 2, "sand", "forêt")
    table = pd.DataFrame({"row": rows, "col": cols, "class": names})
    table.to_csv(folder / "p.csv", index=False)
    every = {(int(r), int(c), str(n)) for r, c, n in table.drop_duplicates().itertuples(index=False)}
    return told(folder, "p.csv", {"a": sorted(every)})


@case
def degrees_with_a_crs_in_metres_named_for_them(folder: Path) -> Told:
    georeferenced(folder)
    degrees().rename(columns={"lon": "x", "lat": "y"}).to_csv(folder / "p.csv", index=False)
    return told(folder, "p.csv", crs=CRS, refused=True)
