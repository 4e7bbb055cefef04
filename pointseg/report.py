"""Write an experiment's folder from the runs of its sweep: README.md, results.csv, records.jsonl and pictures.

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

    from pointseg.reports import report  # imports torch: see train.py

    if not isinstance(cfg.examples, int) or cfg.examples < 0:
        raise InputError(f"examples={cfg.examples}: give a number of arms, or 0 for none.")
    sweep = Path(cfg.sweep)
    report.write(sweep, Path(cfg.experiments) / (cfg.name or sweep.resolve().name), cfg.examples)


if __name__ == "__main__":
    main()
