"""Map whole scenes with a trained run.

python -m pointseg.predict run=outputs/<run> input=site.tif output=map.tif
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from pointseg.config import CONF
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="predict")
def main(cfg: DictConfig) -> None:
    from pointseg.maps import predict  # imports torch: see train.py

    for key, example in (("run", "outputs/<run>"), ("input", "site.tif"), ("output", "map.tif")):
        if OmegaConf.is_missing(cfg, key):
            raise InputError(f"{key}: missing; give it, as in {key}={example}.")
    predict(cfg)


if __name__ == "__main__":
    main()
