"""`version=`: another one is another keyspace; ``"auto"`` follows the code, the same in every process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memocache import MISSING, Cache
from tests.promises.behaviour.world import World

SOURCE = """
def f(n, unit="m", *, big=False):
    def inner(m):
        return {"a", "b", "c", "d", unit} if m in {"x", "y", "z"} else (1, 2.5, None, ...)
    return [inner(n), big]
"""
CHANGES = {
    "a constant": SOURCE.replace("2.5", "2.6"),
    "a constant of the same value and another type": SOURCE.replace("(1,", "(True,"),
    "a nested function": SOURCE.replace("if m in", "if m not in"),
    "a set in the code": SOURCE.replace('"z"}', '"w"}'),
    "a default": SOURCE.replace('unit="m"', 'unit="km"'),
    "a keyword default": SOURCE.replace("big=False", "big=True"),
    "a name": SOURCE.replace("[inner(n), big]", "list((inner(n), big))"),
    "the name of a nested function": SOURCE.replace("inner", "within"),
    "which parameters are positional": SOURCE.replace("*, big", "/, *, big"),
}
SAME = {
    "nothing": SOURCE,
    "where it stands": "\n\n\n" + SOURCE,
    "a docstring": SOURCE.replace(":\n", ':\n    """What it does."""\n', 1),
    "another docstring": SOURCE.replace(":\n", ':\n    """What it is."""\n', 1),
    "a comment": SOURCE.replace("    return [", "    # a comment\n    return ["),
}


def build(source: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "shop"}
    exec(source, namespace)
    return namespace["f"]


def key(cache: Cache, source: str, version: Any = "auto") -> str:
    return str(cache.cached(build(source), name="shop.f", version=version).key_for("x"))


@pytest.mark.parametrize("change", CHANGES)
def test_auto_follows_code_and_defaults(change: str) -> None:
    """Changed code or defaults are another keyspace."""
    cache = Cache()
    assert key(cache, SOURCE) != key(cache, CHANGES[change])


@pytest.mark.parametrize("change", SAME)
def test_auto_is_blind_to_what_does_nothing(change: str) -> None:
    """Comments, and where the function stands, change nothing."""
    cache = Cache()
    assert key(cache, SOURCE) == key(cache, SAME[change])


@pytest.mark.filterwarnings("ignore::memocache.DuplicateNameWarning")  # editions of one function
def test_auto_follows_only_when_asked() -> None:
    """Without a version, and with one of one's own, changed code has the same keys."""
    cache = Cache()
    for version in (None, 3):
        assert {key(cache, source, version) for source in CHANGES.values()} >= {key(cache, SOURCE, version)}
        assert key(cache, SOURCE, version) == key(cache, CHANGES["a constant"], version)


def test_auto_is_the_same_in_other_processes() -> None:
    """Other hash seeds, other processes, another file: the same key."""
    program = (
        "from memocache import Cache\n"
        "from tests.promises.statistics.test_version import SOURCE, key\n"
        "print(key(Cache(), SOURCE))\n"
    )
    keys = set()
    for seed in ("0", "1", "4711"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        keys.add(run.stdout.strip())
    assert keys == {key(Cache(), SOURCE)}


@pytest.mark.filterwarnings("ignore::memocache.DuplicateNameWarning")  # editions of one function
def test_a_version_is_a_keyspace(world: World) -> None:
    """Entries of another version are neither seen nor disturbed; going back finds the old ones."""
    made = {version: world.cached(lambda n: [n], name="f", version=version) for version in (None, 1, 2, "1.0", "b")}
    made["again"] = world.cached(lambda n: [n], name="f", version=1)
    assert len({f.key_for(1) for f in made.values()}) == 5
    for version, f in made.items():
        if version != "again":
            assert world.call(f.peek, 1) is MISSING
            world.call(f.put, [version], 1)
    assert world.call(made["again"].peek, 1) == [1]
    for version, f in made.items():
        assert world.ask("inspect", f.key_for(1)).version == {None: None, "again": "1"}.get(version, str(version))


def test_invalidation_is_of_all_versions(world: World) -> None:
    """A function's name stands for all of its versions."""
    one, two = (world.cached(lambda n: [n], name="f", version=version) for version in (1, 2))
    world.call(one, 1)
    world.call(two, 1)
    world.ask("invalidate", "f")
    assert world.call(one.peek, 1) is world.call(two.peek, 1) is MISSING


GUARDED = "def f(x):\n    first(x)\n    try: second(x)\n    except ValueError: return 0\n    return 1\n"


def test_auto_follows_what_is_guarded() -> None:
    """A call that moves into a ``try`` on one line changes the exception table alone."""
    cache, moved = Cache(), GUARDED.replace("    first(x)\n    try: ", "    try: first(x); ")
    assert build(GUARDED).__code__.co_code == build(moved).__code__.co_code
    assert key(cache, GUARDED) != key(cache, moved)


def test_auto_follows_a_docstring_that_is_code() -> None:
    """A text that is both documentation and result counts as a result."""
    cache = Cache()
    one, other = (f'def f(x):\n    """{text}"""\n    return "{text}"\n' for text in ("a", "b"))
    assert key(cache, one) != key(cache, other)


def test_auto_follows_every_layer() -> None:
    """The code of the function below a decorator counts, and the decorator's."""
    cache = Cache()

    def above(plain: Any, wrap: str) -> str:
        space: dict[str, Any] = {"wraps": functools.wraps, "__name__": "shop"}
        exec(f"def decorate(f):\n    @wraps(f)\n    def inner(*args): return {wrap}\n    return inner", space)
        return str(cache.cached(space["decorate"](plain), name="shop.f", version="auto").key_for("x"))

    def one(x: Any) -> Any:
        return x

    def other(x: Any) -> Any:
        return [x]

    assert above(one, "f(*args)") == above(one, "f(*args)")
    assert len({above(one, "f(*args)"), above(other, "f(*args)"), above(one, "[f(*args)]")}) == 3
