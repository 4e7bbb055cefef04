"""Map whole scenes with a trained run.

python -m pointseg.predict run=outputs/<run> input=site.tif output=map.tif
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys
from pointseg.errors import InputError


@command("predict")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "predict")
    from pointseg.maps.predict import predict  # imports torch: see train.py

    try:
        predict(cfg)
    except KeyboardInterrupt:
        raise InputError("Interrupted; the same command goes on from the strips it has.") from None


if __name__ == "__main__":
    main()
