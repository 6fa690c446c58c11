"""The key of a call in the process where it is no digest: arguments that are plain scalars, or have parts.

``(a, b, type(a), type(b))`` for plain scalars; a part (see `memocache._calls.keys.exact`) stands for its argument, and
`EXACT` for the type of that. Such a key carries the digest of its call, by which others name the entry. An argument
that is neither leaves the whole call to the digest.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from memocache._calls.keys.canonical import canonical, canonical_args
from memocache._calls.keys.exact import SHAPES, ExactTypes, is_plain
from memocache._calls.signature import SELF, Values, regroup
from memocache._runtime.object_identity import Held, Identities, NoIdentity, inherited

DIGEST_BYTES: Final = 16
EXACT: Final = object()


class ExactKey(tuple[Any, ...]):
    """A key with parts, and the digest of its call. It equals the plain tuple that a look-up asks for."""

    digest: str


def exact_key(parts: list[Any], types: ExactTypes, number: int | None, tokens: list[int]) -> ExactKey | None:
    """The key of a call by its included arguments, or None; lists in `tokens` the objects that it dies with.

    `number` is the token of `self`, which then stands for the first argument.
    """
    kinds: list[Any] = list(map(type, parts))
    try:
        for at, (value, kind) in enumerate(zip(list(parts), list(kinds), strict=True)):
            if at == 0 and number is not None:
                parts[0], kinds[0] = number, SELF
            elif not is_plain(value, kind):
                parts[at], kinds[at] = types.admit(value, tokens), EXACT
    except KeyError:
        return None
    return ExactKey((*parts, *kinds))


def self_token(instance: Any, identities: Identities) -> int | Held | None:
    """The token of a method's `self` that hashes by identity; None if it has an identity as a value."""
    if inherited(type(instance), "__hash__") is not object.__hash__:
        return None
    try:
        canonical(instance)
    except NoIdentity as refusal:
        # where the class alone has no name outside this process, it has a value
        return None if refusal.local_class else identities.identity(instance)
    return None


def keyed_digest(secret: bytes, *parts: bytes) -> str:
    """The digest of a call; a MAC where the cache has a secret."""
    return blake2b(b"".join(parts), digest_size=DIGEST_BYTES, key=secret).hexdigest()


def key_digest(secret: bytes, seed: bytes, kinds: tuple[Any, ...] | None, key: Any) -> str:
    """The digest of a call held in the process under `key`: the digest itself, or a key of the compiled look-up.

    For plain arguments it is the digest that the call has in a shared backend. `kinds` are those of the parameters in
    the key, None where a template makes it: a table, which outlives its functions, holds nothing of them.
    """
    if isinstance(key, str):
        return key
    if isinstance(key, ExactKey):
        return key.digest
    parts, types = key[: len(key) // 2], key[len(key) // 2 :]
    if types[:1] == (SELF,) or kinds is None:
        return keyed_digest(secret, seed, b"scalars", b"self" if types[:1] == (SELF,) else b"", canonical(parts))
    return keyed_digest(secret, seed, canonical_args(regroup(parts, kinds)))


class ExactEntries:
    """Entries as the look-up reads them of a function that was called with arguments which have parts.

    Nothing else is hashed, as in `memocache._calls.signature.PlainOnly`.
    """

    __slots__ = ("_entries", "_number", "_tracked", "_ways")

    def __init__(self, entries: Any, types: ExactTypes) -> None:
        self._entries = entries
        self._ways = types.ways
        types.ways[id(SELF)] = None
        self._number, self._tracked = types.number, types.tracked

    def __getitem__(self, key: Values) -> Any:
        """The entry under a key; raises KeyError."""
        ways = self._ways
        if len(key) == 2:
            value, kind = key
            if kind is tuple:  # as its way does, without a frame, as below
                return self._entries[(value, SHAPES[tuple(map(id, map(type, value)))]), EXACT]
            way = ways[id(kind)]
            if way is None:
                return self._entries[key]
            if way is self._number:
                tracked = self._tracked[id(value)]
                if tracked() is value:
                    return self._entries[tracked.number, EXACT]
                raise KeyError
            return self._entries[way(value), EXACT]
        made = list(key)
        half = len(made) >> 1
        for at in range(half):
            way = ways[id(made[half + at])]
            if way is not None:
                made[at], made[half + at] = way(made[at]), EXACT
        return self._entries[tuple(made)]
