"""Long work that the page starts: the commands that a person would give, each a process of its own."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pointseg.errors import InputError

KEPT = 200  # lines of a command's output
COUNTED = re.compile(r"(\d+) of (\d+)\s*$")


@dataclass
class Job:
    """One after the other, commands of pointseg. state: running, done, failed or stopped.

    progress: of the present command, 0 to 1; None where it does not say.
    """

    name: str
    folder: Path
    commands: Sequence[Sequence[str]]
    state: str = "running"
    lines: list[str] = field(default_factory=list)
    progress: float | None = None
    process: "subprocess.Popen[str] | None" = None

    def run(self, changed: Callable[[], None]) -> None:
        for command in self.commands:
            if self.state != "running" or not self._run(command, changed):
                break
        else:
            self.state = "done"
        changed()

    def _run(self, command: Sequence[str], changed: Callable[[], None]) -> bool:
        self.progress = None
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            env={**os.environ, "POINTSEG_PROGRESS": "0.5"},
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines = [*self.lines[1 - KEPT :], line.rstrip()]
            if found := COUNTED.search(line):
                self.progress = int(found[1]) / int(found[2])
            changed()
        if self.process.wait() and self.state == "running":
            self.state = "failed"
        return self.state == "running"

    def stop(self) -> None:
        if self.state == "running":
            self.state = "stopped"
            if self.process is not None:
                self.process.terminate()  # SIGINT is ignored by what a script has started in the background


class Jobs:
    """One job at a time. settings: what `train` is given beside the points, by its keys.

    output: the folder in which each job makes one of its own.
    """

    def __init__(self, settings: dict[str, Any], output: Path) -> None:
        self.settings, self.output = settings, output
        self.job: Job | None = None
        self.listeners: list[Callable[[], None]] = []

    def save_run(self, classes: dict[str, str], labels: dict[str, Any]) -> Job:
        """A run on the labels as they are now. labels: where they are (see `Session.training`)."""
        folder = self._folder()
        return self._start(Job("Save the run", folder, [self._train(folder, classes, labels)]))

    def make_map(self, classes: dict[str, str], labels: dict[str, Any]) -> Job:
        """A run, and its map of every scene."""
        folder = self._folder()
        images = "[" + ",".join(_quoted(file) for file in self.settings["dataset"]["images"]) + "]"
        predict = ["pointseg.predict", f"run={_quoted(str(folder / 'run'))}", f"input={images}"]
        maps = f"output={_quoted(str(folder / 'maps'))}"
        return self._start(Job("Make the map", folder, [self._train(folder, classes, labels), [*predict, maps]]))

    def stop(self) -> None:
        if self.job is not None:
            self.job.stop()

    def _train(self, folder: Path, classes: dict[str, str], labels: dict[str, Any]) -> list[str]:
        # Names of classes may hold what a command line cannot; so the keys go in by a file.
        settings = OmegaConf.merge(self.settings, labels)
        settings.dataset.classes = classes
        file = folder / "settings" / "labelled" / "settings.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"# @package _global_\n{OmegaConf.to_yaml(settings)}", encoding="utf-8")
        named = ["--config-dir", str(folder / "settings"), "experiment=field", "+labelled=settings"]
        return ["pointseg.train", *named, f"hydra.run.dir={_quoted(str(folder / 'run'))}"]

    def _start(self, job: Job) -> Job:
        self.job = job
        threading.Thread(target=job.run, args=(self._tell,), daemon=True).start()
        return job

    def _folder(self) -> Path:
        if self.job is not None and self.job.state == "running":
            raise InputError(f"{self.job.name} is still running; wait for it, or stop it.")
        name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        folder = (self.output / name).absolute()
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot be made ({error.strerror}); choose another output.") from error
        return folder

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()


def _quoted(text: str) -> str:
    """For Hydra's grammar."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
