"""Interpreters used in other ways than the plain one: a subinterpreter, lazy imports, a tool that sees each line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
from memocache import Cache, cached
from memocache.exceptions import ConfigurationError

ran = []

@cached(ttl=60)
def f(x):
    ran.append(x)
    return [x]

@cached(ttl=60, stale=5)
async def g(x):
    ran.append(x)
    return x

assert f(1) == f(1) == [1]
assert f.cache_info()[:2] == (1, 1)
assert asyncio.run(g(2)) == asyncio.run(g(2)) == 2
assert f.invalidate(1) is None
f(1)
assert ran == [1, 2, 1], ran
"""
REFUSED = """
for url, package in (("redis://127.0.0.1:1", "hiredis"), ("disk:///nowhere", "memocache[disk]")):
    try:
        Cache(url)
    except ConfigurationError as error:
        assert package in str(error) and "subinterpreter" in str(error), error
    else:
        raise AssertionError(url)
"""


def run(source: str, *flags: str) -> None:
    """Run a program in a process of its own."""
    ended = subprocess.run(
        [sys.executable, *flags, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.skipif(sys.version_info < (3, 13), reason="before 3.13 a dependency ends a process with a subinterpreter")
def test_a_subinterpreter() -> None:
    """In a subinterpreter `memory://` works in both colours, and a backend whose client refuses it says so."""
    new = "concurrent.interpreters" if sys.version_info >= (3, 14) else "_interpreters"
    path = [str(Path(__file__).parents[2]), *sys.path]
    source = f"import sys\nsys.path[:] = {path!r}\n{PROGRAM}{REFUSED}"
    if sys.version_info >= (3, 14):
        run(f"import {new} as interpreters\none = interpreters.create()\none.exec({source!r})\none.close()")
    else:
        run(
            f"import {new} as interpreters\none = interpreters.create()\nfailed = interpreters.exec(one, {source!r})\n"
            "assert failed is None, failed\ninterpreters.destroy(one)"
        )


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports came with 3.15")
@pytest.mark.parametrize("mode", ["all", "normal"])
def test_lazy_imports(mode: str) -> None:
    """memocache works where every import waits for its first use, and where only the marked ones do."""
    run(f"lazy import memocache.codecs\n{PROGRAM}\nassert memocache.codecs.Codec", "-X", f"lazy_imports={mode}")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
def test_a_tool_that_watches_everything() -> None:
    """Under a tool of `sys.monitoring` that sees each line, call, return and raise, calls and figures are as ever."""
    watching = """
import sys
seen = []
monitoring = sys.monitoring
monitoring.use_tool_id(monitoring.PROFILER_ID, "watching")
for event in (monitoring.events.LINE, monitoring.events.PY_RETURN, monitoring.events.RAISE):
    monitoring.register_callback(monitoring.PROFILER_ID, event, lambda code, *more: seen.append(code.co_name))
monitoring.set_events(
    monitoring.PROFILER_ID, monitoring.events.LINE | monitoring.events.PY_RETURN | monitoring.events.RAISE
)
"""
    run(f"{watching}{PROGRAM}\nmonitoring.set_events(monitoring.PROFILER_ID, 0)\nassert 'f' in seen and 'g' in seen")


def test_frames_that_a_sampler_reads() -> None:
    """Between the caller and the function a sampler sees frames of memocache's files or of ``<memocache>`` alone."""
    from memocache import cached

    seen: list[tuple[str, str]] = []

    @cached
    def sampled(x: int) -> int:
        frame = sys._getframe()  # as a sampler does
        while frame is not None and frame.f_code is not test_frames_that_a_sampler_reads.__code__:
            seen.append((frame.f_code.co_filename, frame.f_code.co_name))
            frame = frame.f_back  # type: ignore[assignment]  # the loop ends at None
        return x

    sampled(1)
    assert seen[0] == (__file__, "sampled")
    between = seen[1:]
    assert between
    assert all(file == "<memocache>" or "/memocache/" in file for file, _ in between)
    assert any(name == "lookup" for _, name in between)
