"""A function's signature, compiled: normalising a call, taking it apart again, and the look-up that serves a hit.

The generated functions have the signature of the user's function (same names, kinds and defaults, same
``__qualname__``), so the interpreter's own argument binding normalises the call: positional, keyword and left-out
spellings come out as one tuple of values, and a call that the function would refuse raises the very TypeError that
the function would raise.

Above a wrapper that takes anything (``*args, **kwargs``) the parameters are those that it shows
(`functools.wraps`). They say which call it is; the wrapper itself is called as the caller spelled it, for what a
left-out argument means to it only it knows.

The look-up key of the process is the arguments and their exact types, ``(a, b, type(a), type(b))``: ``1``, ``1.0``
and ``True`` are apart. Only calls whose arguments are all plain scalars are ever entered under such a key
(`scalar_key`).
"""

from __future__ import annotations

import functools
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from memocache._calls.keys.exact import LARGEST, LONGEST, PLAIN_KINDS, is_plain
from memocache._calls.lookup_templates import COMPUTE, LOOKUP, METHOD_KEY, MISS_ASYNC, MISS_SYNC, SPELLED
from memocache._runtime import free_threading

SELF = object()
"""Stands, in the key of a method's call, where the type of `self` would: the value beside it is a token's number."""

Values = tuple[Any, ...]
_EXACT = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)
_PLAIN_KINDS = PLAIN_KINDS | {id(SELF)}

# From 3.14 on annotations are evaluated when asked for, and may name what is not there yet: they are left as they are.
_UNEVALUATED: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    from annotationlib import Format

    _UNEVALUATED["annotation_format"] = Format.FORWARDREF


