"""What a decorated function is: its colour, its name, its signature, and the identity that goes into its keys.

A function is known by its name. Functions whose name says too little (lambdas, functions of ``__main__``, nested
functions) are also known by a digest of their code and by what they captured when decorated, by value. ``name=``
vouches that the name alone does it.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from memocache._calls.keys.canonical import canonical
from memocache._calls.options import Options, check, template_fields
from memocache._calls.signature import Signature
from memocache._runtime.identity import NoIdentity, TokenSource
from memocache.exceptions import ConfigurationError


class Function:
    """One decorated function and its options."""

    def __init__(self, target: Any, settings: dict[str, Any]) -> None:
        self.descriptor = type(target) if isinstance(target, classmethod | staticmethod) else None
        plain = target.__func__ if self.descriptor else target
        if isinstance(plain, type):
            raise TypeError(f"cached() takes functions, and {plain.__qualname__} is a class; decorate its methods")
        if not callable(plain):
            raise TypeError(f"cached() takes functions, not {type(plain).__name__} objects")
        inner = _unwrapped(plain)
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            raise TypeError(
                f"cached() cannot remember {_qualname(plain)}: a generator is used up by its first reader; "
                "return a list instead"
            )
        self.plain: Callable[..., Any] = plain
        # an object with `async def __call__` is as async as a function
        self.is_async = any(map(inspect.iscoroutinefunction, (inner, type(inner).__call__)))
        self.signature = Signature(plain, _qualname(plain))
        outer, _, _ = self.signature.qualname.rpartition(".")
        self.in_class = bool(outer) and not outer.endswith("<locals>")
        # the inside of a class method: its first argument is a class
        self.wants_class = self.descriptor is None and self.in_class and self.signature.names[:1] == ["cls"]
        self.options: Options = check(self.signature, **settings)
        self.name = self.options.name or f"{_module(inner)}.{_qualname(plain)}"
        self.key_fields = (
            template_fields(self.options.key, self.signature, "key") if isinstance(self.options.key, str) else None
        )
        self._parts = self._identity_parts()
        try:
            self._identity: bytes | NoIdentity = canonical(self._parts)
            self._parts = ()  # what it captured may change from now on; its identity does not
        except NoIdentity as refusal:
            self._identity = refusal.with_traceback(None)
        # whether the key is made of parameter values as they are, so that the compiled look-up can serve it
        self.direct = not callable(self.options.key) and all(
            name in self.signature.names for name in (*(self.key_fields or ()), *self.options.exclude)
        )

    @property
    def declared_tags(self) -> tuple[str, ...]:
        """The tags as declared: templates unrendered, a callable by its name."""
        tags = self.options.tags
        return tags if isinstance(tags, tuple) else (f"{getattr(tags, '__name__', 'callable')}()",)

    def included(self) -> list[str]:
        """The parameters whose plain values make the key; empty when a callable or a template with attributes does."""
        if self.key_fields is not None:
            return (
                list(dict.fromkeys(self.key_fields)) if all(f in self.signature.names for f in self.key_fields) else []
            )
        return [name for name in self.signature.names if name not in self.options.exclude]

    def _identity_parts(self) -> tuple[Any, ...]:
        """What the function is, for its keys, as it stands when decorated."""
        options = self.options
        version = options.version
        if version == "auto":
            version = "auto:" + code_digest(_unwrapped(self.plain)).hex()
        parts: list[Any] = [
            "function",
            version,
            tuple(self.signature.names),
            options.key if isinstance(options.key, str) else bool(options.key),
            options.exclude,
        ]
        if options.name is None:
            parts += _captures(self.plain, ())
        return tuple(parts)

    def identity(self, process: TokenSource) -> tuple[bytes, str | None]:
        """Canonical bytes of what the function is, and why only this process could know it (None: any could).

        Raises `NoIdentity` if it captured something that not even `process` could name.
        """
        if isinstance(self._identity, bytes):
            return self._identity, None
        why = f"it captured an object of {self._identity.type_name}, which no other process can name"
        return canonical(self._parts, process), why


def _captures(function: Any, above: tuple[Any, ...]) -> list[Any]:
    """What a function is beyond its name: its code where the name says too little, and what it captured, by value."""
    if isinstance(function, functools.partial):
        inner = _captures(function.func, above)
        return ["partial", inner, function.args, tuple(sorted(function.keywords.items())), _named(function.func)]
    if isinstance(function, types.MethodType):
        return ["method", _captures(function.__func__, above), function.__self__]
    if not isinstance(function, types.FunctionType):
        return [] if isinstance(function, types.BuiltinFunctionType) else ["object", function]
    parts: list[Any] = []
    if function.__name__ == "<lambda>" or function.__module__ == "__main__" or "<locals>" in function.__qualname__:
        parts.append(code_digest(function))
    for cell in function.__closure__ or ():
        try:
            held = cell.cell_contents
        except ValueError:
            continue  # unbound: a name that is assigned later, often the function's own
        if held is function or any(held is outer for outer in above):
            continue
        # isinstance sees through the wrapper of a decorated function, whose attributes are the function's own
        if isinstance(held, types.FunctionType):
            parts.append((_named(held), *_captures(held, (*above, function))))
        elif isinstance(held, types.ModuleType):
            parts.append(("module", held.__name__))
        else:
            parts.append(("cell", held))
    return parts


def code_digest(function: Any) -> bytes:
    """A digest of a function's instructions, constants, names and defaults; the same in every process of one Python
    version,
    and blind to the file and line where the code stands."""
    from hashlib import blake2b

    code = getattr(function, "__code__", None)
    if code is None:
        return b""
    try:
        defaults = canonical((function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items()))))
    except NoIdentity:
        defaults = b"?"
    return blake2b(canonical(_code_parts(code)) + defaults, digest_size=16).digest()


def _code_parts(code: types.CodeType) -> tuple[Any, ...]:
    constants = tuple(_code_parts(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    return (
        code.co_code,
        tuple(map(_constant, constants)),
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_flags,
    )


def _constant(value: Any) -> Any:
    return ("...",) if value is ... else value


def _unwrapped(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _named(function: Any) -> str:
    return f"{_module(function)}.{_qualname(function)}"


def _module(function: Any) -> str:
    return getattr(function, "__module__", None) or type(function).__module__ or "builtins"


def _qualname(function: Any) -> str:
    inner = _unwrapped(function)
    return getattr(inner, "__qualname__", None) or type(inner).__qualname__


def name_of(function: Any) -> str:
    """The name of a decorated function, a plain one, or the name itself; raises `ConfigurationError`."""
    if isinstance(function, str):
        if not function:
            raise ConfigurationError("a function's name is not empty")
        return function
    found = getattr(function, "_self_function", None)  # a Memoized, or a bound one through it
    if isinstance(found, Function):
        return found.name
    if callable(function):
        return f"{function.__module__}.{function.__qualname__}"
    raise ConfigurationError("takes a decorated function or a function's name")


def name_or_none(function: Any) -> str | None:
    """As `name_of`; None for None."""
    return None if function is None else name_of(function)
