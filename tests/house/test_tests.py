"""The tests mirror the package: a folder for each room, and in it files named after the modules that they test."""

from __future__ import annotations

from pathlib import Path

import pytest

import memocache

PACKAGE = Path(memocache.__file__).parent
TESTS = Path(__file__).parents[1]
ROOMS = {
    "runtime": "_runtime",
    "codecs": "codecs",
    "backends": "backends",
    "stores": "_stores",
    "calls": "_calls",
    "cache": "_cache",
    "instrumentation": "instrumentation",
    "face": "",
}


@pytest.mark.parametrize("folder", ROOMS)
def test_a_test_is_named_after_its_module(folder: str) -> None:
    """Each file ``test_X.py`` or ``test_X_more.py`` of a mirrored folder names a module or wing X of the room."""
    room = PACKAGE / ROOMS[folder]
    places = [*room.rglob("*")] if ROOMS[folder] else [*room.glob("*.py")]
    modules = {path.stem.strip("_") for path in places if path.suffix == ".py" or path.is_dir()} - {"init", "pycache"}
    strangers = [
        path.name
        for path in sorted((TESTS / folder).glob("test_*.py"))
        if not any((path.stem + "_").startswith(f"test_{module}_") for module in modules)
    ]
    assert strangers == []


def test_every_room_has_a_folder() -> None:
    """Each room of the package has its folder of tests, as has each public extra."""
    rooms = {path.parent.name.strip("_") for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - {path.name for path in TESTS.iterdir()} == {"testing"}  # promises hold its helpers, at every step
