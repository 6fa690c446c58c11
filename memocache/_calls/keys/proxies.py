"""What a proxy stands for: an object whose ``__class__`` is not its type speaks for another one.

Its hash and equality are those of whatever it stands for at the moment, so it is known as that, or refused; never by
its own identity. The exceptions are wrappers of functions and mocks, which are what they are from beginning to end.
None of the libraries is imported here: a value of theirs can only exist once its module is in `sys.modules`.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from memocache._runtime.object_identity import NoIdentity, mro_of

_WHY = "is a proxy, and not the object that it stands for: pass that object"


def is_proxy(value: Any) -> bool:
    """Whether an object gives itself out for one of another class. Raises what its ``__class__`` raises."""
    return value.__class__ is not type(value)


def stood_for(value: Any, cls: type) -> tuple[Any, ...] | None:
    """Return the tuple (kind, parts...) of what a proxy stands for now; None for one that is only itself.

    Raises `NoIdentity` for proxies of unknown kinds, and what asking for the object raises.
    """
    ancestors = frozenset(map(id, mro_of(cls)))
    if _is(ancestors, "werkzeug.local", "LocalProxy"):
        return "proxy", cls, object.__getattribute__(value, "_get_current_object")()
    if _is(ancestors, "django.utils.functional", "LazyObject"):
        if value._wrapped is sys.modules["django.utils.functional"].empty:
            value._setup()
        return "proxy", cls, value._wrapped
    if is_wrapper(cls):
        return None
    if _is(ancestors, "wrapt", "BoundFunctionWrapper"):
        return "bound", value._self_parent, value._self_instance
    if cls.__module__.startswith("wrapt") and _is(ancestors, "wrapt", "ObjectProxy"):  # a subclass may hold more
        return "proxy", cls, value.__wrapped__
    if value.__class__ is types.MethodType and "_memoized" in vars(cls):  # a decorated method of one object
        return "bound", value.__func__, value.__self__
    if _is(ancestors, "unittest.mock", "NonCallableMock"):
        return None
    raise NoIdentity(cls, _WHY)


def is_wrapper(cls: type) -> bool:
    """Whether instances of a class are functions in a wrapper, a decorated function among them."""
    return _is(frozenset(map(id, mro_of(cls))), "wrapt", "FunctionWrapper")


def _is(ancestors: frozenset[int], module: str, name: str) -> bool:
    return id(getattr(sys.modules.get(module), name, _WHY)) in ancestors
