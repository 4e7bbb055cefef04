"""Score a run on whole scenes of a split it was not trained on, with a picture of each.

python -m pointseg.evaluate run=outputs/<run>
python -m pointseg.evaluate run=outputs/<sweep>
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("evaluate")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "evaluate")
    from pathlib import Path

    from pointseg.evaluation.evaluate import evaluate, evaluate_all  # import torch: see train.py

    folder = Path(cfg.run)
    score = evaluate if (folder / "config.yaml").is_file() else evaluate_all
    score(folder, cfg.split, cfg.checkpoint, cfg.overrides, cfg.colour_baseline, calibrated=cfg.calibrated)


if __name__ == "__main__":
    main()
