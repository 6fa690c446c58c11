"""The regression guard's judgement; the counting itself needs valgrind and is run by ``.ci/run``."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import _guard
from benchmarks._instructions import PATHS


@pytest.fixture
def figures(tmp_path: Path, monkeypatch) -> Path:
    """A place for figures of its own."""
    path = tmp_path / "instructions.json"
    monkeypatch.setattr(_guard, "FIGURES", path)
    return path


def _check(monkeypatch, counted: dict[str, float], **options: bool) -> tuple[bool, str]:
    monkeypatch.setattr(_guard, "count", lambda out: counted)
    monkeypatch.setattr(_guard.shutil, "which", lambda name: "/a/valgrind")
    said = io.StringIO()
    held = _guard.check(Console(file=said, width=300), **{"update": False, **options})
    return held, said.getvalue()


def test_more_instructions_than_the_tolerance_are_a_failure(figures: Path, monkeypatch):
    """What grew by more than the tolerance is named; what grew by less, or shrank, passes."""
    assert _check(monkeypatch, {"a": 1_000.0, "b": 1_000.0}, update=True)[0]
    assert _check(monkeypatch, {"a": 1_000 * (1 + 0.9 * _guard.TOLERANCE), "b": 500.0})[0]
    held, said = _check(monkeypatch, {"a": 1_000.0, "b": 1_000 * (1 + 1.1 * _guard.TOLERANCE)})
    assert not held
    assert f"slower by more than {_guard.TOLERANCE:.0%}: b" in said


def test_figures_of_another_build_are_not_compared(figures: Path, monkeypatch):
    """On another build of Python or of a native library nothing is compared, and it says so."""
    _check(monkeypatch, {"a": 1.0}, update=True)
    monkeypatch.setattr(_guard, "build", lambda: "another build")
    held, said = _check(monkeypatch, {"a": 1_000_000.0})
    assert held
    assert "no figures for this build" in said


def test_without_valgrind_nothing_is_counted(figures: Path, monkeypatch):
    """A machine without valgrind is told so and passes."""
    monkeypatch.setattr(_guard.shutil, "which", lambda name: None)
    said = io.StringIO()
    assert _guard.check(Console(file=said), update=False)
    assert "valgrind" in said.getvalue()


def test_an_update_keeps_the_figures_of_other_versions(figures: Path, monkeypatch):
    """Each minor version of Python has figures of its own."""
    figures.write_text(json.dumps({"2.7": {"build": "old", "instructions": {"a": 5}}}), encoding="utf-8")
    _check(monkeypatch, {"a": 1.0}, update=True)
    assert set(json.loads(figures.read_text(encoding="utf-8"))) == {"2.7", _guard.minor()}


def test_the_kept_figures_are_of_the_paths_there_are():
    """A path that was renamed or removed leaves no figure behind."""
    kept = json.loads(_guard.FIGURES.read_text(encoding="utf-8"))
    assert all(set(one["instructions"]) == set(PATHS) for one in kept.values())
