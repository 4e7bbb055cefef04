"""Label points in the browser, and see the map follow.

python -m pointseg.label images='site/*.tif' points=field.gpkg
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="label")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "label")
    from pointseg.labelling.command import label  # imports torch: see train.py

    label(cfg)


if __name__ == "__main__":
    main()
