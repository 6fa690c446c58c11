"""A call that comes with its key: `KeyedCall` is what the engine asks of a function, of one given with a plain key.

Nothing is decorated: no signature is read and no key is made. The engine leads, follows and stores as for any call.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from memocache._calls.call_and_lead import Call
from memocache._calls.options import Options, check, ttl_setting
from memocache._calls.signature import Signature, Values
from memocache._stores.entry import Table
from memocache._stores.store import Address, Store, Unstorable
from memocache.exceptions import UncacheableWarning
from memocache.typing import MISSING


def _nothing() -> None:
    """A function without parameters."""


_OPTIONS: Options = check(Signature(_nothing, "get_or_compute"))


class KeyedCall:
    """The function of one call, and its binding: what `Call.binding` and its ``function`` are asked for."""

    name = None
    """Events of plain keys name no function."""
    held_by_reference = None
    """Nobody is told what the process holds by reference, as with `Cache.set`."""

    def __init__(
        self, function: Any, ttl: Any, tags: tuple[str, ...], table: Table, warned: set[str], *, is_async: bool
    ) -> None:
        if not callable(function):
            raise TypeError(
                "function takes what is to be called, without arguments, where the key has no value, and not a value "
                f"of type {type(function).__name__}; put lambda: before it"
            )
        if not is_async and inspect.iscoroutinefunction(function):
            raise TypeError("function is async: await cache.aio.get_or_compute(key, function)")
        self._written: Callable[[], Any] = function
        self.run: Callable[[], Any] = self._awaited if is_async else function
        made = ttl_setting(ttl)
        self.options = _OPTIONS if made is MISSING else replace(_OPTIONS, ttl=made)
        self.declared_tags = tags
        self.counters = table.counters
        self.mean_seconds = 0.0
        self._warned = warned

    async def _awaited(self) -> Any:
        result = self._written()
        return await result if inspect.isawaitable(result) else result

    @property
    def function(self) -> KeyedCall:
        """Binding and function are one: no other call shares them."""
        return self

    @property
    def signature(self) -> KeyedCall:
        """The signature is the function's too: it takes no arguments."""
        return self

    def split(self, values: Values) -> tuple[tuple[()], dict[str, Any]]:
        """The arguments of the call: none."""
        return (), {}

    def at(self, address: Address, store: Store) -> Call:
        """The call, of the entry at an address."""
        return Call(cast(Any, self), (), address, store)

    def rejected(self, refusal: Unstorable) -> None:
        """Warn once a function, at its line, of a value that cannot be stored."""
        message = f"get_or_compute: the value was returned uncached: {refusal.detail or refusal.cause}"
        code = getattr(self._written, "__code__", None)
        where = "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"
        if where in self._warned:
            return
        self._warned.add(where)
        if code is None:
            warnings.warn(message, UncacheableWarning, stacklevel=2)
        else:
            warnings.warn_explicit(message, UncacheableWarning, code.co_filename, code.co_firstlineno)
