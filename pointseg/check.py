"""List every fault of a dataset with its remedy, the class shares, and leaks between the splits.

python -m pointseg.check dataset=field dataset.images='site/*.tif' points=field.gpkg
"""

import sys

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("check")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "check")
    from pointseg.evaluation.check import check  # imports torch: see train.py

    sys.exit(1 if check(cfg) else 0)


if __name__ == "__main__":
    main()
