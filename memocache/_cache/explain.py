"""Why one call is a hit or a miss, without making it: which key, what stands there, which markers it disagrees with."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from math import isinf
from typing import Any

from memocache._cache.key_resolver import KeyResolver
from memocache._calls.call_key import Binding
from memocache._calls.signature import Values
from memocache._calls.wrapper import Memoized
from memocache._runtime.budget import DIRECT_SECONDS, Budget
from memocache._runtime.drivers import run
from memocache._runtime.effects import Effect
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.envelope import Envelope
from memocache._stores.store import Address, Found
from memocache.exceptions import DecodeError


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen to a call now.

    `verdict` is "hit", "stale hit" or "miss", and `why` says it in words; `left` is seconds of freshness (infinite
    without ttl, None where nothing stands); `markers` are (what for, how it stands) on a shared backend; `computing`
    says that some process holds the lease; `depends` names what would change the key, `ignored` the parameters that
    would not. Unread for `idle` seconds an entry is gone (None: it is not); `stream` says that it holds a stream's
    items.
    """

    function: str
    key: str
    shared: bool
    verdict: str
    why: str
    left: float | None
    created_at: float | None
    size_bytes: int | None
    compute_seconds: float | None
    tags: tuple[str, ...]
    markers: tuple[tuple[str, str], ...]
    computing: bool
    depends: tuple[str, ...]
    ignored: tuple[str, ...]
    idle: float | None = None
    stream: bool = False


def explain_call(function: Memoized, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Explanation:
    """Explain a call of a decorated function. Raises `BackendError`, `UnstableKeyError`."""
    core, binding = function._self_state.bound()
    return run(explain(KeyResolver(core.places, core.guard), binding, function._self_values(args, kwargs)))


def explain(resolver: KeyResolver, binding: Binding, values: Values) -> Generator[Effect, Any, Explanation]:
    """Explain the call of a function with these bound values. Raises `BackendError`, `UnstableKeyError`."""
    address, store = binding.address(values)
    address.budget = Budget(DIRECT_SECONDS)
    shared = store is resolver.shared
    envelope: Envelope | None = None
    markers: tuple[tuple[str, str], ...] = ()
    computing = False
    if shared:
        found, envelope, markers, why, computing = yield from _of_backend(resolver, binding, address)
    else:
        found = yield from store.look(address)
        why = "nothing is held for it in this process" if found.load is None else ""
    verdict, why = _judged(binding, found, why)
    there = found.load is not None
    options = binding.function.options
    names = binding.function.signature.names
    if callable(options.key):
        depends = ["what key= returns"]
    else:
        depends = binding.function.key_fields or binding.function.included()
    return Explanation(
        function=binding.function.name,
        key=binding.key_for(values),
        shared=shared,
        verdict=verdict,
        why=why,
        left=found.expires - found.now if there else None,
        created_at=None if envelope is None else envelope.created_at,
        size_bytes=None if envelope is None else len(envelope.payload),
        compute_seconds=found.compute_seconds if there else None,
        tags=binding.function.declared_tags,
        markers=markers,
        computing=computing,
        depends=(*depends, *_identity(binding)),
        ignored=tuple(name for name in names if depends and name not in depends),
        idle=options.idle or None,
        stream=options.stream,
    )


def _identity(binding: Binding) -> list[str]:
    """What else makes the key, besides the arguments."""
    function = binding.function
    parts = [f"name={function.name}", f"prefix={binding.places.layout.prefix}"]
    if function.options.version == "auto":
        parts.append("the function's code (version='auto')")
    elif function.options.version is not None:
        parts.append(f"version={function.options.version}")
    elif function.more_than_a_name:
        parts.append("the function's code and what it captured")
    if binding.places.secret:
        parts.append("secret=")
    return parts


def _of_backend(resolver: KeyResolver, binding: Binding, address: Address) -> Generator[Effect, Any, tuple[Any, ...]]:
    store = resolver.shared
    assert store is not None
    spot = store.spot(address)
    (values,) = yield from resolver.read([address])
    (lease,) = yield resolver.ask("read", [spot.lease])
    raw, *standing = values
    found = store.read(address, spot, values)
    envelope: Envelope | None = None
    tags = [f"tag {tag}" for tag in binding.function.declared_tags]
    if len(tags) != len(standing) - 2:
        tags = [f"tag {number}" for number in range(1, len(standing) - 1)]
    labels = ["prefix", "function", *tags]
    if raw is None:
        shown = [(label, "stands" if marker else "missing") for label, marker in zip(labels, standing, strict=True)]
        return (
            found,
            None,
            tuple(shown),
            "nothing is stored for it: never computed, expired, evicted or deleted",
            (lease is not None),
        )
    try:
        envelope = _envelope.unpack(raw)
    except DecodeError:
        return found, None, (), "what is stored there is not an envelope that this version reads", lease is not None
    why, compared = _compare(labels, standing, envelope.generations)
    if not why and found.load is None:
        why = "what is stored there fails the check of its key or its seal"
    return found, envelope, compared, why, lease is not None


def _compare(
    labels: Sequence[str], standing: Sequence[bytes | None], sealed: bytes
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Markers beside the generations that an envelope was sealed under: what was invalidated since, and how each is."""
    size = _envelope.MARKER_BYTES
    before = [sealed[at : at + size] for at in range(0, len(sealed), size)]
    shown = []
    voided = []
    for index, (label, marker) in enumerate(zip(labels, standing, strict=True)):
        agrees = index < len(before) and before[index] == marker
        if marker is None:
            state = "missing: invalidated, and nothing computed since"
        else:
            state = "agrees" if agrees else "changed since: invalidated"
        shown.append((label, state))
        if not agrees:
            voided.append(label)
    return (f"invalidated since it was computed, by {', '.join(voided)}" if voided else ""), tuple(shown)


def _judged(binding: Binding, found: Found, why: str) -> tuple[str, str]:
    if found.load is None:
        return "miss", why
    stale = binding.function.options.stale
    if found.now < found.expires:
        what = "a remembered error, raised again" if found.is_error else "fresh"
        return "hit", f"{what}, and never expires" if isinf(found.expires) else what
    if found.now < min(found.stale_until, found.expires + stale):
        return "stale hit", "expired, within stale=: served while one caller's refresh runs"
    return "miss", "expired"
