"""Write an experiment's folder from the runs of its sweep: README.md, CSV files and figures.

python -m pointseg.report sweep=outputs/sampling
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="report")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "report")
    from pathlib import Path

    from pointseg.reports import records, report  # import torch: see train.py

    if not isinstance(cfg.examples, int) or cfg.examples < 0:
        raise InputError(f"examples={cfg.examples}: give a number of scenes of each arm, or 0 for none.")
    sweep = Path(cfg.sweep)
    *_, above, last = sweep.resolve().parts
    name = cfg.name or (above if last == records.FOLDER else last)
    report.write(sweep, Path(cfg.experiments) / name, cfg.examples)


if __name__ == "__main__":
    main()
