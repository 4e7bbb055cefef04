"""A run that is killed anywhere ends, resumed, as one that was not: bit for bit on a CPU."""

import json
import multiprocessing
import os
import re
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pointseg.errors import InputError
from pointseg.losses.partial_ce import PartialCrossEntropy
from pointseg.training.checkpoints import WholeFiles
from tests.conftest import SPAWN, Outcome, run_module
from tests.support.training import train

RUN = [  # a network with dropout
    *("dataset=synthetic", "dataset.tiles=3", "dataset.size=96", "dataset.split={train: [1], val: [2], test: [3]}"),
    *(
        "model=deeplabv3plus_mobilenet_v2",
        "model.weights=null",
        "crop_size=32",
        "overlap=8",
        "budget=40",
        "batch_size=2",
    ),  # has dropout
    *("schedule=one_cycle", "trainer.max_epochs=3", "trainer.accelerator=cpu", "+trainer.enable_progress_bar=false"),
    *("hydra.run.dir=run", "resume=true"),
]
Command = Callable[..., Outcome]


def _dying(function: str, call: int, folder: str, number: signal.Signals, arguments: list[str]) -> None:
    """Train in `folder`, sending oneself and one's workers a signal at the given call of `function`."""
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # Linux's own for workers, not what this process came from
    where, _, name = function.rpartition(".")
    owner = resolve_name(where)
    original, calls = getattr(owner, name), 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.killpg(0, number)
        return original(*args, **kwargs)

    setattr(owner, name, counted)
    run_module("pointseg.train", arguments, folder, dict(os.environ), f"{folder}/output.txt")


def train_until(
    function: str,
    call: int,
    folder: Path,
    number: signal.Signals = signal.SIGKILL,
    workers: int = 0,
    run: Sequence[str] = RUN,
) -> str:
    """What a run says that gets a signal at the given call of `function`."""
    log = folder / "output.txt"
    log.unlink(missing_ok=True)
    arguments = [*run, f"num_workers={workers}"]
    process = SPAWN.Process(target=_dying, args=(function, call, str(folder), number, arguments))
    process.start()
    process.join(100)
    if process.is_alive():
        process.kill()
        pytest.fail("it hangs: " + log.read_text())
    assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number), log.read_text()
    return log.read_text()