class PlainOnly:
    """Entries as the look-up reads them of a function whose arguments' own hashes count: a key that is not all plain
    scalars is not there (see `scalar_key`), so it is not hashed to find that out.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Any) -> None:
        self._entries = entries

    def __getitem__(self, key: Values) -> Any:
        """The entry under a key; raises KeyError."""
        for kind in key[len(key) // 2 :]:
            if id(kind) not in _PLAIN_KINDS:  # its own hash may be code of a metaclass
                raise KeyError
        return self._entries[key]


class Spelled(tuple[Any, ...]):
    """The values of a call, and how the caller spelled it."""

    args: Values
    kwargs: dict[str, Any]


class Signature:
    """The parameters of one function. With `spelled`, it is called as its callers spell it."""

    __slots__ = (
        "_bind",
        "_kinds",
        "_prefix",
        "_spreads",
        "names",
        "parameters",
        "qualname",
        "spelled",
        "split",
        "spread",
        "var_keyword",
    )

    def __init__(self, function: Callable[..., Any], qualname: str) -> None:
        signature, self.spelled = _signature(function)
        self.parameters = list(signature.parameters.values())
        self.names = [parameter.name for parameter in self.parameters]
        self._kinds = [parameter.kind for parameter in self.parameters]
        self._spreads = Parameter.VAR_POSITIONAL in self._kinds or Parameter.VAR_KEYWORD in self._kinds
        self.qualname = qualname
        self.var_keyword = next((p.name for p in self.parameters if p.kind is Parameter.VAR_KEYWORD), None)
        self._prefix = "_mc_"
        while any(name.startswith(self._prefix) for name in self.names):
            self._prefix += "_"
        p = self._prefix
        source = f"def bind({self._text()}):\n    return ({''.join(f'{n}, ' for n in self.names)})\n"
        self._bind = self._compile(source, "bind", {})
        args = "".join(
            f"*{p}v[{i}], " if q.kind is Parameter.VAR_POSITIONAL else f"{p}v[{i}], "
            for i, q in enumerate(self.parameters)
            if q.kind not in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
        )
        kwargs = "".join(
            f"**{p}v[{i}], " if q.kind is Parameter.VAR_KEYWORD else f"{q.name!r}: {p}v[{i}], "
            for i, q in enumerate(self.parameters)
            if q.kind in (Parameter.KEYWORD_ONLY, Parameter.VAR_KEYWORD)
        )
        source = f"def split({p}v):\n    return ({args}), {{{kwargs}}}\n"
        self.spread: Callable[[Values], tuple[Values, dict[str, Any]]] = self._compile(source, "split", {})
        """The arguments of a call by its values, defaults filled in."""
        self.split = self._as_spelled if self.spelled else self.spread
        """What the function is called with."""

    def bind(self, args: Values, kwargs: Mapping[str, Any]) -> Values:
        """One value a parameter, in order, defaults filled in; TypeError as the function itself would raise it."""
        values: Values = self._bind(*args, **kwargs)
        return self._spell(values, args, dict(kwargs)) if self.spelled else values

    def fit(self, args: Values, kwargs: dict[str, Any]) -> Values | None:
        """As `bind`; None for a call that the shown parameters do not fit."""
        try:
            return self.bind(args, kwargs)
        except TypeError:
            return None

    def _as_spelled(self, values: Values) -> tuple[Values, dict[str, Any]]:
        return (values.args, values.kwargs) if isinstance(values, Spelled) else self.spread(values)

    @staticmethod
    def _spell(values: Values, args: Values, kwargs: dict[str, Any]) -> Spelled:
        spelled = Spelled(values)
        spelled.args, spelled.kwargs = args, kwargs
        return spelled

    def known(self, name: str) -> bool:
        """Whether a call may pass something by this name."""
        return self.var_keyword is not None or name in self.names

    def lookup(self, included: list[str], namespace: dict[str, Any], *, colour: str, method: bool, tagged: bool) -> Any:
        """Compile the function that serves a hit from the process and otherwise hands the call's values to the engine.

        `namespace` gives ``entries, monotonic, off, unwrap, run, call, look, plain, Outcome, PlainMiss, UNFIT`` (and
        ``identities, nobody`` for a method, ``marks`` if tagged, ``unfit`` if `spelled`); the caller may exchange them
        later. `colour` is "sync" or "async".

        Between the last look at the entry and the count on it there is no call: Python changes threads at calls, so
        what takes the entry away comes before both or after both.
        """
        p = self._prefix
        names = "".join(f"{name}, " for name in self.names)
        values = f"{p}bound" if self.spelled else f"({names})"
        key, guard = self._key(included, method), ""
        if self.var_keyword in included:
            guard += f" and not {self.var_keyword}"
        if tagged:
            guard += f" and {p}entry.epoch == {p}marks.epoch"
        wait = "await " if colour == "async" else ""
        compute = COMPUTE.format(p=p, wait=wait, args=self._passed())
        miss, depth = (MISS_ASYNC, 8) if colour == "async" else (MISS_SYNC, 12)
        source = LOOKUP.format(
            a="async " if colour == "async" else "",
            name="lookup",
            signature=self._text(),
            p=p,
            key=key,
            guard=guard,
            count=f"with {p}counting: " if free_threading.FREE_THREADED else "",
            miss=miss.format(p=p, values=values, compute=textwrap.indent(compute, " " * depth)),
        )
        if self.spelled:
            head = SPELLED.format(
                a="async " if colour == "async" else "",
                wait=wait,
                name="lookup",
                p=p,
                names=f"({names})" if names else f"{p}values",
            )
            source = head + source.partition("\n")[2]
            namespace[f"{p}fit"] = self.fit
        if method:
            before, _, after = source.partition(f"        {p}entry = {p}entries[{key}]\n")
            source = before + METHOD_KEY.format(p=p, me=self.names[0], key=key) + after
        return self._compile(source, "lookup", namespace)

    def _key(self, included: list[str], method: bool) -> str:
        p = self._prefix
        values, kinds = [], []
        for parameter in self.parameters:
            name = parameter.name
            if name not in included or parameter.kind is Parameter.VAR_KEYWORD:
                continue
            if method and name == self.names[0]:
                values.append(f"{p}tracked.number")
                kinds.append(f"{p}SELF")
            elif parameter.kind is Parameter.VAR_POSITIONAL:
                values.append(f"*{name}")
                kinds.append(f"*{p}map({p}type, {name})")
            else:
                values.append(name)
                kinds.append(f"{p}type({name})")
        return "(" + "".join(f"{part}, " for part in values + kinds) + ")"

    def scalar_key(self, values: Values, included: list[str], number: int | None = None) -> Values | None:
        """The look-up key of a call whose included arguments are all plain scalars, or None.

        `number` is the token of `self`, which then stands for the first value.
        """
        parts = self.parts(values, included)
        if parts is None:
            return None
        kinds: list[Any] = list(map(type, parts))
        if number is not None:
            parts[0], kinds[0] = number, SELF
        for kind, part in zip(kinds, parts, strict=True):
            # as `is_plain` says, without a call: a thousand calls at once would feel it
            if kind is int:
                fits = -LARGEST < part < LARGEST
            elif kind is str or kind is bytes:
                fits = len(part) <= LONGEST
            else:
                fits = kind is SELF or is_plain(part, kind)
            if not fits:
                return None
        return (*parts, *kinds)

    def parts(self, values: Values, included: list[str]) -> list[Any] | None:
        """The included arguments of a call, those of ``*args`` one by one; None where ``**kwargs`` holds some."""
        if not self._spreads and len(included) == len(values):
            return list(values)
        parts: list[Any] = []
        for name, how, value in zip(self.names, self._kinds, values, strict=True):
            if name not in included:
                continue
            if how is Parameter.VAR_POSITIONAL:
                parts += value
            elif how is not Parameter.VAR_KEYWORD:
                parts.append(value)
            elif value:
                return None
        return parts

    def kinds_of(self, included: list[str]) -> tuple[Any, ...]:
        """The kinds of the `included` parameters, for `regroup`."""
        return tuple([parameter.kind for parameter in self.parameters if parameter.name in included])

    def _text(self) -> str:
        """The parameter list as source, defaults by reference."""
        parts = []
        seen_star = False
        for index, parameter in enumerate(self.parameters):
            kind = parameter.kind
            if kind is Parameter.VAR_POSITIONAL:
                seen_star = True
                parts.append(f"*{parameter.name}")
                continue
            if kind is Parameter.VAR_KEYWORD:
                parts.append(f"**{parameter.name}")
                continue
            if kind is Parameter.KEYWORD_ONLY and not seen_star:
                seen_star = True
                parts.append("*")
            default = "" if parameter.default is Parameter.empty else f"={self._prefix}d{index}"
            parts.append(parameter.name + default)
            if kind is Parameter.POSITIONAL_ONLY:
                following = self.parameters[index + 1 : index + 2]
                if not following or following[0].kind is not Parameter.POSITIONAL_ONLY:
                    parts.append("/")
        return ", ".join(parts)

    def _passed(self) -> str:
        """The arguments of a call of the function by the values of its parameters, as source."""
        text: dict[Any, str] = {
            Parameter.VAR_POSITIONAL: "*{0}",
            Parameter.VAR_KEYWORD: "**{0}",
            Parameter.KEYWORD_ONLY: "{0}={0}",
        }
        return ", ".join(text.get(parameter.kind, "{0}").format(parameter.name) for parameter in self.parameters)

    def _compile(self, source: str, name: str, namespace: dict[str, Any]) -> Any:
        p = self._prefix
        for index, parameter in enumerate(self.parameters):
            if parameter.default is not Parameter.empty:
                namespace[f"{p}d{index}"] = parameter.default
        namespace |= {f"{p}type": type, f"{p}map": map, f"{p}id": id, f"{p}Exception": Exception, f"{p}SELF": SELF}
        namespace |= {f"{p}RecursionError": RecursionError, f"{p}BaseException": BaseException}
        namespace[f"{p}counting"] = free_threading.COUNTING
        # the arguments' names and the prefix make the source: no text of the user's but identifiers is compiled
        exec(_code(source), namespace)
        function = namespace.pop(name)
        function.__qualname__ = self.qualname
        function.__name__ = self.qualname.rpartition(".")[2]
        return function

    def name(self, short: str) -> str:
        """The name under which generated code finds `short` in its namespace."""
        return self._prefix + short


def regroup(parts: Values, kinds: tuple[Any, ...]) -> Values:
    """The values of parameters of these kinds, of the parts of a `scalar_key`."""
    spread = len(parts) - sum(kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) for kind in kinds)
    values: list[Any] = []
    at = 0
    for kind in kinds:
        if kind is Parameter.VAR_KEYWORD:
            values.append({})
            continue
        size = spread if kind is Parameter.VAR_POSITIONAL else 1
        values.append(parts[at : at + size] if kind is Parameter.VAR_POSITIONAL else parts[at])
        at += size
    return tuple(values)


def declared(function: Callable[..., Any], *, follow_wrapped: bool = True) -> inspect.Signature:
    """As `inspect.signature`, annotations left as they are."""
    return inspect.signature(function, follow_wrapped=follow_wrapped, **_UNEVALUATED)


def _signature(function: Callable[..., Any]) -> tuple[inspect.Signature, bool]:
    """The parameters that bind the calls of a function, and whether only a wrapper shows them."""
    try:
        own = declared(function, follow_wrapped=False)
        shown = declared(function)
    except (ValueError, TypeError):  # built-ins without a signature
        kinds = (("args", Parameter.VAR_POSITIONAL), ("kwargs", Parameter.VAR_KEYWORD))
        own = shown = inspect.Signature([Parameter(name, kind) for name, kind in kinds])
    taken = own.parameters
    same = list(taken.items()) == list(shown.parameters.items())
    if same or not {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD} & {p.kind for p in taken.values()}:
        # what stands before another's code (wrapt, a class) may look like it and take anything
        return own, _speaks_for_others(function)
    for name, parameter in taken.items():
        hidden = parameter.kind is Parameter.KEYWORD_ONLY and parameter.default is not Parameter.empty
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) or (
            hidden and name not in shown.parameters
        ):
            continue
        other = shown.parameters.get(name)
        if other is None or other.default is not parameter.default:
            return own, False  # the wrapper has parameters of its own, which what it shows does not tell
    return shown, True


def _speaks_for_others(function: Any) -> bool:
    """Whether the parameters of a callable are only shown: a wrapper's, or those that an object of C declares (a ufunc
    of numpy takes no `signature` beside a `dtype`, be they the defaults).
    """
    while isinstance(function, functools.partial):
        function = function.func
    kind = type(function)
    return kind not in _EXACT and (hasattr(function, "__wrapped__") or type(kind.__call__) is not types.FunctionType)


@functools.lru_cache(maxsize=1024)
def _code(source: str) -> types.CodeType:
    return compile(source, "<memocache>", "exec")
