"""The notebooks run from a fresh kernel, and are stored without output."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.sweep import rows

TOUR, SITE = (ROOT / "notebooks" / name for name in ("tour.ipynb", "site.ipynb"))


@pytest.mark.parametrize("file", [TOUR, SITE], ids=lambda file: file.stem)
def test_a_notebook_is_stored_without_output(file: Path) -> None:
    cells = [cell for cell in json.loads(file.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[Any]]:
    """The outputs of a notebook's cells."""

    def outputs(file: Path) -> list[Any]:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
        notebook = nbformat.read(file, as_version=4)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
        return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]

    return outputs


def test_the_site_is_mapped(run: Callable[[Path], list[Any]]) -> None:
    shown = [output["data"] for output in run(SITE) if "data" in output]
    assert sum("image/png" in data for data in shown) == 1
    scores = next(data["text/html"] for data in shown if "accuracy" in data.get("text/html", ""))
    accuracy = float(re.findall(r"accuracy</th>\s*<td>([\d.]+)", scores)[0])
    assert accuracy > 0.4  # by chance: a sixth
    assert [data["text/plain"] for data in shown if "pointseg model in" in data["text/plain"]]


def test_the_tour_runs(run: Callable[[Path], list[Any]]) -> None:
    outputs = run(TOUR)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 4  # three samplers and a prediction
    table = next(output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    scores = rows(table.partition("## Scores")[2])
    assert {line["arm"]: line["seeds"] for line in scores} == {"random": "2", "stratified": "2"}
