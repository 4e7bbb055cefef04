"""Write an experiment's folder from the runs of its sweep: README.md, results.csv, records.jsonl and pictures.

python -m pointseg.report sweep=outputs/sampling
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys
from pointseg.errors import InputError


@command("report")
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
