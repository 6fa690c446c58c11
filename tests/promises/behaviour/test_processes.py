"""Across processes: one key everywhere, functions of `__main__`, pickling by reference."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import pytest

from memocache import Cache, cached
from memocache.testing import servers
from tests.patience import unhurried
from tests.promises.behaviour.world import World

ROOT = str(pathlib.Path(__file__).parents[3])


@cached(name="module-level")
def double(x: int) -> int:
    """A function that workers find by its name."""
    return x * 2


@cached
async def double_later(x: int) -> int:
    """Its async twin."""
    return x * 2


class Thing:
    """Its methods are found by name too."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Thing

    def __hash__(self) -> int:
        return 1

    @cached
    def m(self, x: int) -> int:
        """A method."""
        return x + 1

    @cached
    @staticmethod
    def s(x: int) -> int:
        """A static method."""
        return x + 2

    @cached
    @classmethod
    def c(cls, x: int) -> int:
        """A class method."""
        return x + 3


def run(script: str, *args: str, **environment: str) -> str:
    """Run a script in a Python of its own and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": ROOT, **environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *args],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_pickle_by_reference() -> None:
    """A decorated function is pickled as its name, whatever it has cached, and comes back as itself."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for function in (double, double_later, Thing.s):
            assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert pickle.loads(pickle.dumps(Thing.m)) is Thing.m
    assert pickle.loads(pickle.dumps(Thing().m))(1) == 2
    assert pickle.loads(pickle.dumps(Thing.c))(1) == 4
    assert len(pickle.dumps(double)) < 200


def test_spawned_workers() -> None:
    """Decorated functions and bound methods can be given to spawned workers."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(double, [1, 2, 1]) == [2, 4, 2]
        assert pool.apply(Thing().m, (5,)) == 6
        assert pool.apply(Thing.s, (5,)) == 7


MAIN = """
import sys, functools
from memocache import Cache, cached
cache = Cache("null://")

@cache.cached
def f(x, *, y={default}): return x{body}

n = {captured}
make = lambda n: cache.cached(lambda x: x + n)
class C:
    @cache.cached(exclude="self")
    def m(self, x): return x
print(f.key_for(1), make(n).key_for(1), C().m.key_for(1), f.key_for({{"a": 1, "b": {{1, "x", (2,)}}}}))
"""


def test_functions_of_main_have_stable_keys_that_follow_their_code() -> None:
    """Two runs of one script have the same keys whatever PYTHONHASHSEED; another body, default or captured value has
    others.
    """
    scripts = [
        MAIN.format(default=default, body=body, captured=captured)
        for default, body, captured in (("1", "", 1), ("1", " + 1", 1), ("2", "", 1), ("1", "", 2))
    ]
    first = run(scripts[0], PYTHONHASHSEED="1").split()
    assert first == run(scripts[0], PYTHONHASHSEED="2").split()
    assert first == run("# moved\n\n" + scripts[0], PYTHONHASHSEED="3").split()
    body, default, captured = (run(script).split() for script in scripts[1:])
    assert body[0] != first[0] != default[0]
    assert (captured[0], captured[2]) == (first[0], first[2])
    assert captured[1] != first[1]


def test_keys_are_the_same_in_every_process() -> None:
    """`key_for` here and in another process agree, for arguments of many kinds."""
    expressions = [
        "1",
        "'a'",
        "(1, 2.0, None)",
        "{'b': 1, 'a': {3, 1, 2}}",
        "frozenset('abc')",
        "10**100",
        "b'x'",
        "float('nan')",
    ]
    script = (
        "from memocache import Cache\n"
        "f = Cache('null://', secret='s').cached(name='f')(lambda x: x)\n"
        f"print(*[f.key_for(eval(e)) for e in {expressions!r}])\n"
    )
    f = Cache("null://", secret="s").cached(name="f")(lambda x: x)
    expected = [f.key_for(eval(expression)) for expression in expressions]
    assert run(script, PYTHONHASHSEED="7").split() == expected


@pytest.mark.skipif(not servers.available_servers(), reason="no server on this machine")
def test_processes_share_entries_and_invalidations(shared: World) -> None:
    """What one process computes another is served, and what it invalidates is invalid here."""
    if shared.server is None or shared.is_async:
        return
    f = shared.cached(lambda x: [x, "here"], name="f")
    script = (
        "import sys\n"
        "from memocache import Cache\n"
        "cache = Cache(sys.argv[1])\n"
        "f = cache.cached(name='f')(lambda x: [x, 'there'])\n"
        "print(f(1), f(2))\n"
        "f.invalidate(1)\n"
        "cache.invalidate('g')\n"
    )
    here = Cache(unhurried(shared.server.url))
    f, g = here.cached(name="f")(lambda x: [x, "here"]), here.cached(name="g")(lambda x: [x, "here"])
    f(1)
    g(1)
    assert run(script, unhurried(shared.server.url)) == "[1, 'here'] [2, 'there']\n"
    assert (f(2), f(1), g(1)) == ([2, "there"], [1, "here"], [1, "here"])
    assert (f.cache_info()[:2], g.cache_info()[:2]) == ((1, 2), (0, 2))
    here.close()


def test_a_forked_child_computes_for_itself() -> None:
    """After a fork the child is served what the parent had and stores its own."""
    script = (
        "import os, memocache\n"
        "f = memocache.cached(name='f')(lambda x: [x])\n"
        "f(1)\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    ok = f(1) == [1] and f(2) == [2] and f.cache_info()[:2] == (1, 2)\n"
        "    os._exit(0 if ok else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), f.cache_info()[:2])\n"
    )
    assert run(script) == "0 (0, 1)\n"


def test_importing_does_no_io_and_loads_no_client() -> None:
    """`import memocache`, decorating and calling on memory:// load no client and none of the extras."""
    script = (
        "import sys, memocache\n"
        "f = memocache.cached(lambda x: x)\n"
        "f(1), f(1)\n"
        "print([name for name in ('redis', 'typer', 'rich', 'numpy', 'pytest') if name in sys.modules])\n"
    )
    assert run(script) == "[]\n"


def test_unused() -> None:
    """The helpers of this module are decorated on the default cache, and count there."""
    before: Any = double.cache_info()
    double(100)
    double(100)
    assert double.cache_info().hits == before.hits + 1
