"""What is fuzzed: each target takes bytes, hands them to code that reads what strangers wrote, and checks what it did.

A target returns normally for every input, whatever the code made of it: documented errors are caught here, a broken
promise is a `Broken`, anything else that escapes is a crash. Time, memory and executed code are `watch`'s business.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import struct
import sys
import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from memocache import Cache
from memocache._calls import parse_duration as _duration
from memocache._stores.remote import envelope as _envelope
from memocache.backends import _registry, _settings, base
from memocache.backends._redis import resp as _resp
from memocache.backends._redis.connection import Connection
from memocache.codecs import Codec
from memocache.exceptions import ConfigurationError, DecodeError, EncodeError
from memocache.testing import FakeClock
from tests.fuzz import drawer, grammar

KEY = "fuzz"
SECRET = "a secret of the fuzzer's"
MISSED = object()
MAX_BYTES = 1 << 20


class Broken(AssertionError):
    """A promise that does not hold."""


class Target(NamedTuple):
    """`run` takes one input, `seeds` gives inputs to begin with, of at most `longest` bytes."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int = 4096


def require(promise: bool, what: str) -> None:
    """Raise `Broken` unless the promise holds."""
    if not promise:
        raise Broken(what)


# -- envelopes, as a look-up finds them


class _Reader:
    """A cache over a drawer, and the envelopes that it wrote itself."""

    def __init__(self, **options: Any) -> None:
        self.drawer = drawer.Drawer()
        self.cache = Cache(self.drawer, clock=FakeClock(), max_value_bytes=MAX_BYTES, **options)
        self.genuine = [self._store(value, tags) for value in _VALUES for tags in ((), ("a", "tag"))]
        self.genuine.append(self._store("for ever", (), ttl=None))

    def _store(self, value: object, tags: tuple[str, ...], **options: Any) -> bytes:
        self.cache.set(KEY, value, tags=tags, **options)
        return self.drawer.stored

    def get(self, raw: bytes) -> object:
        """What a look-up gives, and an inspection does not stumble over, when `raw` is what the backend holds."""
        self.drawer.raw = raw
        value = self.cache.get(KEY, MISSED)
        self.cache.inspect(KEY)
        return value


_VALUES = [None, 1, "text", b"bytes", {"a": [1, 2.5, {"b": None}]}, (1, {2}, 3j), "long " * 300]


@cache
def _plain() -> _Reader:
    return _Reader()


@cache
def _signed() -> _Reader:
    return _Reader(secret=SECRET)


@cache
def _encrypted() -> _Reader:
    return _Reader(secret=SECRET, encrypt=True)


def envelope(data: bytes) -> None:
    """What is read as an envelope is written the same; a look-up gives a value, if it is of this key, or a miss."""
    read: _envelope.Envelope | None = None
    try:
        read = _envelope.unpack(data)
    except DecodeError:
        pass
    else:
        require(_envelope.close(_envelope.pack(read), read.seal) == data, "read, but never written like this")
    if _plain().get(data) is not MISSED:
        require(read is not None and read.key == f"memo:k:{KEY}", "served, but not of this key")


def _sealed(reader: _Reader, data: bytes) -> None:
    """Nothing is believed but what the cache sealed; first byte odd: it is made to seal this, and reads on."""
    raw = data[1:]
    if data[:1] and data[0] & 1:
        try:
            read = _envelope.unpack(raw)
        except DecodeError:
            return
        reader.get(reader.cache._places.shared.sealer.write(read))  # type: ignore[union-attr]
    elif reader.get(raw) is not MISSED:
        require(raw in reader.genuine, "believed, but never sealed")


def _envelope_seeds() -> Iterator[bytes]:
    yield from _plain().genuine
    for method in ("zstd", "lz4"):
        try:
            yield from _Reader(compress=method, compress_above=0).genuine
        except ConfigurationError:  # not installed
            continue


