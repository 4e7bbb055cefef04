"""What tests share with those of sweeps."""

TINY = [
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *("model=unet", "crop_size=32", "overlap=8", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"),
    *("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "hydra.sweep.dir=sweep"),
]
