"""A function on a cache: where the entries of its calls live, and how their keys are made."""

from __future__ import annotations

import string
import types
import warnings
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Any, Final

from memocache._calls.code_digest import layers
from memocache._calls.exclusions import Excluded
from memocache._calls.function import Function
from memocache._calls.keys.canonical import canonical, canonical_args
from memocache._calls.keys.exact import ExactTypes
from memocache._calls.keys.refused_arguments import trouble, ways_out
from memocache._calls.options import plain_tags
from memocache._calls.process_key import DIGEST_BYTES, exact_key, key_digest, keyed_digest, self_token
from memocache._calls.signature import Values
from memocache._runtime.object_identity import Held, NoIdentity, Recorder
from memocache._stores.entry import Table
from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote.keyspace import Layout, entry_rest, tag_hash
from memocache._stores.store import Address, Store, Unstorable
from memocache.exceptions import (
    DuplicateNameWarning,
    EncodeError,
    UncacheableWarning,
    UnsharedWarning,
    UnstableKeyError,
)
from memocache.stats import Counters
from memocache.typing import MISSING

_NEVER_HITS: Final = 100
"""Misses after which a function is told that the object in its key never comes again."""


class _Default:
    """Stands, in the key of a call, for the default of its parameter where that has no value."""

    def __cache_key__(self) -> None:
        return None


DEFAULT: Final = _Default()


class Places:
    """What of a cache a binding needs: the process's store, and those where there is a backend."""

    __slots__ = (
        "exact",
        "exclude",
        "layout",
        "local",
        "maxsize",
        "named",
        "secret",
        "shared",
        "tier",
        "tiered",
        "unshared",
    )

    def __init__(
        self,
        tier: LocalTier,
        layout: Layout,
        local: Store,
        shared: Store | None,
        unshared: Store | None,
        secret: bytes,
        *,
        tiered: bool = False,
        maxsize: int | None = None,
        exclude: Excluded = (),
    ) -> None:
        self.tier = tier
        self.layout = layout
        self.local = local
        self.shared = shared
        self.unshared = unshared
        self.secret = secret
        self.tiered = tiered
        """Whether the process holds copies of what is in `shared`."""
        self.maxsize = maxsize
        """The bound that functions share on what the process holds."""
        self.named: dict[tuple[str, bytes], bytes] = {}
        """The code of the first function of a `name=` and what its keys begin with; nothing once others were told."""
        self.exact = ExactTypes(tier.identities)
        self.exclude = exclude
        """What takes no part in the keys of any function."""

    def digest(self, *parts: bytes) -> str:
        """As `keyed_digest`."""
        return keyed_digest(self.secret, *parts)

    def tag_hash(self, tag: str) -> str:
        """What stands for a rendered tag; a MAC where the cache has a secret."""
        return tag_hash(tag, self.secret)