def _sealed_seeds(reader: Callable[[], _Reader]) -> Iterator[bytes]:
    yield from (b"\0" + raw for raw in reader().genuine)
    yield from (b"\1" + raw for raw in _envelope_seeds())


# -- payloads


@cache
def _codec() -> Codec:
    from tests.fuzz import shapes

    codec = Codec(trust=(shapes.__name__,), max_bytes=MAX_BYTES)
    codec.register(shapes.Registered, lambda value: value.x, shapes.Registered)
    return codec


def payload(data: bytes) -> None:
    """What decodes can be encoded again, or is refused; what was encoded decodes."""
    _reads_or_refuses(_codec().decode_error, data)
    value = _reads_or_refuses(_codec().decode, data)
    try:
        again = _codec().encode(value)
    except EncodeError:
        return
    try:
        twice = _codec().encode(_codec().decode(again))
    except (DecodeError, EncodeError) as error:
        raise Broken("written, but not read again") from error
    require(len(twice) == len(again), "what came back is not what was written")


def _reads_or_refuses(read: Callable[[bytes], object], data: bytes) -> object:
    try:
        return read(data)
    except DecodeError as error:
        require("MemoryError" not in str(error), "more memory was asked for than there may be")
        return None


def values(data: bytes) -> None:
    """As `payload`, for a payload that `grammar` writes: its lengths fit."""
    payload(grammar.build(data, _words()))


@cache
def _words() -> list[str]:
    from tests.fuzz import shapes

    classes = [name for name, thing in vars(shapes).items() if isinstance(thing, type)]
    return [
        *(f"{shapes.__name__}:{name}" for name in classes),
        "builtins:ValueError", "builtins:OSError", "builtins:UnicodeDecodeError", "builtins:ExceptionGroup",
        "builtins:eval", "os:system", "", "RED", "READ", "x", "y", "left", "right", "_hidden", "__class__", "__dict__",
        "C", "F", "<i4", "|b1", "<M8[ns]", "<f8", "|V8", "<U3", "names", "formats", "offsets", "itemsize", "aligned",
        "numpy", "categories", "zoned", "text", "masked", "range", "multi", "time", "index", "python", "pyarrow", "UTC",
        "ns", "us", "Int64", "Boolean", "String", "Datetime", "Duration", "Decimal", "Enum", "List", "Array", "Struct",
        "Date", "Time", "Null", "Categorical", "Binary", "class", "alias", "|", "Union", "Literal", "builtins", "list",
        "i", "d", "u", "csr_array", "coo_array", "bsr_array", "dia_array", "bfloat16", "float32", "int8", "int64",
        "string", "struct", "list", "dictionary", "timestamp", "map", "fixed", "decimal128", "cpu", "arrow", "period",
        "sparse", "interval", "Europe/Paris", "a", "Instant", "ZonedDateTime", "TimeDelta", "2024-01-01T00:00:00Z",
        "PT1H", "HttpUrl", "AnyUrl", "PostgresDsn", "http://a/b", "RGB", "L", "P", "1", "google.protobuf.Struct",
        "google.protobuf.Timestamp", "bfloat16", "M", "D", "ME", "Sparse", "Interval", "Period", "Categorical", "Int64",
        "DatetimeTZ", "Arrow", "right",
    ]  # fmt: skip


