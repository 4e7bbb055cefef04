"""Say which points are most worth labelling next.

python -m pointseg.suggest run=outputs/<run> input=site.tif output=next.gpkg count=50
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("suggest")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "suggest")
    from pointseg.suggestions.suggest import suggest  # imports torch: see train.py

    suggest(cfg)


if __name__ == "__main__":
    main()
