"""Speed, memory and growth, measured as ratios within one run and written to benchmarks/README.md.

python -m benchmarks                          every row, at the size `quick`
python -m benchmarks loss training            these rows
python -m benchmarks prediction --size full   the issue's sizes: hours on two cores
"""

import argparse
import logging
import os
from importlib import import_module
from pathlib import Path

import torch

from benchmarks import document

ROWS = ("training", "loss", "prediction", "start", "data", "growth", "sweeps", "gpu")
SIZES = ("tiny", "quick", "full")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="row", help=", ".join(ROWS))
    parser.add_argument("--size", choices=SIZES, default="quick", help="tiny takes seconds and measures nothing")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of torch")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("README.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("lightning").setLevel(logging.ERROR)
    for name in arguments.rows or ROWS:
        load = os.getloadavg()[0]
        row = import_module(f"benchmarks.{name}")
        body = row.run(row.SIZES[arguments.size], arguments.output.parent)
        assert row.__doc__
        foot = document.circumstances(arguments.size, load)
        title, _, method = row.__doc__.partition("\n")
        text = f"`python -m benchmarks {name}`. {method.strip()}\n\n{body}\n{foot}"
        document.replace(arguments.output, name, title.removesuffix("."), text)


if __name__ == "__main__":
    main()
