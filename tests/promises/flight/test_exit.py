"""Exit: what runs in the background when the program ends does not delay it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_PROGRAM = """\
import asyncio, threading, time
from memocache import Cache, ComputeTimeout
from memocache.testing import FakeClock

clock = FakeClock()
cache = Cache(clock=clock)
started = threading.Event()
calls = []

def body():
    calls.append(1)
    if len(calls) > 1:
        started.set()
        {hang}
    return len(calls)

@cache.cached(ttl=1, {options})
{a}def f():
    {body}

def late():
    try:
        f()
    except ComputeTimeout:
        pass

async def alate():
    await f()
    clock.advance(1)
    try:
        await f()
    except ComputeTimeout:
        pass
    while not started.is_set():
        await asyncio.sleep(0.001)

{main}
print(time.time(), flush=True)
"""


@pytest.mark.parametrize("options", ["stale=100", "hard_timeout=0.05"])
@pytest.mark.parametrize("colour", ["sync", "async"])
def test_exit_is_not_delayed(options: str, colour: str) -> None:
    """A refresh (or an overdue computation) that hangs for ever: the process ends all the same, and says nothing."""
    sync = colour == "sync"
    program = _PROGRAM.format(
        hang="time.sleep(3600)" if sync else "",
        options=options,
        a="" if sync else "async ",
        body="return body()"
        if sync
        else "value = body()\n    if value > 1: await asyncio.sleep(3600)\n    return value",
        main="f(); clock.advance(1); late(); started.wait(20)" if sync else "asyncio.run(alate())",
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stderr == ""
    assert float(ran.stdout) > 0
