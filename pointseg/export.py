"""Export a trained run to one ONNX file, which pointseg.predict and other programs run without torch's network.

python -m pointseg.export run=outputs/<run> output=model.onnx
python -m pointseg.predict run=model.onnx input=site.tif output=map.tif
"""

import hydra
from omegaconf import DictConfig, OmegaConf

from pointseg.config import CONF, refuse_unknown
from pointseg.errors import InputError


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="export")
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from pointseg.onnxfile import export  # imports torch: see train.py

    refuse_unknown(cfg, "export")
    for key, example in (("run", "outputs/<run>"), ("output", "model.onnx")):
        if OmegaConf.is_missing(cfg, key):
            raise InputError(f"{key}: missing; give it, as in {key}={example}.")
    export(Path(cfg.run), Path(cfg.output), cfg.checkpoint, cfg.calibrated)


if __name__ == "__main__":
    main()
