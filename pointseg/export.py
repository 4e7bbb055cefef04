"""Export a trained run to one ONNX file, which pointseg.predict and other programs run without torch's network.

python -m pointseg.export run=outputs/<run> output=model.onnx
python -m pointseg.predict run=model.onnx input=site.tif output=map.tif
"""

from omegaconf import DictConfig

from pointseg.command import command
from pointseg.config import check_keys


@command("export")
def main(cfg: DictConfig) -> None:
    check_keys(cfg, "export")
    from pathlib import Path

    from pointseg.prediction.export import export  # imports torch: see train.py

    export(Path(cfg.run), Path(cfg.output), cfg.checkpoint, cfg.calibrated, cfg.format, cfg.resolution)


if __name__ == "__main__":
    main()
