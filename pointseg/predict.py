"""Map whole scenes with a trained run.

python -m pointseg.predict run=outputs/<run> input=site.tif output=map.tif
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="predict")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "predict")
    from pointseg.maps.predict import predict  # imports torch: see train.py

    try:
        predict(cfg)
    except KeyboardInterrupt:
        raise InputError("Interrupted; the same command goes on from the strips it has.") from None


if __name__ == "__main__":
    main()
