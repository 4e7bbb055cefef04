"""All commands of pointseg under one name.

pointseg train sampler=stratified loss=focal
pointseg predict --help
"""

import ast
import runpy
import sys
from pathlib import Path

COMMANDS = (
    *(
        "label",
        "check",
        "train",
        "evaluate",
        "predict",
        "suggest",
        "sample",
        "assess",
        "calibrate",
        "export",
        "report",
        "active",
    ),
)
"""In the order in which a user needs them; each is a module of its own, `python -m pointseg.<command>`."""


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if command in COMMANDS:
        sys.argv[:2] = [f"{sys.argv[0]} {command}"]
        runpy.run_module(f"pointseg.{command}", run_name="__main__", alter_sys=True)  # its own --help included
    elif command in ("--help", "-h", "help"):
        print(usage())
    else:
        raise SystemExit(f"pointseg {command}: there is no such command.\n{usage()}")


def usage() -> str:
    lines = [f"  {command:<10} {_summary(command)}" for command in COMMANDS]
    return "\n".join(["Usage: pointseg <command> [key=value ...]", *lines, "Keys: pointseg <command> --help"])


def _summary(command: str) -> str:
    # Read, not imported: the imports of one command take longer than this help may.
    source = Path(__file__).with_name(f"{command}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
