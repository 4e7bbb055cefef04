"""Say which points are most worth labelling next.

python -m pointseg.suggest run=outputs/<run> input=site.tif output=next.gpkg count=50
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from pointseg.config import CONF, refuse_unknown
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="suggest")
def main(cfg: DictConfig) -> None:
    from pointseg.suggestions import suggest  # imports torch: see train.py

    refuse_unknown(cfg, "suggest")
    for key, example in (("run", "outputs/<run>"), ("input", "site.tif"), ("output", "next.gpkg")):
        if OmegaConf.is_missing(cfg, key):
            raise InputError(f"{key}: missing; give it, as in {key}={example}.")
    suggest(cfg)


if __name__ == "__main__":
    main()
