"""The writing half of the codec: one msgpack object of a value, in pieces.

Lists and dicts are packed by msgpack's C code in one go. It writes a bytearray, a memoryview, a frozendict and its own
ExtType without asking, so a survey of the types, one level at a time and also in C, goes first; it finds cycles and
excessive size as well. The packer asks back for everything that is not msgpack's own. Which types have a code, and how
their bodies are made, the writer is told by `Kinds`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol

from msgpack import ExtType, Packer, Timestamp

from memocache.codecs import newer_types as _newer
from memocache.codecs import out_of_band as _apart
from memocache.codecs.ext_types import Body, Buffer, Kind, Unfit
from memocache.codecs.refusals import refusal

SCALARS: Final = frozenset((type(None), bool, int, float, str, bytes))
NATIVE: Final = SCALARS | {list, dict}
# What the packer would write as something else, or as an extension of its own.
SILENT: Final = frozenset((bytearray, memoryview, ExtType, Timestamp)) | _newer.SILENT
_KEEP_PACKER = 1 << 16
_EVERYTHING: Final = 1 << 62


def too_large(most: int) -> str:
    """Why what has too many bytes is refused."""
    return f"more than {most} bytes cannot be stored; return less, or give the Cache a larger max_value_bytes"


def _too_deep(most: int) -> str:
    return f"what is nested deeper than {most} levels cannot be stored; return what is flatter"


class Kinds(Protocol):
    """What a writer asks its codec: how a type is written, and the bounds of a payload."""

    max_depth: int
    max_bytes: int

    def kind_of(self, cls: type) -> Kind | None:
        """Return how instances of exactly `cls` are written, or None."""
        ...


class Writer:
    """Packs values; `errors` is what the packer does about lone surrogates (None: it raises). Large arrays go to
    `aside`, and what has no code to `kept`, if there is one.
    """

    def __init__(
        self,
        kinds: Kinds,
        errors: str | None,
        aside: _apart.Aside | None = None,
        kept: _apart.Kept | None = None,
    ) -> None:
        self._kinds = kinds
        self._aside = aside
        self._kept = kept
        self._max_bytes = kinds.max_bytes if kept is None else _EVERYTHING
        self._errors = errors
        # A packer must not be entered twice, by another thread or by a finalizer: each call takes one out of the pool
        # of its depth, and puts it back if all went well.
        self._pools: list[list[Packer]] = [[] for _ in range(kinds.max_depth + 1)]

    def pieces(self, value: object) -> tuple[Buffer, ...]:
        """Return the payload of `value` in pieces: an array's bytes are among them, uncopied."""
        if type(value) in NATIVE:
            return (self.pack(value),)
        code, body = self._body(0, value)
        parts = (body,) if isinstance(body, bytes) else body
        return ext_header(code, sum(map(len, parts))), *parts

    def pack(self, value: object, depth: int = 0) -> bytes:
        """Return the bytes of `value`, which lies `depth` levels deep."""
        kind = type(value)
        if (kind is list or kind is dict) and not _is_flat(value):
            depth, silent = self._survey(value, depth)
            if silent:
                value = self._replace_silent(depth, value)
        pool = self._pools[depth]
        try:
            packer = pool.pop()
        except IndexError:
            packer = Packer(
                default=partial(self._extend, depth), strict_types=True, unicode_errors=self._errors, buf_size=1024
            )
        packed: bytes = packer.pack(value)
        if len(packed) < _KEEP_PACKER:
            pool.append(packer)
        return packed

    def _survey(self, value: Any, depth: int) -> tuple[int, bool]:
        """Return the depth of the deepest list or dict in `value`, and whether there is anything the packer hides."""
        level: Sequence[Any] = (value,)
        kinds = {type(value)}
        budget = self._max_bytes
        silent = False
        while True:
            lists = level if kinds == {list} else [part for part in level if type(part) is list]
            dicts = level if kinds == {dict} else [part for part in level if type(part) is dict]
            budget -= sum(map(len, lists)) + 2 * sum(map(len, dicts))
            if budget < 0:
                raise Unfit(value, too_large(self._max_bytes))
            level = [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, dicts))]
            kinds = set(map(type, level))
            found = kinds.union(map(type, chain.from_iterable(dicts)))
            silent = silent or not found.isdisjoint(SILENT)
            if list not in kinds and dict not in kinds:
                return depth, silent
            depth += 1
            if depth > self._kinds.max_depth:
                raise Unfit(value, _too_deep(self._kinds.max_depth))

    def _replace_silent(self, depth: int, value: Any) -> Any:
        kind = type(value)
        if kind is list:
            return [self._replace_silent(depth, part) for part in value]
        if kind is dict:
            return {
                self._replace_silent(depth, key) if type(key) in SILENT else key: self._replace_silent(depth, part)
                for key, part in value.items()
            }
        return self._extend(depth, value) if kind in SILENT else value

    def _extend(self, depth: int, value: object) -> ExtType:
        code, body = self._body(depth, value)
        return ExtType(code, body if isinstance(body, bytes) else b"".join(body))

    def _body(self, depth: int, value: object) -> tuple[int, Body]:
        kind = self._kinds.kind_of(type(value))
        if depth >= self._kinds.max_depth:
            raise Unfit(value, _too_deep(self._kinds.max_depth))
        if kind is None:
            if self._kept is None:
                raise Unfit(value, refusal(value))
            return _apart.KEPT, self._kept.take(value)
        try:
            body = kind.dump(value, partial(self.pack, depth=depth + 1))
        except Unfit as unfit:
            if self._kept is None or unfit.culprit is not value:
                raise
            return _apart.KEPT, self._kept.take(value)
        if (len(body) if isinstance(body, bytes) else sum(map(len, body))) > self._max_bytes:
            raise Unfit(value, too_large(self._max_bytes))
        if kind.code == _apart.ARRAY and self._aside is not None and (apart := self._aside.take(body)) is not None:
            return _apart.ARRAY_APART, apart
        return kind.code, body


def _is_flat(value: Any) -> bool:
    """Tell whether a list or dict holds nothing but what is msgpack's own; most do, and need no survey."""
    if not SCALARS.issuperset(map(type, value)):
        return False
    return type(value) is list or SCALARS.issuperset(map(type, value.values()))


def ext_header(code: int, length: int) -> bytes:
    """Return what msgpack writes before the body of an extension."""
    if length < 1 << 8:
        return struct.pack(">BBb", 0xC7, length, code)
    if length < 1 << 16:
        return struct.pack(">BHb", 0xC8, length, code)
    return struct.pack(">BIb", 0xC9, length, code)
