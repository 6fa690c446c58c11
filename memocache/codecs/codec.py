"""Python values as payload bytes: msgpack with a closed table of extension types (`memocache.codecs.ext_types`).

1. What comes back is what went in, type for type; what cannot be is refused with `EncodeError`, never approximated.
   Types are matched exactly: a subclass that has no code of its own is refused.
2. Nothing stored is executed, and only classes named beforehand are rebuilt (`memocache.codecs.classes`).
3. Reading is bounded: in bytes by `max_bytes`, in depth by `max_depth` extensions one inside another with at most
   msgpack's own 1,024 containers between two of them, in memory and time by the length of the payload.
   (Whoever can write to the backend can still make one slow dict of keys whose hashes collide: sign what is stored.)
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from msgpack import Unpacker, unpackb

from memocache.codecs import classes as _classes
from memocache.codecs import dataframes as _frames
from memocache.codecs import newer_types as _newer
from memocache.codecs import out_of_band as _apart
from memocache.codecs import registered_types as _registered
from memocache.codecs import return_types as _hints
from memocache.codecs import single_use
from memocache.codecs import value_paths as _paths
from memocache.codecs.ext_types import (
    ENUM,
    ERROR,
    PYDANTIC,
    REGISTERED,
    Buffer,
    Kind,
    Load,
    Pack,
    Unfit,
    Unpack,
    expect,
    expect_list,
)
from memocache.codecs.known import table as _known
from memocache.codecs.refusals import is_mapped
from memocache.codecs.standard_types import DUMPS, LOADS
from memocache.codecs.writer import NATIVE, SCALARS, SILENT, Writer, ext_header, too_large
from memocache.exceptions import ConfigurationError, DecodeError, EncodeError

T = TypeVar("T")

# From this length on a payload's structure is walked before anything is built, since msgpack makes each list as long
# as its header claims before it finds the items missing.
_WALK_FROM = 1024
_EXT: Final = {0xC7: ">BBb", 0xC8: ">BHb", 0xC9: ">BIb"}


class Codec:
    """Encodes and decodes values; safe to share between threads.

    `trust` names modules whose classes may be rebuilt; `max_depth` bounds the nesting of containers (an object with
    fields counts for two), `max_bytes` the length of a payload.
    """

    def __init__(self, *, trust: Iterable[str] = (), max_depth: int = 100, max_bytes: int = 1 << 26) -> None:
        self.max_depth = max_depth
        self.max_bytes = max_bytes
        self._kinds: dict[type, Kind] = {**DUMPS, **_newer.DUMPS}
        memory = _known.kind_of(memoryview)
        assert memory is not None
        self._kinds[memoryview] = memory
        self._shapes: dict[str, _classes.Shape] = {}
        self._registered: dict[str, tuple[type, Callable[[Any], Any]]] = {}
        self._families: set[type] = set()  # of these, those whose subclasses are written alike
        self._errors: dict[str, type[Exception]] = {}
        self._returned_errors: dict[str, type[Exception]] = {}
        self._modules: set[str] = set()
        self._loads: dict[int, Load] = {
            **LOADS,
            **_newer.LOADS,
            **_frames.LOADS,
            REGISTERED: self._load_registered,
            ERROR: self._load_error,
            _known.KNOWN: _known.load,
        }
        for code in range(ENUM, PYDANTIC + 1):
            self._loads[code] = partial(self._load_class, code)
        self._write = Writer(self, None)
        self._write_surrogates = Writer(self, "surrogatepass")
        self._hook = self._hooks(_apart.Apart())
        self.trust(*trust)

    def encode(self, value: object) -> bytes:
        """Return the payload of `value`.

        EncodeError, with the path to the offending part and its type, where it would not come back as it is.
        """
        return b"".join(self._pieces(value, value))

    def encode_pieces(self, value: object) -> tuple[Buffer, ...]:
        """As `encode`, in pieces to be joined, for a reader who maps them: the elements of large arrays are views of
        them, and stand apart from the rest.
        """
        kind = None if type(value) in SCALARS else self.kind_of(type(value))
        if type(value) in SCALARS or (kind is not None and kind.code == _apart.ARRAY):
            return self._pieces(value, value)
        aside = _apart.Aside()
        (head, *rest) = self._pieces(value, value, aside)
        pieces = aside.pieces(b"".join((head, *rest)))
        return (ext_header(_apart.HEAD_AND_ELEMENTS, sum(map(len, pieces))), *pieces) if pieces else (head, *rest)

    def encode_around(self, value: object) -> tuple[bytes, _apart.Kept]:
        """Return the payload of `value` for this process alone, and the objects in it that have no code: see `decoder`.

        As long as it takes: `max_bytes` is about what comes from outside. EncodeError if it is nested too deeply.
        """
        kept = _apart.Kept()
        return b"".join(self._pieces(value, value, kept=kept)), kept

    def decoder(self, kept: Sequence[object]) -> Callable[[Buffer], Any]:
        """Return what decodes a payload of `encode_around` as often as asked, with the very objects that it kept."""
        return partial(_read, self._hooks(_apart.Apart(kept=kept)))

    def decode(self, payload: Buffer) -> object:
        """Return the value of `payload`; DecodeError, and no other exception, if it is none this codec may read."""
        size = len(payload)
        if size > self.max_bytes:
            raise DecodeError("payload is longer than max_bytes")
        try:
            if size >= _WALK_FROM:
                return self._decode_long(payload)
            return unpackb(payload, ext_hook=self._hook, strict_map_key=False, unicode_errors="surrogatepass")
        except DecodeError as error:
            raise DecodeError(str(error)) from None
        except Exception as error:
            # The foreign error may quote what was stored.
            raise DecodeError(f"payload is malformed ({type(error).__name__})") from None

    def encode_error(self, exc: Exception) -> bytes:
        """Return the payload ``[class, [arg, …], {attribute: value}]`` of an exception.

        Its traceback, cause and context are left out. EncodeError if its class, or that of one that it groups, is
        neither built in nor trusted, or if what it holds cannot be encoded.
        """
        for cls in map(type, _classes.errors_in(exc)):
            if not _classes.is_builtin_error(cls) and self._error_class(_classes.name_of(cls)) is not cls:
                raise EncodeError(f"errors of class {_classes.name_of(cls)} are neither built in nor trusted")
        return b"".join(self._pieces(_classes.dump_error(exc), exc))

    def decode_error(self, payload: Buffer) -> Exception:
        """Return a new exception as it was encoded; DecodeError, and no other exception, if that cannot be done."""
        try:
            return self._made_error(self.decode(payload), self._errors)
        except DecodeError as error:
            raise DecodeError(str(error)) from None
        except Exception as error:
            raise DecodeError(f"payload is malformed ({type(error).__name__})") from None

    def register(
        self,
        type_: type[T],
        encode: Callable[[T], object],
        decode: Callable[[Any], T],
        *,
        key: Callable[[T], object] | None = None,
        subclasses: bool = False,
    ) -> None:
        """Store instances of exactly `type_`, with `subclasses` of those too, as what `encode` makes of them; `decode`
        turns that back.

        As arguments they are known by `key`, else by what `encode` makes of them. ConfigurationError if the codec
        already has a code for `type_`. A later class of the same name replaces it.
        """
        if type_ in DUMPS or type_ in _newer.DUMPS or type_ in NATIVE or type_ in SILENT:
            raise ConfigurationError(f"{_classes.name_of(type_)} is stored already and cannot be registered")
        name = _classes.name_of(type_)
        former, _ = self._registered.get(name, (type_, None))
        if former is not type_ or subclasses or type_ in self._families:
            self._forget(former)
        self._registered[name] = (type_, decode)
        self._kinds[type_] = Kind(REGISTERED, partial(_dump_registered, name, encode))
        if subclasses:
            self._families.add(type_)
        _registered.teach(type_, key or encode, subclasses=subclasses)

    def _forget(self, cls: type) -> None:
        """How values of a class and of its subclasses are written, but for those that are registered themselves."""
        self._families.discard(cls)
        for one in (cls, *_registered.below(cls)):
            if one is cls or self._registered.get(_classes.name_of(one), (None,))[0] is not one:
                self._kinds.pop(one, None)

    def trust(self, *classes_or_modules: type | str) -> None:
        """Allow classes, or all classes of modules (and of their submodules once imported), to be rebuilt.

        ConfigurationError for a class of a kind that cannot be rebuilt, or not found under its own name.
        """
        for trusted in classes_or_modules:
            if isinstance(trusted, str):
                self._modules.add(trusted)
            elif issubclass(trusted, Exception) and _classes.find(_classes.name_of(trusted)) is trusted:
                self._errors[_classes.name_of(trusted)] = trusted
            elif trusted not in self._kinds and self._trust_shape(trusted) is None:
                raise ConfigurationError(
                    f"{_classes.name_of(trusted)} cannot be trusted: it is no Enum, namedtuple, dataclass, attrs "
                    "class, pydantic model or msgspec Struct found under its own name; register it instead"
                )

    def trust_annotations(self, function: Callable[..., Any]) -> None:
        """Trust the classes in the return annotation of `function`, and in the annotations of their fields."""
        for cls in _hints.classes_returned(function):
            if cls not in self._kinds:
                _ = self._trust_error(cls) or self._trust_shape(cls)

    def kind_of(self, cls: type) -> Kind | None:
        """Return how instances of exactly `cls` are written, or None; a class that can be rebuilt becomes trusted."""
        kind = self._kinds.get(cls)
        if kind is None and cls not in SILENT:
            kind = self._of_family(cls) or _frames.kind_of(cls) or _known.kind_of(cls) or self._published(cls)
            kind = kind or self._trust_error(cls) or self._trust_shape(cls)
            if kind is not None:
                self._kinds[cls] = kind
        return kind

    def _published(self, cls: type) -> Kind | None:
        there = _registered.published(cls)
        if there is None or _classes.find(_classes.name_of(there[0])) is not there[0]:
            return None
        base, found = there
        if self._registered.get(_classes.name_of(base), (None,))[0] is not base:
            subclasses = getattr(found, "subclasses", False)
            self.register(base, found.encode, found.decode, key=getattr(found, "key", None), subclasses=subclasses)
        return self._kinds[base]

    def _of_family(self, cls: type) -> Kind | None:
        """How instances of a base are written that was registered with its subclasses."""
        bases = type.__dict__["__mro__"].__get__(cls) if self._families else ()
        return next((self._kinds[base] for base in bases if base in self._families), None)

    def _trust_error(self, cls: type) -> Kind | None:
        if not issubclass(cls, Exception) or _classes.has_hidden_state(cls):
            return None
        name = _classes.name_of(cls)
        if not _classes.is_builtin_error(cls):
            if _classes.find(name) is not cls:
                return None
            self._returned_errors[name] = cls
        return Kind(ERROR, _dump_error)

    def _trust_shape(self, cls: type) -> Kind | None:
        shape = _classes.shape_of(cls)
        if shape is None or single_use.is_class_of(cls) or is_mapped(cls):
            return None
        self._shapes[shape.name] = shape
        kind = self._kinds[cls] = Kind(shape.code, partial(_dump_class, shape))
        return kind

    def _pieces(
        self, value: object, shown: object, aside: _apart.Aside | None = None, kept: _apart.Kept | None = None
    ) -> tuple[Buffer, ...]:
        plain = aside is None and kept is None
        try:
            try:
                pieces = (self._write if plain else Writer(self, None, aside, kept)).pieces(value)
            except UnicodeEncodeError:
                # Some str holds a lone surrogate; the packer that lets them pass takes three times as long.
                if kept:
                    kept.clear()
                writer = self._write_surrogates if plain else Writer(self, "surrogatepass", aside, kept)
                pieces = writer.pieces(value)
        except Unfit as unfit:
            raise EncodeError(f"{_paths.path_to(unfit.culprit, shown)}: {unfit}") from None
        except RecursionError:
            raise EncodeError("result is nested too deeply for what is left of the stack") from None
        except Exception as error:
            raise EncodeError(f"result cannot be stored ({type(error).__name__})") from None
        if kept is None and sum(map(len, pieces)) > self.max_bytes:
            raise EncodeError(f"result: {too_large(self.max_bytes)}")
        return pieces

    def _decode_long(self, payload: Buffer) -> object:
        format_ = _EXT.get(payload[0])
        if format_ is not None:
            # One extension, an array say: its body is handed on without a copy.
            _, length, code = struct.unpack_from(format_, payload)
            body = memoryview(payload)[struct.calcsize(format_) :]
            if len(body) != length:
                raise DecodeError("payload is cut short or too long")
            if code == _apart.HEAD_AND_ELEMENTS:
                head, elements = _apart.split(body)
                value = _read(self._hook_of(elements, self.max_depth), head)
                elements.found_sound()
                return value
            return self._hook(code, body)
        return _read(self._hook, payload)

    def _hooks(self, apart: _apart.Apart) -> Callable[[int, Buffer], Any]:
        """The outermost hook of a payload. Each level of nesting has its own, so the depth needs no counting."""
        unpack: Unpack = _too_deep
        for _ in range(self.max_depth):
            unpack = partial(_read, partial(self._load, apart, unpack))
        return partial(self._load, apart, unpack)

    def _hook_of(self, apart: _apart.Apart, depth: int) -> Callable[[int, Buffer], Any]:
        """As `_hooks`, for one payload: each level is made when something is found there, since few are reached."""
        return partial(self._load, apart, partial(self._unpack, apart, depth))

    def _unpack(self, apart: _apart.Apart, depth: int, body: Buffer) -> Any:
        return _read(self._hook_of(apart, depth - 1), body) if depth else _too_deep(body)

    def _load(self, apart: _apart.Apart, unpack: Unpack, code: int, body: Buffer) -> Any:
        load = self._loads.get(code)
        if load is None:
            return apart.load(code, body, unpack)
        return load(body, unpack)

    def _load_class(self, code: int, body: Buffer, unpack: Unpack) -> Any:
        name, *parts = expect(list, unpack(body))
        shape = self._shapes.get(expect(str, name))
        if shape is None and self._in_trusted_module(name):
            cls = _classes.find(name, self._modules)
            if cls is not None and self._trust_shape(cls) is not None:
                shape = self._shapes.get(name)
        if shape is None:
            raise DecodeError("payload names a class that is not trusted")
        if shape.code != code:
            raise DecodeError("payload names a class of another kind")
        return shape.load(parts)

    def _load_error(self, body: Buffer, unpack: Unpack) -> Exception:
        return self._made_error(unpack(body), self._errors | self._returned_errors)

    def _made_error(self, parts: object, trusted: Mapping[str, type[Exception]]) -> Exception:
        name, args, attributes = expect_list(parts, 3)
        cls = trusted.get(expect(str, name)) or self._error_class(name)
        if cls is None:
            raise DecodeError("payload names an exception class that is not trusted")
        if not {str}.issuperset(map(type, expect(dict, attributes))):
            raise DecodeError("payload holds malformed attributes")
        return _classes.load_error(cls, expect(list, args), attributes)

    def _load_registered(self, body: Buffer, unpack: Unpack) -> Any:
        name, plain = expect_list(unpack(body), 2)
        entry = self._registered.get(expect(str, name))
        if entry is None:
            # published, it may be, and not seen yet: the class must be there, for nothing is imported
            cls = _classes.find(name)
            if cls is not None and self._published(cls) is not None:
                entry = self._registered.get(name)
        if entry is None:
            raise DecodeError("payload names a type that is not registered")
        return entry[1](plain)

    def _in_trusted_module(self, name: str) -> bool:
        module = name.partition(":")[0]
        return any(module == trusted or module.startswith(f"{trusted}.") for trusted in self._modules)

    def _error_class(self, name: str) -> type[Exception] | None:
        module, _, qualname = name.partition(":")
        cls: Any = self._errors.get(name)
        if cls is None and module == "builtins":
            cls = vars(builtins).get(qualname)
        elif cls is None and self._in_trusted_module(name):
            cls = _classes.find(name, self._modules)
        return cls if isinstance(cls, type) and issubclass(cls, Exception) else None


def _dump_class(shape: _classes.Shape, value: Any, pack: Pack) -> bytes:
    return pack([shape.name, *shape.dump(value)])


def _dump_error(error: Exception, pack: Pack) -> bytes:
    return pack(_classes.dump_error(error))


def _dump_registered(name: str, encode: Callable[[Any], object], value: Any, pack: Pack) -> bytes:
    return pack([name, encode(value)])


def _read(hook: Callable[[int, Buffer], Any], payload: Buffer) -> Any:
    if len(payload) >= _WALK_FROM:
        walker = Unpacker(max_buffer_size=len(payload))
        walker.feed(payload)
        walker.skip()
    return unpackb(payload, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")


def _too_deep(body: Buffer) -> Any:
    raise DecodeError("payload is nested too deeply")
