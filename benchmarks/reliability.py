"""Whether inputs of many kinds are mapped right, refused by a clear word, or mapped wrong: docs/reliability.md.

python -m benchmarks.reliability [--only <words in a case's name>]
"""

import argparse
import logging
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import torch

from pointseg.errors import InputError
from tests.cases.imagery import CASES
from tests.ground import Build, Site, journey

DOCUMENT = Path(__file__).parent.parent / "docs/reliability.md"
RIGHT = 0.9  # of the pixels of each class


def outcome(build: Build) -> tuple[str, str]:
    """right, clear, wrong or traceback; and the accuracies or the message."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        try:
            build(site)
            found = journey(site)
        except InputError as error:
            return "clear", str(error).replace(folder, "…").splitlines()[0]
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {error}; {traceback.format_exc().splitlines()[-3].strip()}"
    words = ", ".join(f"{value:.3f}" for value in found.values())
    return "right" if min(found.values()) > RIGHT else "wrong", words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    logging.getLogger("pointseg").setLevel(logging.ERROR)
    rows, counts = [], Counter()
    for kind, cases in CASES.items():
        for name, build in cases.items():
            if only in f"{kind}: {name}":
                start = time.monotonic()
                found, words = outcome(build)
                counts[found] += 1
                rows.append(f"| {kind} | {name} | {found} | {words} |")
                print(f"{found:9} {time.monotonic() - start:5.1f} s  {kind}: {name}: {words}", flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main()
