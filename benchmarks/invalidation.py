"""Invalidating a function, or a tag, whose keys are few or many: the same command, and so the same time.

The keys are real entries of a real server, copied there by a script. Each sample computes one entry anew, so that the
marker is there to be deleted, and times the invalidation alone; a sample that sends anything but one UNLINK fails.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks._measure import Bench, Contender, Panel, Sample, Suite, contender

COUNTS = (100, 10_000, 1_000_000)
_COPY = """
local raw = redis.call('GET', KEYS[1])
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) - 1 do redis.call('SET', ARGV[1] .. string.format('%032x', i), raw) end
"""
_CHUNK = 50_000


def _contender(keys: int, *, tag: bool) -> Contender:
    @contender(f"{keys:,} keys")
    def setup(bench: Bench) -> Iterator[Sample]:
        import redis

        from memocache import Cache

        name = f"bench.{'tagged' if tag else 'plain'}{keys}"
        with Cache(bench.server_url, prefix="bench") as cache, redis.Redis.from_url(bench.server_url) as client:

            @cache.cached(ttl="1h", name=name, tags=(name,))
            def f(x: int) -> int:
                return x

            f(0)
            entry = f.key_for(0)
            copy = client.register_script(_COPY)
            for start in range(1, keys, _CHUNK):
                copy(keys=[entry], args=[entry[:-32], start, min(start + _CHUNK, keys)])

            def sample(number: int) -> float:
                total = 0.0
                for _ in range(number):
                    f(0)
                    before = _sent(client)
                    begun = time.perf_counter()
                    cache.invalidate(tag=name) if tag else cache.invalidate(name)
                    total += time.perf_counter() - begun
                    sent = {command: n for command, n in (_sent(client) - before).items() if command != "info"}
                    if sent != {"unlink": 1}:
                        raise AssertionError(f"an invalidation sent {sent}")
                return total / number

            yield sample

    return setup


def _sent(client: Any) -> Any:
    from collections import Counter

    stats = client.info("commandstats")
    # hits are counted once a second in the background: those commands are not the invalidation's
    background = {"hincrby", "hset", "pexpire", "info"}
    sent = {command.removeprefix("cmdstat_"): one["calls"] for command, one in stats.items()}
    return Counter({command: calls for command, calls in sent.items() if command not in background})


SUITE = Suite(
    name="invalidation",
    about="forgetting a function or a tag of 100 to 1,000,000 keys",
    panels=tuple(
        Panel(
            f"invalidate a {'tag' if tag else 'function'}",
            base=f"{COUNTS[0]:,} keys",
            contenders=tuple(_contender(keys, tag=tag) for keys in COUNTS),
        )
        for tag in (False, True)
    ),
)
