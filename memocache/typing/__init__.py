"""The protocols that others may implement, the sentinel, and what type checkers take a decorated function for."""

from memocache.typing.backend import (
    Answer,
    Backend,
    BackendFacts,
    Clock,
    Finding,
    Guard,
    Observer,
    Once,
    Pieces,
    Put,
    ReadSoon,
    Tally,
    Watcher,
)
from memocache.typing.decorated import (
    AsyncCachedFunction,
    AsyncCachedStream,
    AsyncReadStream,
    CachedAnyFunction,
    CachedFunction,
    CachedStream,
    Nothing,
    ReadStream,
)
from memocache.typing.missing import MISSING, Missing

__all__ = [
    "MISSING", "Answer", "AsyncCachedFunction", "AsyncCachedStream", "AsyncReadStream", "Backend",
    "BackendFacts", "CachedAnyFunction", "CachedFunction", "CachedStream", "Clock", "Finding", "Guard",
    "Missing", "Nothing", "Observer", "Once", "Pieces", "Put", "ReadSoon", "ReadStream", "Tally", "Watcher",
]  # fmt: skip
