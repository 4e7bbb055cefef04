"""How far long work is, on a terminal and in a file."""

import sys

import numpy as np
import pytest

from pointseg import progress


def test_where_there_is_no_terminal_lines_come_soon_and_then_more_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    times = []
    with progress.steps(7200, "reading", "scene") as done:
        for second in range(1, 7201):
            now, before = float(second), len(caplog.messages)
            done()
            times += [second] * (len(caplog.messages) - before)
    gaps = np.diff([0, *times])
    assert (gaps >= 10).all()
    assert (gaps <= 61).all()
    assert times[:3] == [10, 20, 30]
    assert gaps[-1] == 60
    assert caplog.messages[0].endswith("scene 10 of 7200")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.over("", "reading", "scene")) == []
    assert not capsys.readouterr().err
    with progress.steps(2, "reading", "scene") as done:
        done(2)
    assert "reading: 100%" in (shown := capsys.readouterr().err)
    assert "2/2" in shown
