"""Writes the sections of docs/robustness.md from what their commands print.

python -m benchmarks.robustness                        # an hour on two cores
python -m benchmarks.robustness "Interrupted training" # this section anew, the others as they stand
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks import document

FILE = Path(__file__).parent.parent / "docs" / "robustness.md"
SECTIONS = {  # each a command that prints Markdown, and fails where what it prints is not as it should be
    "Interrupted training": ["benchmarks.interrupted", "--trials", "20", "--seed", "0"],
    "Damaged input": ["tests.fuzz", "--count", "10000", "--seed", "0"],
    "Long runs": ["benchmarks.long_run", "--epochs", "200"],
    "Mutation testing": ["benchmarks.mutants"],  # of the results of `mutmut run`: by make mutants
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of: {', '.join(SECTIONS)}; all")
    chosen = parser.parse_args().sections or [title for title in SECTIONS if title != "Mutation testing"]
    if unknown := set(chosen) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(unknown)}")
    failed = []
    for title in chosen:
        printed = subprocess.run([sys.executable, "-m", *SECTIONS[title]], stdout=subprocess.PIPE, text=True)
        failed += [title] * (printed.returncode != 0)
        document.replace(FILE, title, title, f"{printed.stdout.strip()}\n\n{_origin(title)}")
    sys.exit(f"Not as it should be: {', '.join(failed)}; see {FILE}." if failed else 0)


def _origin(title: str) -> str:
    """The last line of a section: how to have it again, and where and when it was had."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "numpy"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
    return f"`python -m {' '.join(SECTIONS[title])}`; {machine}; {datetime.date.today()}."


if __name__ == "__main__":
    main()
