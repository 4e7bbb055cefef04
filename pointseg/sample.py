"""Draw points from a map at random within its classes, to be labelled: from them, areas and accuracy are estimated.

python -m pointseg.sample map=map.tif output=sample.gpkg count=200
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="sample")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "sample")
    from pointseg.evaluation.sample import sample  # imports torch: see train.py

    sample(cfg)


if __name__ == "__main__":
    main()
