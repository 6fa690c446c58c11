"""Memoization that people trust with money-making traffic.

::

    from memocache import cached

    @cached(ttl="5m")
    def price(item: str, country: str = "NL") -> Decimal: ...

    price.invalidate("book")
"""

from memocache._cache.cache import Cache
from memocache._cache.default import cached, cached_many, configure, default_cache, disabled
from memocache.exceptions import (
    BackendError,
    ComputeTimeout,
    ConfigurationError,
    DecodeError,
    DuplicateNameWarning,
    EncodeError,
    MemocacheError,
    UncacheableWarning,
    UnsharedWarning,
    UnstableKeyError,
)
from memocache.stats import CacheInfo, CacheStats, CacheStatus, EntryInfo, FunctionStats, Health
from memocache.typing import MISSING

__all__ = [
    "MISSING", "BackendError", "Cache", "CacheInfo", "CacheStats", "CacheStatus", "ComputeTimeout",
    "ConfigurationError", "DecodeError", "DuplicateNameWarning", "EncodeError", "EntryInfo", "FunctionStats",
    "Health", "MemocacheError", "UncacheableWarning", "UnsharedWarning", "UnstableKeyError", "cached",
    "cached_many", "configure", "default_cache", "disabled",
]  # fmt: skip
