"""Train from points.

python -m pointseg.train sampler=stratified loss=focal
python -m pointseg.train -m sampler=random,stratified loss=partial_ce,focal seed=0,1,2
"""

from omegaconf import DictConfig

from pointseg.command import command


@command("train")
def main(cfg: DictConfig) -> float:
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from pointseg.training.train import train  # torch and lightning take seconds to import; --help needs neither

    hydra_config = HydraConfig.get()
    return train(cfg, Path(hydra_config.runtime.output_dir), dict(hydra_config.runtime.choices))


if __name__ == "__main__":
    main()
