"""Estimate the area of each class and the accuracy of a map from a labelled sample, with 95 % intervals.

python -m pointseg.assess map=map.tif points=sample.gpkg
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("assess")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "assess")
    from pointseg.evaluation.assess import assess_map  # imports torch: see train.py

    assess_map(cfg)


if __name__ == "__main__":
    main()
