"""What binds a decorated function to the core of a cache, and the namespace that its compiled look-up reads.

A function is bound when it is first used. Until then, and whenever the default cache is replaced, its look-up reads an
empty table. What a bound function needs for a hit is put into the namespace then: entries, clock and fast path.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from itertools import repeat
from math import inf
from time import monotonic
from typing import Any, Protocol

from memocache._calls.cache_core import Core
from memocache._calls.call_key import Binding
from memocache._calls.function import Function
from memocache._calls.memory_miss import MissPath, PlainMiss
from memocache._calls.process_key import ExactEntries
from memocache._calls.remote_hit import FastPath
from memocache._calls.signature import PlainOnly
from memocache._runtime.disabled import DISABLED
from memocache._runtime.drivers import arun, run, unwrap
from memocache._runtime.effects import Steps
from memocache._runtime.outcome import Outcome
from memocache._stores.entry import Table
from memocache._stores.remote.envelope_io import UNFIT
from memocache._stores.remote.fast_read import Soon
from memocache.exceptions import UncacheableWarning


class _Nobody:
    """An entry that is never fresh."""

    fresh_until = -inf


class _Nothing(dict[Any, Any]):
    """The table of a look-up that finds nothing: it answers with `_Nobody`, in C and without a KeyError."""

    __missing__ = staticmethod(partial(next, repeat(_Nobody)))


_NOTHING = _Nothing()
no_look: Callable[[Any], None] = partial(next, repeat(None))
"""The look-up of a function that has no backend to ask: None whatever the call, in C."""


class Lookup(Protocol):
    """The object whose class calls the compiled look-up."""

    _self_function: Function

    def _self_bind_as_method(self, of_class: bool) -> None: ...


class State:
    """What binds a decorated function to a cache, and the namespace its compiled look-up reads."""

    def __init__(self, memoized: Lookup, function: Function, find_core: Callable[[], Core]) -> None:
        self.function = function
        self.find_core = find_core
        self.method = _looks_like_method(function)
        self._memoized = weakref.ref(memoized)
        self._namespace: dict[str, Any] = {}
        self._bound: tuple[Core, Binding] | None = None
        self._counted: tuple[Core, Table] | None = None
        """The core and table of the last binding: bound to that core again, the function goes on counting there."""
        self.settings: Mapping[str, Any] = {}

    def compile(self) -> Callable[..., Any]:
        """The look-up of this function, unbound."""
        function = self.function
        if self.method:
            function.become_method()
        name = function.signature.name
        self._namespace = namespace = {
            name("unwrap"): unwrap,
            name("run"): arun if function.is_async else run,
            name("off"): DISABLED.get,
            name("call"): self.call,
            name("unfit"): self.unfit_soon if function.is_async else self.unfit,
            name("plain"): function.plain,
            name("Outcome"): Outcome,
            name("PlainMiss"): PlainMiss,
            name("Soon"): Soon,
            name("UNFIT"): UNFIT,
            name("nobody"): _Nobody,
        }
        self.unbind()
        return function.signature.lookup(  # type: ignore[no-any-return]  # generated code has no types
            function.included() if function.direct else [],
            namespace,
            colour="async" if function.is_async else "sync",
            method=self.method
            and function.signature.names[:1] != []
            and function.signature.names[0] in function.included(),
            tagged=bool(function.options.tags),
        )

    def become_method(self) -> None:
        """The function turned out to be a method: its first parameter is known by identity, and it binds without
        wrapt's help.
        """
        memoized = self._memoized()
        if memoized is None or "__get__" in vars(type(memoized)):
            return
        if not self.method:
            self.method = True
            type(memoized).__call__ = staticmethod(self.compile())  # type: ignore[method-assign]  # a class of its own
        memoized._self_bind_as_method(self.function.descriptor is classmethod)

    def _recompile(self) -> None:
        """Other parameters make the key than when the look-up was compiled."""
        memoized = self._memoized()
        if memoized is not None:
            type(memoized).__call__ = staticmethod(self.compile())  # type: ignore[method-assign]  # a class of its own
            if "__get__" in vars(type(memoized)):
                memoized._self_bind_as_method(self.function.descriptor is classmethod)

    def unbind(self) -> None:
        """Forget the core; the next call finds it anew."""
        if self._counted is not None and self._counted[0].retired:
            self._counted = None
        self._bound = None
        self._spares = False
        name = self.function.signature.name
        self._namespace |= {
            name("look"): self.look,
            name("entries"): _NOTHING,
            name("monotonic"): monotonic,
            name("identities"): {},
            name("marks"): None,
        }

    def bound(self) -> tuple[Core, Binding]:
        """The core of the function's cache, and the function's binding to it."""
        bound = self._bound
        if bound is None or bound[0].retired:
            core = self.find_core()
            if core.tenant is not None:
                return core, core.tenant.bound(self)[0]  # and not bound itself: the next call may be another tenant's
            binding = self.bind(core)
            bound = self._bound = (core, binding)
            self._counted = core, binding.table
            name = self.function.signature.name
            self._namespace[name("look")] = self.fast_path(core, binding)
            if core.compiled_serves(binding):
                self._namespace |= {
                    name("monotonic"): core.tier.clock.monotonic,
                    name("identities"): core.tier.identities._tracked,
                    name("marks"): (core.near or core.tier).all_marks,
                }
                # last: from here on the look-up reads this cache's table
                self._show_entries(core, binding)
            if core.retired:  # meanwhile, and its `unbind` may have come before this
                self.unbind()
        return bound

    def bind(self, core: Core) -> Binding:
        """Bind the function to a core."""
        if self.function.exclude_also(core.places.exclude):
            self._recompile()
        return core.bind(self.function, method=self.method, user=self)

    def asked(self) -> tuple[Core, Binding]:
        """As `bound`, for a question that is no call: what the function captured may still change after it."""
        if self.function.settled:
            return self.bound()
        core = self.find_core()
        return core, core.bind(Function(*self.function.given), method=self.method)

    def redefine(self) -> None:
        """The function has other code now (a reload in place): it is what that says, from its next call on."""
        memoized = self._memoized()
        if memoized is not None:
            self.function = memoized._self_function = Function(*self.function.given)
            self._recompile()

    def spare_hashes(self) -> None:
        """An argument is no plain scalar: from now on only the hashes of those are asked, and of parts of keys."""
        self._spares = True
        self.entries_moved()

    def entries_moved(self) -> None:
        """The table's entries stand in another dict, or are to be read in another way."""
        bound = self._bound
        if bound is not None and self._namespace[self.function.signature.name("entries")] is not _NOTHING:
            self._show_entries(*bound)
            if self._bound is not bound:  # meanwhile
                self.unbind()

    def _show_entries(self, core: Core, binding: Binding) -> None:
        """Have the look-up read the entries of a table, where they stand now."""
        name, table = self.function.signature.name("entries"), binding.table
        while True:
            entries, shown = table.entries, core.entries(binding)
            if self._spares:
                # table and parts of one cache: the numbers of another say something else
                shown = PlainOnly(shown) if binding.exact is None else ExactEntries(entries, binding.exact)
            self._namespace[name] = shown
            if table.entries is entries:  # or it moved meanwhile, and another thread may have told of that before this
                return

    def look(self, values: tuple[Any, ...]) -> Any:
        """The first look-up of a function that is not bound yet, and every one for a tenant."""
        core, binding = self.bound()
        binding.check_name()
        look = self.fast_path(core, binding) if core.tenant is None else core.tenant.bound(self)[1]
        return look(values)

    def fast_path(self, core: Core, binding: Binding) -> Callable[[tuple[Any, ...]], Any]:
        """What looks before the engine does: an `Outcome` or a `Soon` to serve, a `PlainMiss` to
        compute, or what `call` begins with.
        """
        path: FastPath | MissPath
        if MissPath.serves(core.engine, binding):
            path = MissPath(core.engine, binding)
        elif FastPath.looks(core.engine, binding):
            path = FastPath(core.engine, binding)
        else:
            return no_look
        return path.look_soon if self.function.is_async else path.look

    def unfit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that the parameters which a wrapper shows do not fit, made without the cache."""
        result = self.function.run(*args, **kwargs)
        self._tell_of_unfit()  # not of a mistake, which was raised
        return result

    async def unfit_soon(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As `unfit`."""
        result = await self.function.run(*args, **kwargs)
        self._tell_of_unfit()
        return result

    def _tell_of_unfit(self) -> None:
        self.bound()[1].warn(
            "unfit",
            f"{self.function.name}: a call was not cached, since its wrapper takes other arguments than it shows; put "
            "@cached below the wrapper, or give the wrapper the __signature__ of its own calls",
            UncacheableWarning,
        )

    def call(self, values: tuple[Any, ...], begun: Any = None) -> Steps[Any]:
        """The steps of a call that the look-up did not serve."""
        core, binding = self.bound()
        binding.check_name()
        if core.off():
            return self.direct(core, values)
        if begun is not None and begun.binding is not binding:
            begun = None  # of a cache that was replaced while this call waited
        return self.steps(core, binding, values, begun)

    def direct(self, core: Core, values: tuple[Any, ...]) -> Steps[Outcome]:
        """The steps of a call with caching off."""
        return core.engine.leader.direct(self.function, values)

    def steps(self, core: Core, binding: Binding, values: tuple[Any, ...], begun: Any) -> Steps[Any]:
        """The steps of a call with caching on."""
        return core.engine.call(binding, values, begun)


def _looks_like_method(function: Function) -> bool:
    """A function of a class body whose first parameter is named as a method's, where no class tells it."""
    if function.descriptor is staticmethod:
        return False
    named = function.wants_class or (function.in_class and function.signature.names[:1] == ["self"])
    return function.descriptor is classmethod or named
