"""Write an experiment's folder from the runs of its sweep: README.md, CSV files and figures.

python -m pointseg.report sweep=outputs/sampling
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "report")
    from pathlib import Path

    from pointseg.reports.experiment import write  # imports torch: see train.py

    sweep = Path(cfg.sweep)
    write(sweep, Path(cfg.experiments) / (cfg.name or sweep.resolve().name), cfg.examples)


if __name__ == "__main__":
    main()
