"""What can be used once is known for it, alone and inside whatever holds it, and nothing else is."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import csv
import dataclasses
import io
import itertools
import mmap
import pathlib
import re
import tempfile
import threading
import types
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from memocache.codecs import Codec, copier, single_use
from memocache.exceptions import EncodeError


class Own:
    """An iterator of a user's."""

    def __iter__(self) -> Own:
        return self

    def __next__(self) -> int:
        raise StopIteration


class OwnTuple(tuple[Any, ...]):
    """A container without a code, as those that follow."""


class OwnList(list[Any]):
    """A list of a user's."""


class OwnDict(dict[str, Any]):
    """A dict of a user's."""


class Readings:
    """A stream of a user's."""

    def read(self) -> bytes:
        return b""

    def seek(self, at: int) -> None: ...


class Session:
    """A client that is closed by whoever leaves it."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None: ...


class AsyncSession:
    """The same for async code."""

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *error: object) -> None: ...


class Awaitable:
    """What an ORM's query may be."""

    def __await__(self) -> Iterator[None]:
        yield


@dataclasses.dataclass
class Counting:
    """A dataclass that is its own iterator."""

    at: int

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> int:
        self.at += 1
        return self.at


@dataclasses.dataclass
class Box:
    held: Any


class Pair(NamedTuple):
    left: Any
    right: Any


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


@types.coroutine
def old_coroutine() -> Iterator[None]:
    yield


@contextlib.contextmanager
def managed() -> Iterator[int]:
    yield 1


@contextlib.asynccontextmanager
async def async_managed() -> AsyncIterator[int]:
    yield 1


def future() -> asyncio.Future[int]:
    loop = asyncio.new_event_loop()
    made = loop.create_future()
    loop.close()
    return made


ONCE: dict[str, Callable[[], Any]] = {
    "generator": generator,
    "expression": lambda: (i for i in ()),
    "map": lambda: map(str, []),
    "filter": lambda: filter(None, []),
    "zip": lambda: zip([], [], strict=False),
    "enumerate": lambda: enumerate([]),
    "iter": lambda: iter([]),
    "reversed": lambda: reversed([1]),
    "dict items": lambda: iter({1: 2}.items()),
    "count": itertools.count,
    "finditer": lambda: re.finditer("a", "a"),
    "csv": lambda: csv.DictReader([]),
    "scandir": lambda: pathlib.Path(__file__).parent.iterdir(),
    "own": Own,
    "BytesIO": io.BytesIO,
    "StringIO": io.StringIO,
    "file": lambda: open(__file__, "rb"),  # noqa: SIM115  # closed by the test
    "temporary file": tempfile.TemporaryFile,
    "mmap": lambda: mmap.mmap(-1, 10),
    "stream": Readings,
    "coroutine": coroutine,
    "old coroutine": old_coroutine,
    "future": future,
    "awaitable": Awaitable,
    "async generator": async_generator,
    "context manager": managed,
    "async context manager": async_managed,
    "exit stack": contextlib.ExitStack,
}
VOUCHED: dict[str, Callable[[], Any]] = {"session": Session, "async session": AsyncSession}
HOLDERS: dict[str, Callable[[Any], Any]] = {
    "alone": lambda part: part,
    "list": lambda part: [1, part],
    "deep list": lambda part: [[1], [[part]]],
    "dict": lambda part: {"a": part},
    "dict of lists": lambda part: {"a": {"b": [part]}},
    "tuple": lambda part: (1, part),
    "dataclass": lambda part: [Box(part)],
    "namedtuple": lambda part: Pair(1, [part]),
    "OrderedDict": lambda part: OrderedDict(a=[part]),
    "deque": lambda part: deque([part]),
    "beside an object": lambda part: [object(), Own, [part]],
    "tuple of a class of its own": lambda part: OwnTuple((1, [part])),
    "list of a class of its own": lambda part: [OwnList([part])],
    "dict of a class of its own": lambda part: {"a": OwnDict(a=part)},
}


def end(thing: Any) -> None:
    if hasattr(thing, "close"):
        thing.close()
    elif hasattr(thing, "gen") and hasattr(thing.gen, "aclose"):
        thing.gen.aclose().close()


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("kind", ONCE | VOUCHED)
def test_what_can_be_used_once_is_held_nowhere(kind: str, holder: str) -> None:
    """Neither the process holds it, with share=True or without, nor does a payload; the message has path and way out.
    Context managers that are nothing else are held where their author vouches for them.
    """
    part = (ONCE | VOUCHED)[kind]()
    value = HOLDERS[holder](part)
    codec = Codec()
    with pytest.raises(EncodeError, match=r"result.*once|result.*position") as held:
        copier(value, codec)
    with pytest.raises(EncodeError, match="result"):
        codec.encode(value)
    if kind in VOUCHED:
        single_use.refuse_single_use(value)
    else:
        with pytest.raises(EncodeError, match="result"):
            single_use.refuse_single_use(value)
    assert type(part).__qualname__ in str(held.value)
    assert "return" in str(held.value) or "decorate" in str(held.value)
    end(part)


@pytest.mark.parametrize(
    "value",
    [
        1, "text", [1], {"a": (1,)}, range(3), {1: 2}.keys(), memoryview(b"x"), pathlib.Path("x"), threading.Lock(),
        threading.RLock(), threading.Semaphore(), concurrent.futures.Future(), Box, Own, generator, object(), Box(1),
        types.SimpleNamespace(a=1), re.compile("a"), [len, Counting],
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_can_be_used_again_is_not_taken_for_it(value: object) -> None:
    """Values, classes, locks, sequences and futures of threads can be handed to any number of callers."""
    assert single_use.reason(value) is None
    single_use.refuse_single_use([value])
    copier([value], Codec())


def test_a_class_that_is_its_own_iterator_has_no_code() -> None:
    """Also one whose fields could be stored."""
    with pytest.raises(EncodeError, match="iterated once"):
        Codec().encode([Counting(1)])
    with pytest.raises(EncodeError, match="iterated once"):
        copier(Counting(1), Codec())


def test_a_cyclic_value_is_searched_too() -> None:
    """The search ends, and finds."""
    value: list[Any] = [[]]
    value[0] += [value, iter([])]
    with pytest.raises(EncodeError, match="iterated once"):
        copier(value, Codec())
    value[0].pop()
    single_use.refuse_single_use(value)
