"""What a fleet of processes asks of its servers: rates in closed form, and the same simulated from a seed.

Every process reads keys at random (a Poisson process each; the keys' shares follow Zipf's law), invalidations of calls
fall on all keys alike. A key's life is a chain of *generations*: the first read that finds nothing stores an entry,
which is good until its ttl ends or it is invalidated. With copies in the process (`local`), each other process asks
the server once a generation, if it reads the key at all in it.

Keys are placed as in a cluster, by `memocache._stores.remote.keyspace`: 256 buckets over the nodes in ranges of slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

from memocache._stores.remote.keyspace import BUCKETS, Layout
from memocache.backends._redis.client_tracking import BEAT_SECONDS

SEED = 1
_GENERATIONS = 4.0  # for how many ttls a simulation watches


@dataclass(frozen=True)
class Fleet:
    """Settings and load. Rates are a second: `reads` of each process, `invalidations` of all together; durations are in
    seconds; `local` is how many copies a process may hold (0: none), which are of the keys most read.
    """

    processes: int = 1
    nodes: int = 1
    reads: float = 100.0
    keys: int = 10_000
    skew: float = 0.9
    ttl: float = 60.0
    stale: float = 0.0
    local: int = 0
    invalidations: float = 10.0
    value_bytes: int = 1_000


@dataclass(frozen=True)
class Rates:
    """What happens a second: in the whole fleet, or at one node. `touched` counts the entries whose accesses a
    flush reports, `messages` is what is said of changed keys to all listeners together, `waiting` are the reads that
    wait for a computation, and `entries` is how many there are at a time.
    """

    hits: float = 0.0
    misses: float = 0.0
    copies: float = 0.0
    invalidations: float = 0.0
    touched: float = 0.0
    flushes: float = 0.0
    pings: float = 0.0
    messages: float = 0.0
    waiting: float = 0.0
    entries: float = 0.0


def shares(keys: int, skew: float) -> Any:
    """The keys' shares of the reads, most read first, as an array."""
    import numpy as np

    weights = np.arange(1, keys + 1, dtype=float) ** -skew
    return weights / weights.sum()


def expected(fleet: Fleet) -> Rates:
    """The rates of the whole fleet in the long run, in closed form."""
    return _sum(fleet, _expected(fleet))


def simulated(fleet: Fleet, seed: int = SEED) -> Rates:
    """The rates of the whole fleet over some ttls, by drawing every generation of every key."""
    return _sum(fleet, _simulated(fleet, seed))


@lru_cache(1_024)  # tables and pictures ask for the same
def simulated_at_hottest(fleet: Fleet, seed: int = SEED) -> Rates:
    """The simulated rates at the node with the most requests for entries."""
    return _hottest(fleet, _simulated(fleet, seed))


@lru_cache(64)
def nodes_of_keys(keys: int, nodes: int) -> Any:
    """The node of each key, for a function's keys in a cluster whose slots are in as many equal ranges."""
    import numpy as np

    layout = Layout("fleet", clustered=True)
    numbers = {bucket: at for at, bucket in enumerate(layout.buckets)}
    buckets = [numbers[layout.bucket(f"function:{key}")] for key in range(keys)]
    return np.array(buckets) * nodes // BUCKETS


# -- by key: arrays of rates a second


def _expected(fleet: Fleet) -> dict[str, Any]:
    import numpy as np

    read, mu, copied = _by_key(fleet)
    each = read / fleet.processes
    if mu:
        valid = -np.expm1(-mu * fleet.ttl) / mu
        unseen = mu / (mu + each) * -np.expm1(-(mu + each) * fleet.ttl) + np.exp(-(mu + each) * fleet.ttl)
    else:
        valid, unseen = fleet.ttl, np.exp(-each * fleet.ttl)
    misses = 1 / (valid + 1 / read)
    served = read - misses
    hits = np.where(copied, misses * (fleet.processes - 1) * (1 - unseen), served)
    expires = np.exp(-mu * fleet.ttl)  # the share of generations that end so, and may be served stale
    kept = expires * -np.expm1(-read * fleet.stale) / read
    waiting = misses * (1 - expires * -np.expm1(-read * fleet.stale))
    return _columns(fleet, read, misses, hits, served - hits, waiting, misses * (valid + kept))


