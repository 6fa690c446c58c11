"""The tenants of one cache: each has parts of its own over the one backend, under a prefix of its own.

A tenant's keys, markers, leases, flights, figures and entries in the process are apart from every other's, for they are
those of another cache. Which tenant is meant is bound in the context, and nothing is served where none is.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from memocache._cache.closing import Lifetime
from memocache._cache.wiring import Operations, Parts
from memocache._calls.cache_core import Core
from memocache._calls.tenant_lookup import Tenant, tenant_here
from memocache.exceptions import ConfigurationError

_LONGEST = 200


def tenant_prefix(prefix: str, tenant: object) -> str:
    """The prefix of a tenant: a cache with this prefix, and no tenants, has the same entries.

    Raises `ConfigurationError` for what is no name of a tenant.
    """
    if not isinstance(tenant, str) or not 0 < len(tenant) <= _LONGEST:
        raise ConfigurationError(
            f"a tenant is named by a text of 1 to {_LONGEST} characters; of a number, give str(number)"
        )
    return f"{prefix}/{quote(tenant, safe='', errors='surrogatepass')}"


class Tenants:
    """The tenants of a cache whose plain parts are `base`; `make` gives the parts of a cache with another prefix.

    The `most` tenants that were bound last are kept. One more goes when nobody uses it any longer, and with it what the
    process held for it; what a shared backend holds stays there.
    """

    def __init__(self, base: Parts, make: Callable[[str], Parts], prefix: str, most: int) -> None:
        self._base, self._make, self._prefix, self._most = base, make, prefix, most
        self._lock = threading.Lock()
        self._latest: OrderedDict[str, Tenant] = OrderedDict()
        # those in use too: two objects of one tenant in the process would not hear of each other's invalidations
        self._known: weakref.WeakValueDictionary[str, Tenant] = weakref.WeakValueDictionary()
        _of_all_caches.add(self)

    def inside(self, name: object) -> AbstractContextManager[None]:
        """Inside the block, calls of this thread or task, and of those that it starts, are for the tenant `name`."""
        prefix = tenant_prefix(self._prefix, name)
        with self._lock:
            tenant = self._known.get(prefix)
            if tenant is None:
                parts = self._make(prefix)
                parts.core.switch = self._base.core.switch
                tenant = self._known[prefix] = Tenant(self, parts.core, parts)
            self._latest[prefix] = tenant
            self._latest.move_to_end(prefix)
            while len(self._latest) > self._most:
                self._latest.popitem(last=False)
        return tenant.inside()

    def here(self) -> Parts:
        """The parts of the tenant that is bound in this context. Raises `ConfigurationError` where there is none."""
        parts: Parts = tenant_here(self).parts
        return parts

    def core(self) -> Core:
        """The core of the tenant that is bound in this context. Raises `ConfigurationError` where there is none."""
        return tenant_here(self).core

    def every(self) -> list[Parts]:
        """The parts of each tenant that the process holds."""
        with self._lock:
            return [tenant.parts for tenant in self._known.values()]

    def after_fork(self) -> None:
        """In a child: whoever held the lock is gone."""
        self._lock = threading.Lock()

    @property
    def parts(self) -> Parts:
        """The parts of the cache as a whole: what is asked of them is asked of the tenant that is bound."""
        return self._base._replace(
            operations=_TenantOperations(self, self._base.operations),
            lifetime=_TenantsLifetime(self, self._base.lifetime),
        )


_of_all_caches: weakref.WeakSet[Tenants] = weakref.WeakSet()


def _after_fork() -> None:
    for tenants in list(_of_all_caches):
        tenants.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _TenantOperations(Operations):
    """The operations of the tenant that is bound where they are asked for; the backend's health is everybody's."""

    def __init__(self, tenants: Tenants, base: Operations) -> None:
        self._tenants = tenants
        self.guard, self.health = base.guard, base.health
        self.soon = _never_soon, _never_soon

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tenants.here().operations, name)


def _never_soon(_: object) -> None:
    """Answers that a plain get goes by its steps, which ask for the tenant."""


class _TenantsLifetime(Lifetime):
    """Ends the parts of every tenant, and then those of the cache as a whole."""

    def __init__(self, tenants: Tenants, base: Lifetime | None) -> None:
        self._tenants, self._base = tenants, base

    def close(self, *, backend: bool = True) -> None:
        """As `Lifetime.close`."""
        for parts in self._tenants.every():
            parts.core.tier.let_go()
            if parts.lifetime is not None:
                parts.lifetime.close(backend=False)
        if self._base is not None:
            self._base.close(backend=backend)

    async def aclose(self, *, backend: bool = True) -> None:
        """As `Lifetime.aclose`."""
        for parts in self._tenants.every():
            if parts.lifetime is not None:
                await parts.lifetime.aclose(backend=False)
        if self._base is not None:
            await self._base.aclose(backend=backend)
