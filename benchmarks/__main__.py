"""Speed, memory and growth, measured as ratios within one run and written to benchmarks/README.md.

python -m benchmarks                          every row, at the size `quick`
python -m benchmarks loss training            these rows
python -m benchmarks prediction --size full   at the size of benchmarks/README.md; all rows take hours on two cores
"""

import argparse
import logging
import os
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import document

ROWS = (
    *("alternatives", "areas", "smoothing", "label"),
    *("training", "loss", "prediction", "start", "data", "growth", "sweeps"),
    "gpu",
)
SIZES = ("tiny", "quick", "full")
README = Path(__file__).with_name("README.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="row", help=f"{', '.join(ROWS)}; none: all")
    parser.add_argument("--size", choices=SIZES, default="quick", help="tiny takes seconds and measures nothing")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch")
    parser.add_argument("--output", type=Path, default=README, help="whose sections are replaced")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"{unknown.pop()}: no such row; there are {', '.join(ROWS)}.")
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    for name in arguments.rows or ROWS:
        load = os.getloadavg()[0]
        row = import_module(f"benchmarks.{name}")
        print(f"{name}, size {arguments.size} …", flush=True)
        body = row.run(row.SIZES[arguments.size], arguments.output.parent)
        if body is None:
            print(f"{name}: not measured, as there is no GPU here; {arguments.output} stays as it is.")
            continue
        assert row.__doc__
        foot = document.circumstances(arguments.size, load)
        title, _, method = row.__doc__.partition("\n")
        text = f"`python -m benchmarks {name}`. {method.strip()}\n\n{body}\n{foot}"
        document.replace(arguments.output, name, title.removesuffix("."), text)
        print(f"{name}: written to {arguments.output}")


if __name__ == "__main__":
    main()
