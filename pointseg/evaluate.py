"""Score a run on whole scenes of a split it was not trained on, with a picture of each.

python -m pointseg.evaluate run=outputs/<run>
"""

import hydra
from omegaconf import DictConfig

from pointseg.config import CONF, check_keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "evaluate")
    from pathlib import Path

    from pointseg.score import evaluate  # imports torch: see train.py

    evaluate(Path(cfg.run), cfg.split, cfg.checkpoint, cfg.overrides, cfg.colour_baseline, cfg.calibrated)


if __name__ == "__main__":
    main()