def _simulated(fleet: Fleet, seed: int) -> dict[str, Any]:
    import numpy as np

    chance = np.random.default_rng(seed)
    read, mu, copied = _by_key(fleet)
    each = read / fleet.processes
    seconds = _GENERATIONS * fleet.ttl
    totals = {name: np.zeros(fleet.keys) for name in ("misses", "hits", "copies", "waiting", "kept")}
    # every key begins somewhere in a cycle, and long before it is watched
    begun = -chance.random(fleet.keys) * (fleet.ttl + 1 / read) - fleet.ttl
    while True:
        gap = chance.exponential(1 / read)
        begun = begun + gap  # when the generation's first read comes
        live = begun < seconds
        if not live.any():
            break
        killed = chance.exponential(1 / mu, fleet.keys) if mu else np.full(fleet.keys, np.inf)
        lasts = np.minimum(killed, fleet.ttl)
        reads_once = -np.expm1(-each * lasts)  # the chance that some process reads the key in this generation
        asked = chance.binomial(fleet.processes - 1, reads_once)
        again = chance.poisson(np.maximum(0.0, read * lasts - (fleet.processes - 1) * reads_once))
        served = np.where(copied, asked + again, chance.poisson(read * lasts))
        watched = live & (begun >= 0)
        asked = np.where(copied, asked, served)
        before = (killed >= fleet.ttl) if fleet.stale else np.zeros(fleet.keys, bool)
        next_gap = chance.exponential(1 / read)  # until the next generation's first read: the entry may stand in
        stands_in = before & (next_gap < fleet.stale)
        for name, figures in (
            ("misses", 1.0),
            ("hits", asked),
            ("copies", served - asked),
            ("waiting", np.where(stands_in, 0.0, 1.0)),
            ("kept", lasts + np.where(before, np.minimum(next_gap, fleet.stale), 0.0)),
        ):
            totals[name] += np.where(watched, figures, 0.0)
        begun = begun + lasts
    rates = {name: total / seconds for name, total in totals.items()}
    return _columns(fleet, read, *(rates[name] for name in ("misses", "hits", "copies", "waiting", "kept")))


def _by_key(fleet: Fleet) -> tuple[Any, float, Any]:
    """Each key's reads a second by the whole fleet, the invalidations of any one, and whether it is copied."""
    import numpy as np

    read = shares(fleet.keys, fleet.skew) * fleet.reads * fleet.processes
    return read, fleet.invalidations / fleet.keys, np.arange(fleet.keys) < fleet.local


def _columns(
    fleet: Fleet, read: Any, misses: Any, hits: Any, copies: Any, waiting: Any, entries: Any
) -> dict[str, Any]:
    import numpy as np

    invalidations = np.full(fleet.keys, fleet.invalidations / fleet.keys)
    # a process reports an entry that it hit at least once since its last flush, a second ago
    touched = fleet.processes * -np.expm1(-(hits + copies) / fleet.processes)
    listeners = fleet.processes if fleet.local else 0
    return {
        "hits": hits,
        "misses": misses,
        "copies": copies,
        "invalidations": invalidations,
        "touched": touched,
        "messages": listeners * (misses + invalidations),
        "waiting": waiting,
        "entries": entries,
    }


def _sum(fleet: Fleet, columns: Mapping[str, Any]) -> Rates:
    pings = fleet.processes * fleet.nodes / BEAT_SECONDS if fleet.local else 0.0
    totals = {name: float(column.sum()) for name, column in columns.items()}
    return Rates(**totals, flushes=float(fleet.processes * fleet.nodes), pings=pings)


def _hottest(fleet: Fleet, columns: Mapping[str, Any]) -> Rates:
    import numpy as np

    where = nodes_of_keys(fleet.keys, fleet.nodes)
    asked = np.bincount(where, columns["hits"] + columns["misses"] + columns["messages"], fleet.nodes)
    here = where == int(asked.argmax())
    return _sum(replace(fleet, nodes=1), {name: column[here] for name, column in columns.items()})


# -- what it costs


@dataclass(frozen=True)
class Cost:
    """What one operation costs a server: requests sent to it, commands it carries out (those within scripts too),
    processor microseconds, and bytes that it receives and sends.
    """

    requests: float
    commands: float
    cpu_us: float
    bytes_in: float
    bytes_out: float


@dataclass(frozen=True)
class Costs:
    """The measured coefficients, by what is counted in `Rates`; `entry_bytes` by size of the value."""

    hits: Cost
    misses: Cost
    invalidations: Cost
    touched: Cost
    flushes: Cost
    pings: Cost
    messages: Cost
    entry_bytes: Mapping[int, float]
    touched_bytes: float

    def of(self, rates: Rates, what: str) -> dict[str, float]:
        """The part of each operation in a total: `what` is a field of `Cost`."""
        parts = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: getattr(rates, name) * getattr(cost, what) for name, cost in parts.items() if isinstance(cost, Cost)
        }

    def total(self, rates: Rates, what: str) -> float:
        """All of them together."""
        return sum(self.of(rates, what).values())

    def busy(self, rates: Rates) -> float:
        """The share of one core that these rates take at a server."""
        return self.total(rates, "cpu_us") / 1e6

    def as_json(self) -> dict[str, Any]:
        """The coefficients as plain data."""
        return asdict(self)
