"""Counters of calls, and the figures made of them. Every figure is measured; hits + misses = calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The figures of a cache; None where a figure cannot be measured on this backend.

    `average_ttl_seconds` is time remaining, over `ttl_sample_size` sampled entries that expire; `expired_keys` and
    `evicted_keys` count this cache's entries; `most_accessed_keys` is hottest first.
    """

    total_keys: int = 0
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


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend answers (`ok`), how fast, and whether a probe key came back as written."""

    ok: bool
    latency_ms: float
    roundtrip_ok: bool
    detail: str


class Counters:
    """The live counters of one function in this process.

    ``counters.hits += 1`` written out, without a call in the expression, is exact under the GIL: CPython switches
    threads only at calls and backward jumps. So nothing here takes a lock. Hits on entries held in the process are
    counted on the entry, and come here when it leaves (see `memocache._local`).
    """

    __slots__ = (*COUNTED, "_on_add")

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

    def __init__(self, on_add: Callable[[], None] | None = None) -> None:
        self._on_add = on_add
        self.zero()

    def zero(self) -> None:
        """Begin again at nothing."""
        for name in COUNTED:
            setattr(self, name, 0)

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

    def absorb(self, other: Counters) -> None:
        """Add what another counted, which counts no more."""
        amounts: dict[str, Any] = other.read()
        self.hits += amounts.pop("hits")
        self.add(**amounts)

    def read(self) -> dict[str, float]:
        """The counters by name."""
        return {name: getattr(self, name) for name in COUNTED}


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
