"""What `test_pyodide` runs under Pyodide; it prints a line for each promise that it has seen kept."""

# ruff: noqa: F704 - Pyodide awaits at the top level
# mypy: ignore-errors

import asyncio
import time
import warnings

import msgpack

from memocache import Cache, ComputeTimeout, ConfigurationError, cached, cached_many

assert msgpack.Packer.__module__ == "msgpack.fallback"
calls = []


@cached(ttl=60, tags=("t",))
def f(x, y=1):
    calls.append(x)
    return {"x": (x, {1, 2}, frozenset(), 2**70)}


assert f(1) == f(1) == f(1, y=1) == {"x": (1, {1, 2}, frozenset(), 2**70)}
assert calls == [1]
f.invalidate(1)
assert f.map([1, 2])[1]["x"][0] == 2
assert calls == [1, 1, 2]
print("sync")


@cached
async def g(x):
    calls.append(x)
    await asyncio.sleep(0.01)
    return [x]


assert await asyncio.gather(g(5), g(5), g(6)) == [[5], [5], [6]]
assert calls[3:] == [5, 6]


@cached(hard_timeout=0.05)
async def slow():
    await asyncio.sleep(60)


try:
    await slow()
except ComputeTimeout:
    print("async")


@cached_many
def load(ids):
    return {i: i for i in ids}


assert load([1, 2]) == {1: 1, 2: 2}
with Cache() as cache:
    cache.set("a", 1, tags=("t",))
    assert cache.get("a") == 1
    cache.invalidate(tag="t")
    assert cache.get("a") is None
print("cache")


@cached(ttl=0.01, stale=60)
def s():
    calls.append("s")
    return len(calls)


first = s()
time.sleep(0.05)
assert s() == first
assert s() == first + 1
print("stale")

with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    timed = cached(hard_timeout=5, name="timed")(lambda x: x)
    assert [timed(1), timed(2), timed(1)] == [1, 2, 1]
assert [w.category for w in seen] == [RuntimeWarning]
print("timeouts")

for url in ("redis://localhost", "redis+cluster://localhost:1", "disk:///tmp/x"):
    try:
        Cache(url).get("a")
    except ConfigurationError as error:
        print("refused", url.partition(":")[0], "needs" in str(error))
