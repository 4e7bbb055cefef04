"""Make the probabilities of a run agree with how often they are right, and correct its class prior.

python -m pointseg.calibrate run=outputs/<run>
python -m pointseg.calibrate run=outputs/<run> prior=estimate
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("calibrate")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "calibrate")
    from pointseg.evaluation.calibrate import calibrate  # imports torch: see train.py

    calibrate(cfg)


if __name__ == "__main__":
    main()