@cache
def _payloads() -> list[bytes]:
    import pytest

    from tests.codecs.known_values import VALUES as KNOWN_VALUES
    from tests.codecs.test_codec_bombs import bombs
    from tests.codecs.test_codec_golden import VALUES, registered
    from tests.codecs.test_known_types import STORED
    from tests.fuzz import shapes

    codec = Codec(max_bytes=MAX_BYTES)
    registered(codec)
    written = []
    for make in VALUES.values():
        try:
            written.append(codec.encode(make()))
        except pytest.skip.Exception:  # a library that is not installed
            continue
    for number, (package, make_known) in KNOWN_VALUES.items():
        if number not in STORED:
            continue
        try:
            library = importlib.import_module(package) if package else None
            written += map(codec.encode, make_known(library))
        except ImportError:
            continue
    held = [shapes.Colour.RED, shapes.Right.READ, shapes.Pair(1, shapes.Pair("a", None)), shapes.Registered(1)]
    name = shapes.__name__
    by_name = [[f"{name}:{cls}", {"x": 1, "y": [2]}] for cls in ("Point", "Slotted", "Attrs", "Struct")]
    rights = grammar.extension(32, codec.encode([f"{name}:Right", 3]))
    models = [[f"{name}:Model", {"x": 1, "y": 2}, {}, [], ["x", "y"], {"z": 3}, {"_hidden": 4}]]
    bodies = zip((34, 34, 35, 36, 37), [*by_name, *models], strict=True)
    extensions = [grammar.extension(code, codec.encode(body)) for code, body in bodies]
    errors = [codec.encode_error(OSError(2, "no", "file")), codec.encode([f"{name}:Oops", ["a", 1], {"b": 2}])]
    return [
        *written,
        *map(_codec().encode, held),
        *extensions,
        rights,
        *errors,
        codec.encode(list(range(2000))),
        *bombs().values(),
    ]


def _payload_seeds() -> Iterator[bytes]:
    yield from _payloads()


def _value_seeds() -> Iterator[bytes]:
    yield from (grammar.program(written, _words()) for written in _payloads())


# -- URLs and durations

_CANARY = "canary-7f3a9c21"


def url(data: bytes) -> None:
    """A URL gives checked settings or a `ConfigurationError` that holds neither the URL nor its password."""
    text = data.decode("utf-8", "surrogateescape")
    _open(text)
    head, at, tail = text.rpartition("@")
    start, colon, _ = head.rpartition(":")
    if at and colon:
        try:
            _open(f"{start}:{_CANARY}@{tail}")
        except ConfigurationError as error:
            require(_CANARY not in str(error), "the password is in the message")


def _open(text: str) -> None:
    try:
        made = _registry.make_backend(text)
    except ConfigurationError as error:
        require(len(text) < 20 or text not in str(error), "the URL is in the message")
        require(len(str(error)) < 1000 + len(text), "the message is a wall of text")
        return
    if isinstance(made, _settings.MemorySettings):
        require(made.maxsize is None or made.maxsize >= 1, "maxsize")
        return
    for settings in _servers(text):
        require(1 <= settings.port <= 65535 and settings.db >= 0 and settings.max_connections >= 1, "settings")
        require(0 < settings.timeout <= 3600 and 0 < settings.connect_timeout <= 3600, "timeouts")
        require(bool(settings.path or settings.host), "no place to connect to")


def _servers(text: str) -> list[_settings.RedisSettings]:
    """The servers that a URL names, as the backend was told of them."""
    scheme = text.partition(":")[0].lower()
    if scheme.endswith("+cluster"):
        cluster = _settings.cluster_settings(text)
        return [replace(cluster.node, host=host, port=port) for host, port in cluster.seeds]
    if scheme.endswith("+sentinel"):
        sentinel = _settings.sentinel_settings(text)
        return [sentinel.node, *sentinel.sentinels]
    return [_settings.redis_settings(text)] if scheme == "unix" or scheme in _settings.TCP else []


