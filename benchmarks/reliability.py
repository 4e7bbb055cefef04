"""Whether inputs of many kinds are mapped right, refused by a clear word, or mapped wrong: docs/reliability.md.

python -m benchmarks.reliability                                # twelve minutes of one core
python -m benchmarks.reliability --only <words of a case>       # prints those alone

The cases are those of tests/cases: images that people have, each trained on, mapped and compared with the truth, and
labels that people have, each compared with the pixels that are meant.
"""

import argparse
import logging
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from rasterio.errors import RasterioIOError

from pointseg.errors import InputError
from tests.cases import formats, imagery, more_points, points  # noqa: F401 (which add theirs to the others')
from tests.ground import Build, Site, journey

DOCUMENT = Path(__file__).parent.parent / "docs/reliability.md"
BEFORE = """Before a run read every file by its own bands, units and values without data (commit 8092e30, with the cases
of today and this command), the first 82 inputs of images gave 31 right maps, 5 clear refusals, 43 wrong maps and 2
tracebacks; one cannot be written here. A run with 255 classes took more memory than there was."""
RIGHT = 0.9  # of the pixels of each class


def outcome(build: Build) -> tuple[str, str]:
    """right, clear, wrong or traceback; and the accuracies or the message."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        try:
            build(site)
        except RasterioIOError as error:
            return "not built", f"GDAL cannot write it here: {error}"
        try:
            found = journey(site)
        except InputError as error:
            return "clear", str(error).replace(folder, "…").splitlines()[0]
        except Exception as error:
            return "traceback", f"{type(error).__name__}: {error}; {traceback.format_exc().splitlines()[-3].strip()}"
    words = ", ".join(f"{value:.3f}" for value in found.values())
    return "right" if min(found.values()) > RIGHT else "wrong", words


def cases(only: str) -> Iterator[tuple[str, str, str, str]]:
    """kind, name, right, clear, wrong or traceback, and what was found."""
    for kind, builds in imagery.CASES.items():
        for name, build in builds.items():
            if only in f"{kind}: {name}":
                yield (kind, name, *outcome(build))
    for name, build in points.CASES.items():
        if only in f"labels: {name}":
            with tempfile.TemporaryDirectory() as folder:
                found, _, reason = points.outcome(build, Path(folder))
            yield "labels", name.replace("_", " "), found, reason.replace(folder, "…").partition("\n")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    rows, start = [], time.monotonic()
    for kind, name, found, words in cases(only):
        print(f"{found:9} {time.monotonic() - start:5.1f} s  {kind}: {name}: {words}", flush=True)
        rows.append({"kind": kind, "input": name, "outcome": found, "found": words})
    if not only:
        DOCUMENT.write_text(document(pd.DataFrame(rows)))


def document(rows: pd.DataFrame) -> str:
    counts = Counter(rows["outcome"])
    kinds = rows.groupby("kind", sort=False)["outcome"].value_counts().unstack(fill_value=0)
    kinds = kinds.reindex(columns=["right", "clear", *sorted(set(kinds) - {"right", "clear"})], fill_value=0)
    others = rows[~rows["outcome"].isin(["right", "clear"])].drop(columns="kind")
    listed = others.to_markdown(index=False) if len(others) else "None."
    return f"""# What becomes of unusual input

`python -m benchmarks.reliability` puts {len(rows)} inputs that people meet through pointseg, and compares the
result with the truth. An input is *right* where more than {RIGHT:.0%} of the pixels of each class are mapped right, or
all labels lie on the pixels that are meant, with the classes that are meant. It is *clear* where it is refused in a
sentence that says what was found and what to do.

Here {counts["right"]} are right and {counts["clear"]} are clear; neither: {len(others)}.

{kinds.reset_index().to_markdown(index=False)}

Neither right nor clear:

{listed}

{BEFORE}
"""


if __name__ == "__main__":
    main()
