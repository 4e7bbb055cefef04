"""Say which points are most worth labelling next.

python -m pointseg.suggest run=outputs/<run> input=site.tif output=next.gpkg count=50
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="suggest")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "suggest")
    from pointseg.suggestions.suggest import suggest  # imports torch: see train.py

    suggest(cfg)


if __name__ == "__main__":
    main()
