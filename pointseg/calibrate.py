"""Make the probabilities of a run agree with how often they are right, and correct its class prior.

python -m pointseg.calibrate run=outputs/<run>
python -m pointseg.calibrate run=outputs/<run> prior=estimate
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from pointseg.config import CONF, refuse_unknown
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="calibrate")
def main(cfg: DictConfig) -> None:
    from pointseg.reliability import calibrate  # imports torch: see train.py

    refuse_unknown(cfg, "calibrate")
    if OmegaConf.is_missing(cfg, "run"):
        raise InputError("run: give the folder of a run, as in run=outputs/<run>.")
    calibrate(cfg)


if __name__ == "__main__":
    main()
