"""How many small faults in the mathematics the tests notice: a table of mutmut's results, in Markdown.

make mutants     # 20 minutes of one core, for docs/robustness.md; `mutmut show <name>` shows a survivor

A mutant is the package with one operator, number, argument, name or string changed. It is killed where one of the tests
in `[tool.mutmut]` fails. One that is stopped for its time would not end, and counts as killed too.
"""

import subprocess
import sys
from collections import Counter, defaultdict

SURVIVED = ("survived", "no tests")


def main() -> None:
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    outcomes = dict(line.strip().split(": ", 1) for line in listed.splitlines())
    modules: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in outcomes.items():
        modules[name.rpartition(".")[0].removeprefix("pointseg.")][outcome] += 1
    print("Of small faults in the mathematics, one at a time, those that the tests notice.\n")
    print("| module | mutants | killed | survived | timed out | score |", "|---|---|---|---|---|---|", sep="\n")
    for module, counts in sorted(modules.items()):
        print(row(module, counts))
    print(row("all", sum(modules.values(), Counter())))
    survivors = (name for name, outcome in outcomes.items() if outcome in SURVIVED)
    print("\nSurvivors:", *survivors, sep="\n", file=sys.stderr)


def row(what: str, counts: Counter[str]) -> str:
    unfinished = counts["not checked"] + counts["check was interrupted by user"]
    if unfinished:
        raise SystemExit(f"{unfinished} mutants of {what} have not been tested: run `mutmut run` to its end.")
    total, survived, timeout = counts.total(), sum(counts[outcome] for outcome in SURVIVED), counts["timeout"]
    killed = total - survived - timeout
    return f"| {what} | {total} | {killed} | {survived} | {timeout} | {(total - survived) / total:.1%} |"


if __name__ == "__main__":
    main()
