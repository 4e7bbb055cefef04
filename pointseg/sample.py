"""Draw points from a map at random within its classes, to be labelled: from them, areas and accuracy are estimated.

python -m pointseg.sample map=map.tif output=sample.gpkg count=200
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("sample")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "sample")
    from pointseg.evaluation.sample import sample  # imports torch: see train.py

    sample(cfg)


if __name__ == "__main__":
    main()
