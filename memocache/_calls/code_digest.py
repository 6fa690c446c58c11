"""A digest of a function's code: equal where the code behaves alike, in every process of one Python version.

It covers the instructions, the constants that they load, names, parameters, flags, the exception table and the
functions within. It leaves out what no call can see: the file, the lines, and a docstring that no instruction loads.
"""

from __future__ import annotations

import dis
import functools
import types
import weakref
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import NoIdentity

_WITH_CONSTANT = frozenset(dis.hasconst)
_HAS_DOCSTRING = 0x4000000
"""The flag of Python 3.13 and newer that only tells of a docstring."""
_digests: dict[int, tuple[weakref.ref[types.CodeType], bytes]] = {}
"""By address: Python takes code for equal that differs in its exception table."""


def code_digest(function: Any) -> bytes:
    """The digest of a function's code and defaults; empty for what has no code of Python's."""
    code = getattr(function, "__code__", None)
    if type(code) is not types.CodeType:
        return b""
    try:
        defaults = canonical((function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items()))))
    except NoIdentity:
        defaults = b"?"
    return blake2b(_digest(code) + defaults, digest_size=16).digest()


def layers(function: Any) -> Iterator[Any]:
    """A function and those that it is a partial, a bound method or a wrapper of, from the outermost."""
    for _ in range(100):
        yield function
        name = "func" if isinstance(function, functools.partial) else "__wrapped__"
        try:
            function = getattr(function, name, None) or getattr(function, "__func__")  # noqa: B009  # of anything
        except Exception:  # there is none, or whatever an object's own __getattr__ raises
            return


def _digest(code: types.CodeType) -> bytes:
    at = id(code)
    known = _digests.get(at)
    if known is not None and known[0]() is code:
        return known[1]
    digest = blake2b(canonical(_parts(code)), digest_size=16).digest()
    _digests[at] = weakref.ref(code, lambda _: _digests.pop(at, None)), digest
    return digest


def _parts(code: types.CodeType) -> tuple[Any, ...]:
    instructions, constants = bytearray(), []
    for operation, argument in _instructions(code.co_code):
        if operation in _WITH_CONSTANT:
            constants.append(_constant(code.co_consts[argument]))
            argument = 0  # where a constant stands depends on a docstring before it
        instructions += bytes((operation, *argument.to_bytes(4, "big")))
    return (
        bytes(instructions),
        tuple(constants),
        code.co_names,
        code.co_varnames,
        code.co_cellvars,
        code.co_freevars,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_flags & ~_HAS_DOCSTRING,
        code.co_exceptiontable,
    )


def _instructions(code: bytes) -> Iterator[tuple[int, int]]:
    """Pairs of operation and argument; an argument of more than eight bits is spread over the pairs before its own."""
    wide = 0
    for at in range(0, len(code), 2):
        operation, argument = code[at], code[at + 1] | wide
        if operation == dis.EXTENDED_ARG:
            wide = argument << 8
        else:
            wide = 0
            yield operation, argument


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return "code", value.co_qualname, _digest(value)
    return ("items", *map(_constant, value)) if type(value) is tuple else value
