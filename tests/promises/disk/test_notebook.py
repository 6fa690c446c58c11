"""The notebook of the docs runs, and an edited function computes anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memocache import Cache

NOTEBOOK = Path(__file__).parents[3] / "docs" / "examples" / "disk_notebook.ipynb"


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
    """The notebook is of format 4.5 and its code cells run one after the other."""
    pytest.importorskip("numpy")
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    monkeypatch.setattr("tempfile.tempdir", directory)
    scope: dict[str, object] = {"__name__": "__main__"}
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, source in enumerate(cells):
        exec(compile(source, f"<cell {number}>", "exec"), scope)
    assert len(cells) >= 4


SCRIPT = """
import sys
from memocache import Cache
cache = Cache(f"disk://{sys.argv[1]}")
computed = []
{define}
first, second = f(2), f(2)
print(first, second, len(computed))
cache.close()
"""
DEFINE = """
@cache.cached(name="f", version="auto")
def f(x):
    computed.append(x){comment}
    return x * {factor}
"""


def _run(directory: str, factor: int, above: str = "", comment: str = "") -> str:
    script = SCRIPT.replace("{define}", above + DEFINE.format(factor=factor, comment=comment))
    done = subprocess.run([sys.executable, "-c", script, directory], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_an_edited_function_computes_anew(directory: str) -> None:
    """With `version="auto"` another process finds the results of the same code, wherever it stands and whatever its
    comments say; after an edit it computes, and after undoing that finds the old results again.
    """
    assert _run(directory, 10) == "20 20 1\n"
    assert _run(directory, 10, above="\n\n\n", comment="  # moved and explained") == "20 20 0\n"
    assert _run(directory, 11) == "22 22 1\n"
    assert _run(directory, 10) == "20 20 0\n"


def test_results_outlive_the_cache(directory: str) -> None:
    """What one cache stored, another finds after the first was closed; nobody else's processes are needed."""
    calls: list[int] = []
    for _ in range(2):
        with Cache(f"disk://{directory}") as cache:
            f = cache.cached(name="f")(lambda: calls.append(1))
            assert f() is None
    assert calls == [1]
