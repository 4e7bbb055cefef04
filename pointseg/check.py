"""List every fault of a dataset with its remedy, the class shares, and leaks between the splits.

python -m pointseg.check dataset=field dataset.images='site/*.tif' points=field.gpkg
"""

import sys

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="check")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "check")
    from pointseg.evaluation.check import check  # imports torch: see train.py

    sys.exit(1 if check(cfg) else 0)


if __name__ == "__main__":
    main()