class Binding:
    """The calls of one function on one cache."""

    def __init__(self, places: Places, function: Function, *, method: bool) -> None:
        self.places = places
        self.function = function
        self.method = method
        self.mean_seconds = 0.0
        self._warned: set[str] = set()
        self._spares_hashes = False
        self._named_by_objects = 0
        self._ask_hits_at = _NEVER_HITS
        self._included = function.included()
        self._excludes = bool(function.exclusions.names or function.exclusions.classes)
        self._defaults = function.defaults_without_value()
        identity, self._unshared_because = function.identity()
        self._seed, self.table = self._place(identity)
        if function.options.name is None and not self.table.admits(self._defaults.values()):
            function.keep_apart(
                "a default of it is another object than in the function that had its name and code before"
            )
            identity, self._unshared_because = function.identity()
            self._seed, self.table = self._place(identity)
        # of the seed, to be copied: what `places.digest` would begin with
        self._digest = blake2b(self._seed, digest_size=DIGEST_BYTES, key=places.secret)
        self._plain_key = function.options.key is None and not self._excludes and not self._defaults
        exact = places.shared is None and function.direct and function.options.key is None and not self._defaults
        self.exact = places.exact if exact and not function.exclusions.classes else None
        self.counters: Counters = self.table.counters
        self.named_twice: bool | None = None if function.options.name is not None else False  # None: not checked yet

    def _place(self, identity: bytes) -> tuple[bytes, Table]:
        """What the digests of the function's calls begin with, and the table of their entries."""
        places, function, options = self.places, self.function, self.function.options
        seed = blake2b(identity, digest_size=DIGEST_BYTES).digest()
        table = places.tier.table(
            function.name,
            seed,
            maxsize=options.maxsize,
            owner=None if options.maxsize is MISSING else function.number,
            idle=options.idle,
            stale=options.stale,
            retention=max(options.stale, options.stale_if_error),
        )
        kinds = None if function.key_fields is not None else function.signature.kinds_of(self._included)
        table.place.digest = partial(key_digest, places.secret, seed, kinds)
        return seed, table

    @property
    def alone(self) -> bool:
        """Whether its entries are for this decoration only."""
        return not self.shares or self.function.options.maxsize is not MISSING

    @property
    def maxsize(self) -> int | None:
        """The bound in force on what the process holds."""
        maxsize = self.function.options.maxsize
        return self.places.maxsize if maxsize is MISSING else maxsize

    @property
    def shares(self) -> bool:
        """Whether other processes can name its entries."""
        return self._unshared_because is None

    def check_name(self) -> None:
        """Warn once of another function of the same `name=` and the same keys, which was called before."""
        if self.named_twice is not None:
            return
        name, code = self.function.name, self.function.code()
        known = self.places.named.setdefault((name, self._seed), code)
        self.named_twice = known != code
        if self.named_twice and known:
            self.places.named[name, self._seed] = b""  # told
            self.warn(
                "duplicate name",
                f"{name}: two different functions were given this name=, so each is served the other's entries; "
                "give them two names, or version= where one is the other's next edition",
                DuplicateNameWarning,
            )

    # -- where

    def address(self, values: Values) -> tuple[Address, Store]:
        """Where a call's outcome is kept. Raises `UnstableKeyError`, and what the user's `key` or `tags` callable
        raises.
        """
        places = self.places
        tags = self._tags(values) if self.function.options.tags else ()
        if places.shared is None:
            return self._local_address(values, tags), places.local
        if self._unshared_because is None:
            digest = self.shared_digest(values)
            if digest is not None:
                key: Any = digest
                if places.tiered and self.function.direct and not self.method:
                    key = self.function.signature.scalar_key(values, self._included) or digest
                return Address(self.table, key, self.function.name, digest, tags), places.shared
            self._check_unshared(values)
        else:
            self._warn_unshared(self._unshared_because)
        assert places.unshared is not None
        return self._local_address(values, tags), places.unshared

    def shared_digest(self, values: Values) -> str | None:
        """What names a call's entry in the shared backend; None if it stays in the process or has no name at all (then
        `address` says so).
        """
        if self._unshared_because is not None:
            return None
        try:
            data = canonical_args(values if self._plain_key else self._key_values(values))
        except NoIdentity:
            return None
        digest = self._digest.copy()
        digest.update(data)
        return digest.hexdigest()

    def key_for(self, values: Values) -> str:
        """The key as the backend sees it. Raises `UnstableKeyError`."""
        return self.entry_key(self.address(values)[0])

    def entry_key(self, address: Address) -> str:
        """The key of what is kept at an address of this function, as the backend sees it."""
        rest = entry_rest(self.function.name, address.digest or self.table.place.digest(address.key))
        return self.places.layout.key("e", self.places.layout.bucket(rest), rest)

    def _local_address(self, values: Values, tags: tuple[str, ...]) -> Address:
        name, tier = self.function.name, self.places.tier
        token = None
        if self.function.direct:
            if self.method and values and self.function.signature.names[0] in self._included:
                token = self_token(values[0], tier.identities)
            if not self.method or token is not None:
                number = token.number if isinstance(token, Held) else token
                key = self.function.signature.scalar_key(values, self._included, number)
                if key is not None:
                    if token is not None:
                        self._count_named(values)
                    return Address(self.table, key, name, None, tags, () if token is None else (token,))
        recorder = Recorder(tier.identities)
        try:
            data = canonical_args(self._key_values(values), recorder)
        except NoIdentity as refusal:
            raise self._unstable(values, refusal, recorder) from None
        if recorder.tokens:
            self._count_named(values)
        digest = self.places.digest(self._seed, data)
        exact = self._exactly(values, digest, tags, token, recorder)
        if not self._spares_hashes and (exact or any(type(token) is Held for token in recorder.tokens)):
            self._spares_hashes = True
            for user in list(self.table.users):
                user.spare_hashes()
        return exact or Address(self.table, digest, name, digest, tags, tuple(recorder.tokens))

    def _exactly(
        self, values: Values, digest: str, tags: tuple[str, ...], me: int | Held | None, recorder: Recorder
    ) -> Address | None:
        """As `_local_address`, of a call whose arguments the look-up knows by themselves."""
        if self.exact is None or (self.method and type(me) is not int):
            return None
        parts, tokens = self.function.signature.parts(values, self._included), list[int]()
        key = None if parts is None else exact_key(parts, self.exact, me, tokens)  # type: ignore[arg-type]  # no `Held`
        if key is None:
            return None
        key.digest = digest
        named = tuple(dict.fromkeys([*recorder.tokens, *tokens, *(() if me is None else (me,))]))
        return Address(self.table, key, self.function.name, None, tags, named)

    def _key_values(self, values: Values) -> Values:
        """What identifies the call, before it is encoded."""
        function = self.function
        signature, key = function.signature, function.options.key
        if callable(key):
            args, kwargs = signature.spread(values)
            return (key(*args, **kwargs),)
        if self._defaults:
            values = tuple(
                DEFAULT if number in self._defaults and value is self._defaults[number] else value
                for number, value in enumerate(values)
            )
        if function.key_fields is not None:
            formatter, named = string.Formatter(), dict(zip(signature.names, values, strict=True))
            return tuple(formatter.get_field(field, (), named)[0] for field in function.key_fields)
        return function.exclusions.of(signature, values) if self._excludes else values

    def _tags(self, values: Values) -> tuple[str, ...]:
        """The hashes of the rendered tags of a call; the function has some. Raises what the user's `tags` callable
        raises."""
        tags, signature = self.function.options.tags, self.function.signature
        if callable(tags):
            args, kwargs = signature.spread(values)
            return tuple(map(self.places.tag_hash, plain_tags(tags(*args, **kwargs))))
        named = dict(zip(signature.names, values, strict=True))
        formatter = string.Formatter()
        rendered = (formatter.vformat(tag, (), named) if "{" in tag or "}" in tag else tag for tag in tags)
        return tuple(map(self.places.tag_hash, rendered))

    # -- refusals

    def _culprits(self, values: Values, process: Recorder | None) -> Iterator[tuple[str, object, NoIdentity]]:
        """The parameters without identity, by name, and their values."""
        function = self.function
        if callable(function.options.key):
            names = ["the result of key="]
        elif function.key_fields is not None:
            names = function.key_fields
        else:
            names = function.included()
        for name, value in zip(names, self._key_values(values), strict=True):
            try:
                canonical(value, process)
            except NoIdentity as refusal:
                # frames would hold the arguments in a circle (3.12, 3.13)
                yield name, value, refusal.with_traceback(None)

    def _unstable(self, values: Values, refusal: NoIdentity, process: Recorder | None) -> UnstableKeyError:
        name, value, _ = next(self._culprits(values, process), ("an argument", None, None))
        # what callers of `functools.lru_cache` look for in the text of a TypeError
        begin = f"unhashable type: {refusal.type_name!r}: " if refusal.unhashable else ""
        return UnstableKeyError(
            f"{begin}{self.function.name}: {trouble(name, value, refusal)}, which {refusal.why}; {ways_out(refusal)}"
        )

    def _check_unshared(self, values: Values) -> None:
        """Raise `UnstableKeyError` unless the call may stay in the process; warn once that it does."""
        for name, value, refusal in self._culprits(values, None):
            is_self = self.method and name == self.function.signature.names[0]
            if not is_self and not refusal.local_class:
                raise self._unstable(values, refusal, None)
            why = "its instances have no identity as values" if is_self else "the class is not importable by its name"
            self._warn_unshared(f"{trouble(name, value, refusal)}: {why}")

    def _count_named(self, values: Values) -> None:
        """Count a call that an object names, not a value; warn where such calls pile up and none is served."""
        self._named_by_objects += 1
        if self._named_by_objects < self._ask_hits_at or self.places.shared is not None:
            return
        self._ask_hits_at *= 2
        counted = self.places.tier.counted(self.table)
        misses = counted["misses"] + 1  # with this one
        if misses < _NEVER_HITS or counted["hits"] * 100 >= misses + counted["hits"]:
            return
        for name, value, refusal in self._culprits(values, None):
            if not refusal.local_class:
                is_self = self.method and name == self.function.signature.names[0]
                message = (
                    f"{self.function.name}: hardly a call is ever served: {trouble(name, value, refusal)}, "
                    f"which {refusal.why}, so each new one is another call "
                    f"({'no server would share it' if is_self else 'a server would refuse it'}); {ways_out(refusal)}"
                )
                self.warn("never hits", message, UnsharedWarning)
                return

    def _warn_unshared(self, why: str) -> None:
        message = (
            f"{self.function.name}: entries stay in this process and are not shared ({why}). To share them, "
            "give the class a __cache_key__() method, pass key= or exclude=, or name= for a function "
            "that its name identifies"
        )
        self.warn("unshared", message, UnsharedWarning)

    def rejected(self, refusal: Unstorable) -> EncodeError | None:
        """Warn once of a result that cannot be stored; in strict mode return the error to raise."""
        message = f"{self.function.name}: the result was returned uncached: {refusal.detail or refusal.cause}"
        if self.function.options.strict:
            return EncodeError(message)
        self.warn("rejected", message, UncacheableWarning)
        return None

    def held_by_reference(self, why: str) -> None:
        """Warn once of a result that its callers share, because part of it cannot be copied."""
        message = (
            f"{self.function.name}: every caller is handed the same object, and a server or disk would not store it: "
            f"{why}; or pass share=True if it is meant to be shared in this process"
        )
        self.warn("held by reference", message, UncacheableWarning)

    def warn(self, what: str, message: str, category: type[Warning]) -> None:
        """Warn once, at the line of the user's function."""
        if what in self._warned:
            return
        self._warned.add(what)
        *_, written = layers(self.function.plain)
        code = getattr(written, "__code__", None)
        if not isinstance(code, types.CodeType):
            warnings.warn(message, category, stacklevel=3)
        else:
            warnings.warn_explicit(message, category, code.co_filename, code.co_firstlineno)