def _url_seeds() -> Iterator[bytes]:
    for text in (
        "memory://", "memory://?maxsize=10", "memory://?maxsize=none", "null://", "redis://", "redis://h:1/2",
        "redis://user:password@[::1]:6380/0?timeout=1.5&connect_timeout=0.1&max_connections=3&client_name=n",
        "rediss://h?ssl_ca_certs=/x&ssl_cert_reqs=none&ssl_check_hostname=false&ssl_certfile=a&ssl_keyfile=b",
        "valkey://:p%40ss@h", "valkeys://h/?db=3", "unix:///tmp/a.sock?db=1", "unix://u:p@/s%20k", "disk:///path",
        "redis+cluster://a:1,b:2", "redis+sentinel://a:1,b:2/service/0", "rediss+cluster://u:p@[::1]:1,b?wait=1",
        "rediss+sentinel://a/s?sentinel_username=u&replicas=true&wait_timeout=2", "redis+cluster://h:" + "9" * 5000,
        "redis://?username=u&password=p", "://", "x",
        "redis://h#f", "redis://h?db=1@", "REDIS://H", "redis://h:0", "redis://[::1", "redis://\u2100",
    ):  # fmt: skip
        yield text.encode()


def duration(data: bytes) -> None:
    """A duration is seconds over 0 that fit a server's clock, or a `ValueError` of bounded length."""
    for value in _durations(data):
        try:
            seconds = _duration.seconds(value)
        except ValueError as error:
            require(len(str(error)) < 400, "the message is a wall of text")
        else:
            require(0 < seconds <= timedelta.max.total_seconds(), "out of bounds")
            require(math.isclose(seconds, _duration.seconds(seconds)), "not what it says")


def _durations(data: bytes) -> Iterator[object]:
    yield data.decode("utf-8", "surrogateescape")
    yield int.from_bytes(data, signed=True)
    if len(data) >= 8:
        yield struct.unpack(">d", data[:8])[0]
        try:
            yield timedelta(*struct.unpack(">ii", data[:8]))
        except OverflowError:
            pass


def _duration_seeds() -> Iterator[bytes]:
    for text in ("500ms", "90s", "5m", "1h30m", "7d", "2w", "1.5s", "1w2d3h4m5s6ms", "0s", "1e3s", "-1s", "٣s", " 1s"):
        yield text.encode()
    yield from (struct.pack(">d", number) for number in (1.0, 0.0, -0.0, math.inf, math.nan, 5e-324, 1e300))


# -- replies of a server


