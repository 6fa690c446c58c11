"""A gevent program, run by `test_gevent.py`: greenlets whose calls are cut short by `gevent.Timeout` at any moment.

Its arguments: the server's URL, how many calls, and "keep" for a build that goes on using connections that were left in
the middle of an answer. It prints what became of the calls as JSON.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402  # after the patch, as gevent wants it
import random  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402

from memocache import Cache  # noqa: E402
from memocache._runtime.budget import Budget  # noqa: E402
from memocache.backends._redis.connection import Connection  # noqa: E402
from memocache.backends.redis import RedisBackend  # noqa: E402

KEYS = 40
GREENLETS = 20


def value(x: int) -> dict[str, Any]:
    """What the function under test returns."""
    return {"x": x, "text": f"value of {x} " * 5}


def main(url: str, calls: int, *, keep: bool) -> dict[str, int]:
    """Make the calls and count."""
    Budget.__init__.__defaults__ = (30.0,)  # calls are cut short by gevent alone
    options = "?max_connections=3&timeout=30&connect_timeout=30"
    cache = Cache(url + options)
    backend = RedisBackend.from_url(url + options)

    @cache.cached(name="value")
    def cached(x: int) -> dict[str, Any]:
        gevent.sleep(0)
        return value(x)

    for x in range(KEYS):
        backend.transact([], [], [], members=[(f"plain{x}", str(x))])
        cached(x)
    if keep:
        pools = [backend._pool]
        Connection.dirty = lambda wire: False  # type: ignore[method-assign]

        def close(wire: Connection) -> None:
            wire.owed = 0
            pools[0]._idle.append(wire)

        Connection.close = close  # type: ignore[method-assign]
    counts = {"calls": 0, "cut": 0, "wrong": 0, "raised": 0}

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(calls // GREENLETS):
            x = rng.randrange(KEYS)
            counts["calls"] += 1
            try:
                with gevent.Timeout(rng.choice((0.0005, 0.002, 0.01, 0.05)) * rng.random()):
                    if rng.random() < 0.5 or keep:
                        counts["wrong"] += backend.members(f"plain{x}") != {str(x)}
                    else:
                        counts["wrong"] += cached(x) != value(x)
            except gevent.Timeout:
                counts["cut"] += 1
            except Exception:
                counts["raised"] += 1

    gevent.joinall([gevent.spawn(work, seed) for seed in range(GREENLETS)], raise_error=True)
    if not keep:
        counts["places"] = len(backend._pool._permits)
        alive = [cached(x) == value(x) and backend.members(f"plain{x}") == {str(x)} for x in range(KEYS)]
        hits = cached.cache_info().hits
        alive += [cached(x) == value(x) for x in range(KEYS)]
        counts["alive"] = all(alive) and cached.cache_info().hits - hits
        cache.close()
        backend.close()
    return counts


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), keep="keep" in sys.argv)))
