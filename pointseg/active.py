"""Simulate annotation in rounds, the masks answering: suggested points against random ones.

python -m pointseg.active -m seed=0,1,2
"""

from omegaconf import DictConfig, OmegaConf

from pointseg.command import command

OWN = ("start", "rounds", "random", "query")
"""The keys that conf/active.yaml adds to those of conf/train.yaml."""


@command("active")
def main(cfg: DictConfig) -> None:
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    from pointseg.training.train import train  # imports torch: see train.py

    hydra_config = HydraConfig.get()
    folder, choices = Path(hydra_config.runtime.output_dir), dict(hydra_config.runtime.choices)
    latest = folder / f"random_budget{cfg.start}"
    # By their budgets, so that an unfinished experiment can be looked at.
    runs = [(budget, "random") for budget in (cfg.start, *cfg.random)] + [
        (budget, "suggested") for budget in cfg.rounds
    ]
    for budget, name in sorted(runs):
        config = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in OWN])
        config.budget = budget
        run = folder / f"{name}_budget{budget}"
        if name == "suggested":
            config.annotation = OmegaConf.merge(cfg.query, {"run": str(latest)})
            latest = run
        train(config, run, choices | {"annotation": "suggested" if name == "suggested" else "drawn"})


if __name__ == "__main__":
    main()
