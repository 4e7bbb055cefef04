"""Documents with sections that commands write, each replaced when its command is run; other text stays."""

import os
import platform
import re
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from pointseg.files import writing

PACKAGES = ("torch", "torchvision", "lightning", "torchgeo", "segmentation-models-pytorch", "hydra-joblib-launcher")


def replace(file: Path, name: str, title: str, body: str) -> None:
    """The section in `file`, between two comments with its name; a new one is put at the end."""
    content = file.read_text() if file.exists() else ""
    section = f"<!-- {name} -->\n## {title}\n\n{body.strip()}\n<!-- end of {name} -->\n"
    pattern = rf"<!-- {name} -->\n.*?<!-- end of {name} -->\n"
    found = re.search(pattern, content, re.DOTALL)
    content = content.replace(found[0], section) if found else f"{content}\n{section}".lstrip()
    with writing(file) as partial:
        partial.write_text(content)


def circumstances(size: str, load: float) -> str:
    """The machine, the versions, the commit and the day, for the foot of a section.

    load: the machine's mean over the minute before the row began (processes that run or wait to): of other work, and
        of the row before.
    """
    cores = len(os.sched_getaffinity(0))
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return (
        f"Size `{size}`. {_processor()}{gpu}, {cores} cores, {torch.get_num_threads()} thread(s) of torch, "
        f"load {load:.1f} before the row began. "
        f"Python {platform.python_version()}, {', '.join(_versions())}. "
        f"Commit {commit.stdout.strip() or 'unknown'}, {date.today()}."
    )


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text()) if file.exists() else None
    return found[1] if found else platform.processor()


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"without {package}")
    return found
