"""Writes docs/reliability.md from what the commands of its sections print.

python -m benchmarks.reliability                        # an hour on two cores
python -m benchmarks.reliability "Interrupted training" # this section anew, the others as they stand
"""

import argparse
import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FILE = Path(__file__).parent.parent / "docs" / "reliability.md"
HEAD = """# Reliability

Written by `make reliability`; each section says its command, machine, versions and date.

The same command and seed give the same points and the same tiles, everywhere and with any number of workers; on a
CPU, with the same number of threads and the same versions, also the same weights and scores bit for bit
(`tests/test_training.py`, `tests/test_data.py`). Two processes with the same global batch give the same loss to 1e-5
of its size and the same confusion matrix, batch norm and dropout apart (`tests/test_processes.py`,
`conf/trainer/ddp.yaml`). On a GPU the points and tiles are the same, but weights and scores are not bit for bit: the
gradients of what is read at points and of upsampling are summed there in whatever order threads come, and bf16 rounds
more coarsely.

Ctrl-C and SIGTERM end a run after the step, or the scene of a validation, that is being computed; `last.ckpt` is
written first, and `resume=true` goes on from there, to the same weights, scores and logged losses bit for bit on a
CPU (`tests/test_resume.py`). After SIGKILL it goes on from the last whole epoch.
"""
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
        written = {**_sections(), title: f"{printed.stdout.strip()}\n\n{_origin(title)}"}
        ordered = [f"## {title}\n\n{written[title]}\n" for title in SECTIONS if title in written]
        FILE.write_text("\n".join([HEAD, *ordered]))
    sys.exit(f"Not as it should be: {', '.join(failed)}; see {FILE}." if failed else 0)


def _sections() -> dict[str, str]:
    """The sections as they stand in the file."""
    parts = FILE.read_text().split("\n## ")[1:] if FILE.exists() else []
    return {title: text.strip() for title, _, text in (part.partition("\n") for part in parts)}


def _origin(title: str) -> str:
    """The last line of a section: how to have it again, and where and when it was had."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "numpy"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"
    return f"`python -m {' '.join(SECTIONS[title])}`; {machine}; {datetime.date.today()}."


if __name__ == "__main__":
    main()
