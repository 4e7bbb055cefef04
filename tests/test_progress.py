"""How far long work is, on a terminal and in a file."""

import sys

import pytest

from pointseg import progress


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert list(progress.over("ab", "reading", "scene")) == ["a", "b"]
    assert not caplog.messages  # within the first minute
    monkeypatch.setattr(progress, "SECONDS", 0)
    assert list(progress.over("ab", "reading", "scene")) == ["a", "b"]
    assert caplog.messages == ["reading: scene 1 of 2", "reading: scene 2 of 2"]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.over("", "reading", "scene")) == []
    assert not capsys.readouterr().err
    with progress.steps(2, "reading", "scene") as done:
        done()
        done()
    assert "reading: 100%" in (shown := capsys.readouterr().err)
    assert "2/2" in shown