class _Stream:
    """A socket as far as a `Connection` looks: what it gives was cut into pieces beforehand."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.close = pieces.clear

    def setblocking(self, flag: bool) -> None:
        pass

    def fileno(self) -> int:
        return 0

    def send(self, data: bytes) -> int:
        return len(data)

    def recv_into(self, buffer: bytearray) -> int:
        if not self.pieces:
            raise BlockingIOError
        piece = self.pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)


def resp(data: bytes) -> None:
    """Replies do not depend on how the network cuts them, and what is no reply is a `ProtocolError`.

    Bytes 0 and 1 say how to cut; with the top bit of byte 1 set the rest is packed in bulk strings first, and must
    come out as it was however much it looks like the protocol.
    """
    cut, how, rest = (data[0], data[1], data[2:]) if len(data) > 2 else (0, 0, data)
    packed = how >= 128
    if packed:
        words = rest.split(b"\xff")
        rest = _resp.command_bytes(*words)
    pieces = [rest[at : at + 1 + cut % 61] for at in range(0, len(rest), 1 + cut % 61)] if how & 1 else [rest]
    wire = Connection(_Stream([piece for piece in pieces if piece]))  # type: ignore[arg-type]
    replies: list[Any] = []
    try:
        while wire._sock.pieces:  # type: ignore[attr-defined]
            replies += wire.receive()
    except base.ProtocolError:
        require(not packed, "a string was taken for the protocol")
        return
    finally:
        wire.close()
    for reply in replies:
        for check in (_resp.int_reply, lambda reply: _resp.values(reply, 2)):
            try:
                check(reply)
            except (base.ReplyError, base.ProtocolError):
                pass
    held_back = bool(wire.rest)  # what may be a header that is not all there, and the end of line before it
    expected: list[Any] = []
    whole = _resp.new_reader()
    whole.feed(rest)
    try:
        expected += iter(whole.gets, _resp.MORE)
    except base.ProtocolError:
        require(held_back, "taken for replies, and is none")
    if packed:
        expected = [words]
    require(repr(replies) == repr(expected[: len(replies)]), "the pieces gave other replies than the whole")
    require(len(replies) == len(expected) or held_back, "a reply got lost")


def _resp_seeds() -> Iterator[bytes]:
    replies = (
        b"+OK\r\n", b":42\r\n", b"$-1\r\n", b"$3\r\nabc\r\n", b"*2\r\n$1\r\na\r\n$-1\r\n", b"-ERR unknown command\r\n",
        b"-OOM command not allowed\r\n:1\r\n", b"*-1\r\n", b"*1\r\n*1\r\n:1\r\n", b"*2147483647\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"~1\r\n:1\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n", b"(123456789012345678901234567890\r\n", b"=7\r\ntxt:abc\r\n",
        b">2\r\n+message\r\n+x\r\n", b"$4\r\n\r\n*9\r\n", b"*3\r\n:1\r\n*99999999\r\n", b"|1\r\n+a\r\n+b\r\n:1\r\n",
        b"-ERR user_script:1: -OOM over limit\r\n", b"-CLUSTERDOWN no\r\n", b"garbage\r\n", b"HTTP/1.1 400 Bad\r\n\r\n",
    )  # fmt: skip
    for reply in replies:
        for head in (b"\0\0", b"\0\1", b"\2\1", b"\1\x81"):
            yield head + reply
    yield b"\0\0" + b"".join(replies[:6])


# -- sets and counters that third parties' backends keep as text


def blob(data: bytes) -> None:
    """Anything unreadable is the empty set, or no counters."""
    require("x" in base._members(base.with_member(data, "x")), "what was added is not there")
    require(all(type(n) is int for n in base._counts(data).values()), "a counter that is no number")


def _blob_seeds() -> Iterator[bytes]:
    yield from (base._pack(thing) for thing in ([], ["a", "b"], {"hits": 1}))  # type: ignore[arg-type]
    yield from (b'{"hits": 1.5, "a": true}', b"[1, null, []]", b"[" * 2000, b"1" * 2000, b'"\\ud800"', b"NaN")
    yield from ("[1]".encode(code) for code in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"))


TARGETS: dict[str, Target] = {
    "envelope": Target(envelope, _envelope_seeds),
    "signed": Target(lambda data: _sealed(_signed(), data), lambda: _sealed_seeds(_signed)),
    "encrypted": Target(lambda data: _sealed(_encrypted(), data), lambda: _sealed_seeds(_encrypted)),
    "payload": Target(payload, _payload_seeds),
    "values": Target(values, _value_seeds, 2048),
    "url": Target(url, _url_seeds, 6000),
    "duration": Target(duration, _duration_seeds, 6000),
    "resp": Target(resp, _resp_seeds),
    "blob": Target(blob, _blob_seeds),
}


if importlib.util.find_spec("cryptography") is None:
    del TARGETS["encrypted"]


def warm_up(names: Iterable[str]) -> None:
    """Run every seed once, so that what is imported or built on first use is there before anybody watches."""
    _registry._entry_points = cache(_registry._entry_points)  # type: ignore[assignment]  # slow, and looks through folders
    for name in names:
        for seed in TARGETS[name].seeds():
            TARGETS[name].run(seed)
    for library in (
        "numpy",
        "pandas",
        "polars",
        "tzdata",
        "lz4.block",
        "backports.zstd",
        "compression.zstd",
        "pyarrow",
    ):
        try:
            importlib.import_module(library)
        except ImportError:  # not installed, and not to be looked for again
            for name in (library.partition(".")[0], library):
                sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    for zone in ("Europe/Paris", "No", "No/Such", "Europe/No"):
        try:
            zoneinfo.ZoneInfo(zone)
        except zoneinfo.ZoneInfoNotFoundError:
            pass
