"""Simulate a person who labels on the page, the masks answering: random points, class by class, or those suggested.

python -m pointseg.active dataset=aerial
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("active")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "active")
    from pathlib import Path

    from pointseg.labelling.simulated import active  # imports torch: see train.py

    active(cfg, Path(cfg.output))


if __name__ == "__main__":
    main()
