"""1 % of the labels on the footing of the public results on the aerial dataset, which have all of them.

python -m benchmarks.patches --weights mobilenet_v2-imagenet.pth    # a quarter of an hour of one core a run

Public notebooks cut every image into patches of 256 pixels and hold a fifth of these out, at random: what they test on
lies between what they have trained on. That leaks more than images held out, and far more than
whole tiles; here it is done only to compare. With --steps 4800 a run takes an hour, and is far better.
The dataset is found as conf/dataset/aerial.yaml says. Again: goes on. benchmarks/patches.md is written by
--output benchmarks/patches.md.
"""

import argparse
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from PIL import Image
from tqdm import tqdm

from benchmarks.common import table
from benchmarks.field import command
from pointseg.config import CONF, construct
from pointseg.datasets.aerial import COLOURS
from pointseg.errors import InputError
from pointseg.files import writing
from pointseg.training.runs import read_scores
from pointseg.types import IGNORE, Dataset, Window

SIDE = 256
PUBLIC = {"U-Net": 0.598, "ResNet34-UNet": 0.61, "DeepLabV3+": 0.617}  # notebooks of Keras, every pixel labelled

RECIPE = (
    *("experiment=trained", "crop_size=256", "overlap=64"),
    *("augment.scale=1", "augment.colour=0"),  # strong ones help on unseen tiles, but hurt where training has seen them
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("overrides", nargs="*", help="of the configuration, before the options: trainer.precision=bf16-mixed")
    add("--folder", type=Path, default=Path("outputs/patches"), help="where patches and runs lie: outputs/patches")
    add("--output", type=Path, help="the table, in Markdown: patches.md in that folder")
    add("--weights", type=Path, required=True, help="the encoder's file, for model.weights")
    add("--steps", type=int, default=1200, help="of training, 8 crops each: 1200")
    add("--budgets", type=float, nargs="+", default=[0.01], help="labelled fractions of the pixels, 1: every one; 0.01")
    add("--seeds", type=int, nargs="+", default=[0], help="of the patches held out and of all else: 0")
    arguments = parser.parse_args()
    if not arguments.weights.is_file():
        parser.error(f"--weights {arguments.weights}: there is no such file.")
    if not all(0 < budget <= 1 for budget in arguments.budgets):
        parser.error(f"--budgets {arguments.budgets}: give fractions, above 0 and up to 1.")
    folder: Path = arguments.folder
    try:
        count = cut(folder)
    except InputError as error:
        parser.error(f"give the dataset's folder in the environment variable POINTSEG_DATA. {error}")
    colours = ",".join(f"{name}: '#{colour:06X}'" for name, colour in COLOURS.items())
    dataset = [
        *("dataset=folder", "~dataset.split", f"dataset.images={folder}/images", f"dataset.masks={folder}/masks"),
        *(f"dataset.classes={{{colours}}}", "dataset.ignore=['#000000']", "dataset.not_land_cover=[Unlabeled]"),
        *("dataset.val=0.02", "dataset.test=0.2"),  # validated once, at the end: nothing is chosen by it
    ]
    runs = {
        (budget, seed): folder / f"runs/budget{budget}_steps{arguments.steps}_seed{seed}"
        for budget in arguments.budgets
        for seed in arguments.seeds
    }
    for (budget, seed), run in runs.items():
        setting = [
            f"budget={budget}",
            f"seed={seed}",
            f"dataset.split_seed={seed}",
            f"crops.number={8 * arguments.steps}",
        ]
        weights = f"model.weights={arguments.weights}"
        place = (f"hydra.run.dir={run}", "resume=true")
        command("train", *RECIPE, *dataset, *setting, weights, *arguments.overrides, *place)
        if "test" not in read_scores(run):
            command("evaluate", f"run={run}")
    output: Path = arguments.output or folder / "patches.md"
    with writing(output) as partial:
        partial.write_text(report(runs, arguments, count))
    print(f"Table: {output}")


def cut(folder: Path) -> int:
    """Write every whole patch of every image, from the top left, and its mask, where missing; the number of patches."""
    dataset: Dataset = construct(dict(OmegaConf.load(CONF / "dataset/aerial.yaml")))
    scenes = [scene for split in dataset.splits.values() for scene in split]
    colours = np.zeros((IGNORE + 1, 3), np.uint8)  # no class: black, as in the dataset's masks
    colours[: len(dataset.classes)] = dataset.palette
    count = 0
    for scene in tqdm(scenes, "cutting patches", unit="image"):
        for row in range(0, scene.shape[0] - SIDE + 1, SIDE):
            for col in range(0, scene.shape[1] - SIDE + 1, SIDE):
                window = Window(row, col, SIDE, SIDE)
                files = {kind: folder / kind / f"{scene.id}_{row}_{col}.png" for kind in ("images", "masks")}
                count += 1
                if all(file.exists() for file in files.values()):
                    continue
                for kind, pixels in (("images", scene.image(window)), ("masks", colours[scene.mask(window)])):
                    with writing(files[kind], shared=True) as partial:
                        Image.fromarray(pixels).save(partial)
    return count


def report(runs: dict[tuple[float, int], Path], arguments: argparse.Namespace, count: int) -> str:
    lines = [[f"{name}, public", "every pixel", "–", f"{miou:.3f}", "–", "–"] for name, miou in PUBLIC.items()]
    for (budget, seed), run in runs.items():
        scores = read_scores(run)["test"]
        measures = (scores[name] for name in ("miou_all_classes", "miou_land_cover", "accuracy"))
        labels = "every pixel" if budget == 1 else f"{100 * budget:g} % of the pixels"
        lines.append(["pointseg", labels, str(seed), *(f"{value:.3f}" for value in measures)])
    return "\n".join(
        [
            "# On the footing of the public results\n",
            f"`python -m benchmarks.patches {''.join(f'{override} ' for override in arguments.overrides)}"
            f"--weights {arguments.weights.name} --steps {arguments.steps} "
            f"--budgets {' '.join(map(str, arguments.budgets))} --seeds {' '.join(map(str, arguments.seeds))}`; "
            f"{count:,} patches of {SIDE}², a fifth of them test and 2 % validation, at random by the seed; scored "
            "once, on the test patches.\n",
            table(["", "labels", "seed", "mean IoU, 6 classes", "land cover", "accuracy"], lines),
        ]
    )


if __name__ == "__main__":
    main()
