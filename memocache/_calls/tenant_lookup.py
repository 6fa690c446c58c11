"""Which tenant a call is for: the one that is bound in its context, and what functions are bound to for that tenant.

Each tenant has a core of its own, so nothing is shared but the backend. A function that is decorated once has a binding
for each tenant that called it. The bindings belong to the tenant, and go with it or with the function.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from memocache._calls.cache_core import Core, Look, TenantUser
from memocache._calls.call_key import Binding
from memocache.exceptions import ConfigurationError

_HERE: ContextVar[Mapping[object, Tenant]] = ContextVar("memocache_tenants")
"""The tenants that are bound in this context, by the object that makes those of one cache."""


class Tenant:
    """One tenant of a cache: its core, and what decorated functions are bound to for it."""

    def __init__(self, owner: object, core: Core, parts: Any) -> None:
        self._owner = owner
        self.core = core
        self.parts = parts
        """The other parts of its cache, which are nothing to a call."""
        self._bindings: weakref.WeakKeyDictionary[TenantUser, tuple[Binding, Look]] = weakref.WeakKeyDictionary()
        core.tenant = self

    def bound(self, user: TenantUser) -> tuple[Binding, Look]:
        """What a decorated function is bound to for this tenant, and its first look-up."""
        known = self._bindings.get(user)
        # a function that was redefined, or turned out to be a method, is bound anew
        if known is None or known[0].function is not user.function or known[0].method != user.method:
            binding = user.bind(self.core)
            known = self._bindings[user] = binding, user.fast_path(self.core, binding)
        return known

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Inside the block, calls of this thread or task, and of those that it starts, are for this tenant."""
        reset = _HERE.set({**_HERE.get({}), self._owner: self})
        try:
            yield
        finally:
            with suppress(ValueError):  # left in another context than it was entered in: nothing is bound there
                _HERE.reset(reset)


def tenant_here(owner: object) -> Tenant:
    """The tenant of a cache that is bound in this context. Raises `ConfigurationError` where there is none."""
    here = _HERE.get({}).get(owner)
    if here is None:
        raise ConfigurationError(
            "no tenant is bound here: a cache with tenants=True is used inside of `with cache.tenant(name):`, and what "
            "is async is awaited there too"
        )
    return here