# Every file is renamed into its place: the calls of Path.replace are the moments between two files.
MOMENTS = [
    ("pathlib.Path.replace", 1),  # nothing there yet
    ("pathlib.Path.replace", 8),  # the configuration and some of the points
    ("pointseg.training.system.PointSeg.training_step", 2),  # all points, no checkpoint
    ("pathlib.Path.replace", 3),  # the first last.ckpt, no best.ckpt
    ("pathlib.Path.replace", 3),  # after an epoch that is not kept
    ("pathlib.Path.replace", 4),  # the second last.ckpt, with the first best.ckpt or scores.json
    ("pointseg.training.system.PointSeg.training_step", 2),  # within the last epoch
    ("pointseg.training.system.PointSeg.validation_step", 4),  # within the last validation
    ("pointseg.training.runs.write_scores", 3),  # trained, but not marked as finished
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = ("pointseg.train", RUN[:-1], str(folder), dict(os.environ), str(folder / "output.txt"))
    process = SPAWN.Process(target=run_module, args=arguments)
    process.start()
    process.join(100)
    assert process.exitcode == 0, (folder / "output.txt").read_text()
    return folder / "run"


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(command: Command, tmp_path: Path, whole: Path) -> None:
    for function, call in MOMENTS:
        train_until(function, call, tmp_path)
    last = command("pointseg.train", *RUN)
    assert last.code == 0, last.output
    run = tmp_path / "run"
    assert_ended_alike(run, whole)

    before = {file: file.stat().st_mtime_ns for file in run.rglob("*.*") if file.suffix not in (".log", ".yaml")}
    again = command("pointseg.train", *RUN)
    assert again.code == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before


STEPS = 4  # of an epoch
STOPS = [  # the signal and when it comes, the number of workers, and the step and validations that are kept
    (signal.SIGTERM, "pointseg.training.system.PointSeg.training_step", 2, 0, 2, 0),  # before there is any checkpoint
    (signal.SIGINT, "torch.optim.Adam.step", 1, 1, 3, 0),  # weights are being changed, and workers are there
    (signal.SIGTERM, "pointseg.training.system.PointSeg.validation_step", 2, 0, STEPS, 0),
    (signal.SIGINT, "pointseg.training.system.PointSeg.validation_step", 1, 1, STEPS, 0),  # in that same validation
    (
        signal.SIGTERM,
        "pointseg.training.system.PointSeg.training_step",
        STEPS,
        1,
        2 * STEPS,
        1,
    ),  # the last step of an epoch
    (signal.SIGINT, "pointseg.training.runs.write_scores", 2, 0, 2 * STEPS, 2),  # the epoch is being kept
    (signal.SIGTERM, "pointseg.training.system.PointSeg.training_step", 3, 1, 2 * STEPS + 3, 2),
    (
        signal.SIGINT,
        "pointseg.training.system.PointSeg.on_train_epoch_end",
        1,
        0,
        3 * STEPS,
        3,
    ),  # nothing but the end is left
]


def test_a_run_told_to_stop_saves_first_and_loses_no_step(command: Command, tmp_path: Path, whole: Path) -> None:
    """By Ctrl-C or a scheduler's SIGTERM, to it and its workers, which may be others each time."""
    for number, function, call, workers, step, validated in STOPS:
        output = train_until(function, call, tmp_path, number, workers)
        assert f"{number.name}: " in output
        assert re.search(rf"resume=true .*{step}\.", output)
        assert "Traceback" not in output
        kept = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
        assert (kept["global_step"], len(kept["history"])) == (step, validated)
    last = command("pointseg.train", *RUN)
    assert last.code == 0, last.output
    assert_ended_alike(tmp_path / "run", whole)
    ours, theirs = (
        {(e.step, e.value) for e in EventAccumulator(str(folder)).Reload().Scalars("train/loss_epoch")}
        for folder in (tmp_path / "run", whole)
    )
    assert ours == theirs


def assert_ended_alike(run: Path, whole: Path) -> None:
    ours, theirs = (json.loads((folder / "scores.json").read_text()) for folder in (run, whole))
    assert ours["history"] == theirs["history"]
    assert ours["val"] == theirs["val"]
    for name in ("last", "best"):
        assert_same(*(torch.load(folder / f"{name}.ckpt", weights_only=True) for folder in (run, whole)))
    assert not list(run.glob("*-v*.ckpt"))
    assert not list(run.rglob(".*.partial*"))


def assert_same(ours: Any, theirs: Any) -> None:
    """Weights, optimiser, schedule, history and epoch of two checkpoints, bit for bit."""
    assert ours["epoch"] == theirs["epoch"]
    assert ours["history"] == theirs["history"]
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    for key, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value), key
    for index, state in theirs["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            assert torch.equal(ours["optimizer_states"][0]["state"][index][name], value), (index, name)


def test_another_configuration_is_refused_and_the_machine_is_not_one(command: Command, tmp_path: Path) -> None:
    run = [argument for argument in RUN if "max_epochs" not in argument] + ["trainer.max_epochs=1"]
    assert command("pointseg.train", *run).code == 0
    before = (tmp_path / "run/last.ckpt").read_bytes()
    refused = command("pointseg.train", *run, "optimizer.lr=0.5", "seed=3")
    assert refused.code != 0
    assert "Traceback" not in refused.output
    assert re.search("optimizer.lr: 0.001 .* 0.5 .*seed: 0 .* 3 ", refused.output)
    assert (tmp_path / "run/last.ckpt").read_bytes() == before
    elsewhere = command("pointseg.train", *run, "num_workers=1", "compile=true", "trainer.accelerator=auto")
    assert elsewhere.code == 0, elsewhere.output


def test_a_start_that_came_to_nothing_is_begun_anew(command: Command, tmp_path: Path) -> None:
    """It leaves no points, which were drawn for another configuration."""
    failed = command("pointseg.train", *RUN, "budget=20", "loss=weighted_partial_ce", "loss.cap=0", "batch_size=1")
    assert failed.code != 0
    assert not (tmp_path / "run").exists()
    anew = command("pointseg.train", *RUN, "trainer.max_epochs=1")
    assert anew.code == 0, anew.output
    assert all(len(file.read_text().splitlines()) == 41 for file in (tmp_path / "run/points").rglob("*.csv"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's writer has one
def test_a_disk_that_fills_up_is_told_and_the_last_whole_epoch_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files cannot grow beyond 100,000 bytes from the second epoch on: neither TensorBoard's nor the checkpoint."""
    limits, forward, steps = resource.getrlimit(resource.RLIMIT_FSIZE), PartialCrossEntropy.forward, 0
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def filling(self: Any, logits: Any, batch: Any) -> Any:
        nonlocal steps
        steps += bool(batch.scenes)
        if steps == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        return forward(self, logits, batch)

    monkeypatch.setattr(PartialCrossEntropy, "forward", filling)
    try:
        with pytest.raises(InputError, match=r"last\.ckpt|best\.ckpt|scores\.json|config\.yaml|: "):
            train(tmp_path, "trainer.max_epochs=3")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    for name in ("last", "best"):
        assert torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["epoch"] == 0
    assert not list(tmp_path.rglob(".*.partial*"))
    resumed = train(tmp_path, "trainer.max_epochs=3", "resume=true")
    assert [epoch["epoch"] for epoch in resumed["history"]] == [1, 2, 3]


def test_a_checkpoint_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"epoch": 1}, file)
    with pytest.raises(AttributeError):  # a local function cannot be pickled: writing stops in the middle
        WholeFiles().save_checkpoint({"epoch": 2, "bad": lambda: None}, file)
    assert torch.load(file, weights_only=True) == {"epoch": 1}


def test_another_configuration_never_takes_the_place_of_a_run_whose_last_checkpoint_is_gone(tmp_path: Path) -> None:
    train(tmp_path / "run")
    (tmp_path / "run/last.ckpt").unlink()
    kept = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="seed"):
        train(tmp_path / "run", "seed=5", "resume=true")
    assert all(file.read_bytes() == content for file, content in kept.items())
