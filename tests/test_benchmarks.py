"""Rows of the benchmarks at a size that measures nothing: they run, and write their section alone."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks import document
from benchmarks.__main__ import ROWS, main

PEERS = pytest.mark.skipif(find_spec("torchgeo") is None, reason="the extra `bench` is not installed")


@pytest.mark.parametrize("row", ["data", *(pytest.param(row, marks=PEERS) for row in ("loss", "training"))])
def test_a_row_runs_and_writes_its_section(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row in ROWS
    file = tmp_path / "README.md"
    file.write_text("# By hand\n\n<!-- other -->\n## Other\n\nkept\n<!-- end of other -->\n")
    arguments = [row, "--size", "tiny", "--threads", "1", "--output", str(file)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    main()
    main()
    content = file.read_text()
    assert content.count(f"<!-- {row} -->") == 1
    assert content.startswith("# By hand")
    assert "kept" in content
    assert "Size `tiny`" in content
    assert content.count("\n| ") > 3


@PEERS
def test_what_cannot_be_measured_here_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (file := tmp_path / "README.md").write_text("<!-- gpu -->\nmeasured elsewhere\n<!-- end of gpu -->\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu", "--output", str(file)])
    main()
    assert file.read_text().count("measured elsewhere") == 1
    assert "not measured" in capsys.readouterr().out


def test_a_row_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "nonsense"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert all(name in said for name in ("nonsense", *ROWS))


def test_a_section_is_replaced_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    for name, body in (("a", "old"), ("b", "second"), ("a", r"new \1")):
        document.replace(file, name, name.upper(), body)
    content = file.read_text()
    assert "old" not in content
    assert content.index(r"new \1") < content.index("second")
