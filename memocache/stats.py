"""Counters of calls, the figures made of them, and how one call was handled.

Every figure is measured; hits + misses = calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Literal, NamedTuple, TypeAlias

COLD: Final = "cold"
EXPIRED: Final = "expired"
INVALIDATED: Final = "invalidated"
EVICTED: Final = "evicted"
REJECTED: Final = "rejected"
UNREACHABLE: Final = "unreachable"
UNREADABLE: Final = "unreadable"
CAUSES: Final = (COLD, EXPIRED, INVALIDATED, EVICTED, REJECTED, UNREACHABLE, UNREADABLE)
"""Why a call misses."""

COUNTED = (
    "hits",
    "misses",
    "stale_hits",
    "coalesced",
    "stores",
    "rejected",
    "backend_errors",
    "decode_errors",
    "computations",
    "compute_seconds",
)
BUCKETS: Final = 32
"""Buckets of a `Histogram` of times: the last begins at 2**30 microseconds, 18 minutes."""
Forward: TypeAlias = Literal["miss", "stale", "bypass"]
LIFE_BUCKETS: Final = 52
"""Buckets of a `Histogram` of what entries have left: the last begins at 2**50 microseconds, 35 years."""
_TIMES: Final = {"h": "hit_times", "m": "miss_times", "c": "compute_times"}
"""The counters of times, by the letter that stands for them where they are added up."""


class CacheInfo(NamedTuple):
    """What `functools.lru_cache` users expect of ``cache_info()``; this process only.

    `maxsize` is the function's own bound (None: only the cache's bound holds), `currsize` the live entries in the
    process.
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """The counters of one function name. `saved_seconds` is hits × mean compute time; `hits` include `stale_hits`,
    `misses` include `coalesced` (calls that shared another's computation)."""

    name: str
    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    coalesced: int = 0
    stores: int = 0
    rejected: int = 0
    backend_errors: int = 0
    decode_errors: int = 0
    compute_seconds: float = 0.0
    saved_seconds: float = 0.0
    currsize: int = 0

    @property
    def faults(self) -> int:
        """What went wrong with the backend: its errors, and entries that could not be read."""
        return self.backend_errors + self.decode_errors


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long things took, in buckets each twice as wide as the one before.

    ``counts[i]`` took less than 2**i microseconds and, but for the first, at least 2**(i - 1); the last bucket has no
    upper bound.
    """

    counts: tuple[int, ...] = (0,) * BUCKETS

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    @property
    def bounds(self) -> tuple[float, ...]:
        """What each bucket ends below, in seconds; the last is infinite."""
        return (*(2**index / 1e6 for index in range(len(self.counts) - 1)), math.inf)

    def quantile(self, q: float) -> float | None:
        """Seconds below which at least the share `q` (0 to 1) of all lie: the end of a bucket; None if there are none.

        Raises ValueError.
        """
        if not 0 <= q <= 1:
            raise ValueError("a quantile is from 0 to 1")
        rank = max(1, math.ceil(q * self.total))
        ends = zip(accumulate(self.counts), self.bounds, strict=True)
        return next((bound for reached, bound in ends if reached >= rank), None)


def bucket(seconds: float, buckets: int = BUCKETS) -> int:
    """Which bucket of a `Histogram` of so many `buckets` some seconds fall into; those below 0 count as 0."""
    if seconds >= 2**buckets:  # infinite, perhaps
        return buckets - 1
    index = int(seconds * 1e6).bit_length() if seconds > 0 else 0
    return min(index, buckets - 1)


@dataclass(frozen=True, slots=True)
class FunctionDetails:
    """What there is to know of one function name: `stats`, and what they are made of.

    `hit` are the hits that were timed: those of single calls that went through the engine. `untimed_hits` are the
    others: served by the compiled look-up in the process, or one of many in a bulk call. `miss` is the whole call,
    `compute` the function itself (a loader's run counts once).

    `causes` says of each miss why it was one: ``cold`` (never stored, as far as is remembered), ``expired``,
    ``invalidated``, ``evicted`` (gone within its time), ``rejected`` (its last outcome was not stored),
    ``unreachable`` (the backend), ``unreadable``.

    `settings` are those in force, as text (None: no process has told); `ttl_left` are the seconds that a sample of the
    entries has left (its `total` says how many were looked at; those that never expire are in the last bucket; None:
    not asked for); `hottest` are its hottest keys, hottest first.
    """

    name: str
    stats: FunctionStats
    hit: Histogram
    untimed_hits: int
    miss: Histogram
    compute: Histogram
    causes: dict[str, int]
    settings: dict[str, str] | None = None
    ttl_left: Histogram | None = None
    hottest: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class OperationStats:
    """How often one kind of operation was asked of the backend, how often in vain, and how long all of that took:
    `seconds` in sum, one by one in the `histogram`.
    """

    count: int = 0
    errors: int = 0
    seconds: float = 0.0
    histogram: Histogram = field(default_factory=Histogram)


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The figures of a cache; None where a figure cannot be measured on this backend, or the backend is away.

    `average_ttl_seconds` is time remaining, over `ttl_sample_size` sampled entries that expire; `expired_keys` and
    `evicted_keys` count this cache's entries; `most_accessed_keys` is hottest first. `operations` are what was asked of
    the backend: ``get``, ``set``, ``delete``, ``expire``, ``flush`` (`Cache.clear`), ``invalidate`` and ``scan``.
    """

    total_keys: int | None = 0
    hits: int = 0
    misses: int = 0
    hit_rate: float = 0.0
    miss_rate: float = 0.0
    memory_usage_bytes: int | None = None
    expired_keys: int = 0
    evicted_keys: int = 0
    average_ttl_seconds: float | None = None
    ttl_sample_size: int = 0
    most_accessed_keys: list[str] = field(default_factory=list)
    functions: dict[str, FunctionStats] = field(default_factory=dict)
    operations: dict[str, OperationStats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """What is known about one entry. Times are epoch seconds (`expires_at` is infinite for an entry without ttl);
    `access_count` counts hits; `tags` are as declared, templates unrendered; plain keys have `function` None."""

    function: str | None
    created_at: float
    expires_at: float
    access_count: int
    last_accessed: float | None
    version: str | None
    size_bytes: int
    compute_seconds: float
    tags: tuple[str, ...]


class KeysPage(NamedTuple):
    """Some keys, and the cursor of those after them: a text, or None where there are no more."""

    keys: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend answers (`ok`), how fast, and whether a probe key came back as written."""

    ok: bool
    latency_ms: float
    roundtrip_ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """How the cache handled one call, in the words of RFC 9211; ``str()`` is the value of a ``Cache-Status`` header."""

    hit: bool
    """Whether the value came from the cache, a stale one too; never true where `fwd` says something."""
    fwd: Forward | None = None
    """Why the function was asked: nothing was there, what was there had expired, or caching was disabled."""
    collapsed: bool = False
    """Whether somebody else's computation was shared, in this process or another."""
    stored: bool = False
    """Whether the value was stored."""
    ttl: float | None = None
    """Seconds for which the value stays fresh: negative for a stale one, infinite if it never expires, None if it is
    not in the cache."""
    key: str | None = None
    """The key as the backend sees it (``f.key_for``); None for many calls, and for a call that caching was off for."""

    def __str__(self) -> str:
        # no key: it is a digest of arguments, from which a reader of the header could guess them (promise 2.5)
        parts = ["memocache"]
        if self.hit:
            parts.append("hit")
        if self.fwd is not None:
            parts.append(f"fwd={self.fwd}")
        if self.stored:
            parts.append("stored")
        if self.collapsed:
            parts.append("collapsed")
        if self.ttl is not None and abs(self.ttl) < _MOST_SECONDS:
            parts.append(f"ttl={math.floor(self.ttl)}")
        return "; ".join(parts)


_MOST_SECONDS = 1e15
"""From here on a number is no integer of a structured field (RFC 8941, section 3.3.1)."""
BYPASS = CacheStatus(False, "bypass")


def summary(statuses: Sequence[CacheStatus]) -> CacheStatus:
    """The status of many calls as one: a hit if all are, the rest if any is, and the least ttl."""
    forwards = {status.fwd for status in statuses}
    ttls = [status.ttl for status in statuses if status.ttl is not None]
    ways: tuple[Forward, ...] = ("bypass", "miss", "stale")
    return CacheStatus(
        all(status.hit for status in statuses),
        next((way for way in ways if way in forwards), None),
        any(status.collapsed for status in statuses),
        any(status.stored for status in statuses),
        min(ttls, default=None),
    )


class Counters:
    """The live counters of one function in this process.

    ``counters.hits += 1`` written out, without a call in the expression, is exact under the GIL: CPython switches
    threads only at calls and backward jumps. So nothing here takes a lock. Hits on entries held in the process are
    counted on the entry, and come here when it leaves (see `memocache._stores.memory.tier`).

    The times are counts by `bucket`, and `causes` counts by cause: ``counters.hit_times[index] += 1`` is as exact.
    """

    __slots__ = (*COUNTED, *_TIMES.values(), "_on_add", "_read", "causes")

    hits: int
    misses: int
    stale_hits: int
    coalesced: int
    stores: int
    rejected: int
    backend_errors: int
    decode_errors: int
    computations: int
    compute_seconds: float
    hit_times: list[int]
    miss_times: list[int]
    compute_times: list[int]
    causes: dict[str, int]

    def __init__(self, on_add: Callable[[], None] | None = None) -> None:
        self._on_add = on_add
        self.zero()

    def zero(self) -> None:
        """Begin again at nothing."""
        for name in COUNTED:
            setattr(self, name, 0)
        for name in _TIMES.values():
            setattr(self, name, [0] * BUCKETS)
        self.causes = dict.fromkeys(CAUSES, 0)
        self._read: tuple[Any, dict[str, int]] = (), {}

    def add(
        self,
        *,
        misses: int = 0,
        stale_hits: int = 0,
        coalesced: int = 0,
        stores: int = 0,
        rejected: int = 0,
        backend_errors: int = 0,
        decode_errors: int = 0,
        computations: int = 0,
        compute_seconds: float = 0.0,
    ) -> None:
        """Add to counters off the hit path."""
        self.misses += misses
        self.stale_hits += stale_hits
        self.coalesced += coalesced
        self.stores += stores
        self.rejected += rejected
        self.backend_errors += backend_errors
        self.decode_errors += decode_errors
        self.computations += computations
        self.compute_seconds += compute_seconds
        if self._on_add is not None:
            self._on_add()

    def computed(self, seconds: float) -> None:
        """Count a computation that took so long."""
        self.compute_times[bucket(seconds)] += 1
        self.computations, self.compute_seconds = self.computations + 1, self.compute_seconds + seconds
        if self._on_add is not None:
            self._on_add()

    def absorb(self, other: Counters) -> None:
        """Add what another counted, which counts no more; nobody is told, for it told of each."""
        for name, amount in other.read().items():
            setattr(self, name, getattr(self, name) + amount)
        for name in _TIMES.values():
            for index, count in enumerate(getattr(other, name)):
                getattr(self, name)[index] += count
        for cause, count in other.causes.items():
            self.causes[cause] += count

    def read(self) -> dict[str, float]:
        """The counters by name."""
        return {name: getattr(self, name) for name in COUNTED}

    def read_details(self) -> dict[str, int]:
        """Times and causes, as `function_details` takes them, without those that are 0; not to be changed."""
        lists = {letter: getattr(self, name) for letter, name in _TIMES.items()}
        # every second for every function: only what moved is read anew (causes move before misses do)
        moved = (*map(sum, lists.values()), self.misses, self.stale_hits)
        if moved != self._read[0]:
            details = {
                f"{letter}:{i}": count for letter, counts in lists.items() for i, count in enumerate(counts) if count
            }
            details |= {f"why:{cause}": count for cause, count in self.causes.items() if count}
            self._read = moved, details
        return self._read[1]


def function_stats(name: str, counted: Mapping[str, float], currsize: int = 0) -> FunctionStats:
    """Make the figures of one function of its counters."""
    computations = counted.get("computations", 0)
    mean = counted.get("compute_seconds", 0.0) / computations if computations else 0.0
    shown = {key: counted.get(key, 0) for key in COUNTED if key not in ("computations", "compute_seconds")}
    return FunctionStats(
        name=name,
        compute_seconds=float(counted.get("compute_seconds", 0.0)),
        saved_seconds=counted.get("hits", 0) * mean,
        currsize=currsize,
        **{key: int(value) for key, value in shown.items()},
    )


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Counters by name, added up."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def function_details(stats: FunctionStats, counted: Mapping[str, int], **more: Any) -> FunctionDetails:
    """Make the details of one function of its figures and what `Counters.read_details` counted; `more` is as it is."""
    hit, miss, compute = (
        Histogram(tuple(max(0, counted.get(f"{letter}:{index}", 0)) for index in range(BUCKETS))) for letter in _TIMES
    )
    causes = {cause: counted.get(f"why:{cause}", 0) for cause in CAUSES}
    untimed = max(0, stats.hits - hit.total)
    return FunctionDetails(stats.name, stats, hit, untimed, miss, compute, causes, **more)
