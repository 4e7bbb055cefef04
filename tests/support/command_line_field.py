"""What tests share with those of command line field."""

from pathlib import Path

from tests.site import frame, pixels, write_image

TRAIN = [
    "dataset=field",
    "dataset.images=site/*.tif",
    "points=field.gpkg",
    "dataset.block=8",
    "crops.number=16",
    "model=unet",
    "crop_size=64",
    "overlap=16",
    "optimizer=adamw",
    "optimizer.lr=1e-2",
    "schedule=one_cycle",
    "trainer.max_epochs=8",
    "+trainer.check_val_every_n_epoch=8",
    "hydra.run.dir=run",
]


def write_site(folder: Path) -> None:
    labels = write_image(folder / "site/a.tif", (160, 192), bands=4, dtype="uint16", nodata=0)
    write_image(folder / "site/b.tif", (160, 192), bands=4, dtype="uint16", nodata=0, offset=10_000)
    frame(pixels(labels, 25)).to_crs("EPSG:4326").to_file(folder / "field.gpkg")
