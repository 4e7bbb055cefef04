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

    from pointseg.reports import experiment, records  # import torch: see train.py

    sweep = Path(cfg.sweep)
    *_, above, last = sweep.resolve().parts
    name = cfg.name or (above if last == records.FOLDER else last)
    experiment.write(sweep, Path(cfg.experiments) / name, cfg.examples)


if __name__ == "__main__":
    main()
