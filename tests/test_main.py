"""The one command name, `pointseg`, and the modules behind it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pointseg.__main__ import COMMANDS, usage

PACKAGE = Path(__file__).parent.parent / "pointseg"


def pointseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pointseg", *arguments], capture_output=True, text=True, check=False)


def test_every_command_module_is_a_command_and_is_listed() -> None:
    modules = {file.stem for file in PACKAGE.glob("*.py") if "@command(" in file.read_text()}
    assert set(COMMANDS) == modules
    listed = [line.split()[0] for line in usage().splitlines()[1:-1]]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_help_needs_no_torch(arguments: tuple[str, ...]) -> None:
    code = f"""
import sys
import pointseg.__main__
sys.argv = ["pointseg", *{arguments!r}]
pointseg.__main__.main()
print("torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "False"
    assert all(f"\n  {command} " in shown for command in COMMANDS)


def test_a_command_gets_its_arguments() -> None:
    composed = pointseg("train", "sampler=stratified", "budget=7", "--cfg", "job")
    assert composed.returncode == 0, composed.stderr
    assert "pointseg.samplers.stratified.Stratified" in composed.stdout
    assert "budget: 7" in composed.stdout


def test_an_unknown_command_fails_and_lists_those_there_are() -> None:
    failed = pointseg("trian")
    assert failed.returncode != 0
    assert "trian" in failed.stderr
    assert all(f"\n  {command} " in failed.stderr for command in COMMANDS)
