"""Label points in the browser, and see the map follow.

python -m pointseg.label images='site/*.tif' points=field.gpkg
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("label")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "label")
    from pointseg.labelling.command import label  # imports torch: see train.py

    label(cfg)


if __name__ == "__main__":
    main()
