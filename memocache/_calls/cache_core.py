"""`Core`: the parts of one cache that its decorated functions work with.

`Cache` builds a core and has it; a decorated function binds to the core alone. The core knows the stores and the
engine. It does not know the cache: whatever a function asks of the whole cache comes in as a callable of `Services`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

from memocache._calls.call_key import Binding, Places
from memocache._calls.engine import Engine
from memocache._calls.function import Function
from memocache._runtime.disabled import ALL, DISABLED
from memocache._runtime.effects import Steps
from memocache._runtime.object_identity import type_name
from memocache._stores.entry import Table
from memocache._stores.layered.near_cache import NearTier
from memocache._stores.remote.guard import BackendGuard
from memocache._stores.remote.store import SharedStore
from memocache.codecs.codec import Codec
from memocache.exceptions import ConfigurationError
from memocache.stats import FunctionStats
from memocache.typing import MISSING

_cores: weakref.WeakSet[Core] = weakref.WeakSet()


Look: TypeAlias = Callable[[tuple[Any, ...]], Any]
"""The first look-up of a function's calls."""


class Bound(Protocol):
    """Whatever is bound to a core: it can be told to look for its core anew."""

    def unbind(self) -> None:
        """Forget the core; the next call finds it anew."""
        ...

    settings: Mapping[str, Any]
    """Settings of its own, by name, beside those of every function."""

    def spare_hashes(self) -> None:
        """Ask no hashes but those of plain scalars, and of parts of keys, from now on."""
        ...

    def entries_moved(self) -> None:
        """Read the entries of the table where they stand now."""
        ...


class TenantUser(Protocol):
    """A decorated function that is bound to the core of each tenant that calls it."""

    function: Function
    method: bool

    def bind(self, core: Core) -> Binding:
        """Bind to a core."""
        ...

    def fast_path(self, core: Core, binding: Binding) -> Look:
        """What looks before the engine does."""
        ...


class CoreTenant(Protocol):
    """The tenant that a core is for."""

    def bound(self, user: TenantUser) -> tuple[Binding, Look]:
        """What a decorated function is bound to for this tenant, and its first look-up."""
        ...

    def inside(self) -> AbstractContextManager[None]:
        """Inside the block, calls are for this tenant."""
        ...


class Services(NamedTuple):
    """The operations of the whole cache that a decorated function offers as its own."""

    invalidate_function: Callable[[str], Steps[None]]
    zero: Callable[[str, list[Table]], Steps[None]]
    function_stats: Callable[[str], FunctionStats]
    declare: Callable[[str, Mapping[str, Any]], None]
    after_fork: Callable[[], None]


class Core:
    """Stores, engine and tier of one cache, and the binding of functions to them."""

    def __init__(
        self,
        places: Places,
        engine: Engine,
        codec: Codec,
        services: Services,
        *,
        guard: BackendGuard | None,
        near: Any,
        max_value_bytes: int,
    ) -> None:
        self.places = places
        self.engine = engine
        self.codec = codec
        self.services = services
        self.guard = guard
        self.max_value_bytes = max_value_bytes
        self.near: NearTier | None = near
        self.tier = places.tier
        self.tenant: CoreTenant | None = None
        """The tenant that this core is for, if its cache has tenants."""
        self.switch = id(self)
        """What `disabled` knows this core by, or all tenants' cores of one cache."""
        self.retired = False
        """Whether another cache has taken over: functions bound here look for theirs anew."""
        _cores.add(self)

    def bind(self, function: Function, *, method: bool, user: Bound | None = None) -> Binding:
        """Bind a function; a `user` is unbound when the core retires."""
        self.codec.trust_annotations(function.plain)
        for error in function.options.errors:
            if error.__module__ != "builtins":
                try:
                    self.codec.trust(error)
                except ConfigurationError:
                    pass  # no name leads to it: its errors cannot be stored, and will count as rejected
        binding = Binding(self.places, function, method=method)
        if user is None:
            return binding
        self.tier.lifetimes.use(binding.table, user, alone=binding.alone)
        told = {**self.parameters(binding), **user.settings}
        told["exclude"] = tuple(type_name(item) if isinstance(item, type) else item for item in told["exclude"])
        self.services.declare(function.name, told)
        return binding

    def parameters(self, binding: Binding) -> dict[str, Any]:
        """The settings in force for a function, by name."""
        options = binding.function.options
        shown = {name: getattr(options, name) for name in options.__slots__}
        shown["name"] = binding.function.name
        if shown["ttl"] is MISSING:
            shown["ttl"] = self.engine.default_ttl
        for name in ("idle", "stale", "stale_if_error", "soft_timeout", "hard_timeout"):
            shown[name] = shown[name] or None
        shown["exclude"] = (*options.exclude, *self.places.exclude)
        shown["maxsize"] = options.maxsize or None
        if shown["ttl"] == float("inf"):
            shown["ttl"] = None
        return shown

    def compiled_serves(self, binding: Binding) -> bool:
        """Whether the compiled look-up may serve hits: from the process alone, and with nothing to weigh."""
        function = binding.function
        # beside a shared backend every hit asks its markers, also one on an entry that stays in the process
        reads_process = self.places.shared is None or (self.near is not None and binding.shares)
        return function.direct and self.engine.emit is None and reads_process and not function.options.early

    def entries(self, binding: Binding) -> Any:
        """The entries that the compiled look-up may serve, by key."""
        if self.near is None:
            return binding.table.entries
        shared: Any = self.places.shared
        return shared.copies(binding.table)

    def off(self) -> bool:
        """Whether caching is disabled in this context."""
        ids = DISABLED.get()
        return ids is not None and (not ids.isdisjoint(ALL) or self.switch in ids)

    def retire(self) -> None:
        """Let the functions bound here look for theirs anew, from now on."""
        self.retired = True
        self.unbind()

    def unbind(self) -> None:
        """Let every function bound here look for its core anew, once."""
        for table in self.tier.tables():
            for user in list(table.users):
                user.unbind()

    def after_fork(self) -> None:
        """In a child: other threads are gone, and with them what they held and led."""
        self.tier.after_fork()
        if self.near is not None:
            self.near.after_fork()
        self.engine.flights.after_fork()
        if self.guard is not None:
            self.guard.after_fork()
        if isinstance(self.places.shared, SharedStore):
            self.places.shared.keeper.after_fork()
            self.places.shared.prolonger.after_fork()
        self.services.after_fork()


def _after_fork() -> None:
    for core in list(_cores):
        core.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
