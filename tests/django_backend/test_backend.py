"""`MemocacheCache`: what Django's own cache tests (`python -m tests.django_suite`) leave open."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memocache import BackendError, Cache, EncodeError
from memocache.testing import servers
from tests.django_backend.conftest import Place
from tests.promises.flight.support import acrowd, crowd
from tests.worlds import each_server


def test_every_method_in_both_colours(place: Place) -> None:
    """The async methods say what the sync ones say."""
    cache = place.new(KEY_PREFIX="p", VERSION=3)

    def ask(method: str, *args: Any, **kwargs: Any) -> Any:
        return place.ask(cache, method, *args, **kwargs)

    assert ask("get", "k", "default") == "default"
    assert ask("set", "k", {"a": (1,)}) is None
    assert ask("get", "k") == {"a": (1,)}
    assert (ask("has_key", "k"), ask("has_key", "x")) == (True, False)
    assert (ask("add", "k", 1), ask("add", "n", 1)) == (False, True)
    assert (ask("incr", "n", 4), ask("decr", "n", 2), ask("get", "n")) == (5, 3, 3)
    assert (ask("get", "n", version=4), ask("incr_version", "n"), ask("get", "n", version=4)) == (None, 4, 3)
    assert ask("set_many", {"a": 1, "b": None}) == []
    assert ask("get_many", iter(["a", "b", "c"])) == {"a": 1, "b": None}
    assert ask("delete_many", ["a", "c"]) is None
    assert (ask("delete", "b"), ask("delete", "b")) == (True, False)
    assert ask("get_or_set", "o", lambda: [1]) == [1]
    assert ask("get_or_set", "o", lambda: [2]) == [1]
    assert ask("get_or_set", "plain", 7) == 7
    assert sorted(cache.memocache.keys()) == ["p:3:k", "p:3:o", "p:3:plain", "p:4:n"]
    assert ask("clear") is None
    assert ask("get_many", ["k", "o"]) == {}


def test_timeouts(place: Place) -> None:
    """None is for ever, what is left out is ``TIMEOUT``, and 0 and below are over at once, everywhere."""
    cache = place.new(TIMEOUT=120)
    inner = cache.memocache

    def ask(method: str, *args: Any, **kwargs: Any) -> Any:
        return place.ask(cache, method, *args, **kwargs)

    ask("set", "k", 1)
    assert 100 < inner.ttl(":1:k") <= 120
    assert ask("touch", "k", None) is True
    assert inner.ttl(":1:k") == float("inf")
    assert ask("touch", "k", 0.5) is True
    assert inner.ttl(":1:k") <= 0.5
    assert ask("touch", "x", 5) is False
    for timeout in (0, -1, -0.5):
        ask("set", "k", 1, None)
        assert ask("touch", "k", timeout) is True
        assert ask("has_key", "k") is False
        ask("set", "k", 1, None)
        assert ask("add", "k", 2, timeout) is False
        ask("set", "k", 1, timeout)
        assert ask("add", "k", 2, timeout) is True
        assert ask("set_many", {"k": 1, "l": 2}, timeout) == []
        assert ask("get_or_set", "k", lambda: 3, timeout) == 3
        assert ask("get_or_set", "k", 4, timeout) == 4
        assert ask("get_many", ["k", "l"]) == {}
    ask("set", "n", 1, 60)
    before = inner.ttl(":1:n")
    ask("incr", "n")
    assert inner.ttl(":1:n") <= before


def test_get_or_set_is_no_stampede(place: Place) -> None:
    """Of eight threads, or tasks, that ask together one computes, and all get what it returned."""
    cache, calls = place.new(), []

    def load() -> int:
        calls.append(1)
        return len(calls)

    async def load_later() -> int:
        await asyncio.sleep(0)
        return load()

    if place.colour == "sync":
        answers = crowd(8, lambda _: place.new().get_or_set("k", load))
    else:
        answers = place.run(acrowd(8, lambda _: cache.aget_or_set("k", load_later)))
    assert answers == [1] * 8
    assert calls == [1]


def test_async_methods_are_async(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them hands its sync twin to a thread, as Django's own do."""
    from django.core.cache.backends import base

    monkeypatch.setattr(base, "sync_to_async", _never)
    cache = place.new()

    async def use() -> None:
        await cache.aset("n", 1)
        assert await cache.aadd("n", 1) is False
        assert await cache.atouch("n") is True
        assert await cache.aincr("n") == 2
        assert await cache.adecr_version("n") == 0
        assert await cache.aset_many({"a": 1}) == []
        assert await cache.aget_many(["a"]) == {"a": 1}
        await cache.adelete_many(["a"])
        await cache.aclear()
        await cache.aclose()

    for name in ("get", "set", "add", "touch", "delete", "has_key", "get_or_set", "get_many", "set_many", "clear"):
        monkeypatch.setattr(type(cache), name, _never)
    place.run(use())


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("a blocking method was called")


def test_objects_of_one_configuration_are_one_cache(place: Place) -> None:
    """Django makes an object for each thread and task: they share store and connections, other options do not."""
    first, second, other = place.new(), place.new(TIMEOUT=5, VERSION=2), place.new(OPTIONS={"prefix": "other"})
    assert first.memocache is second.memocache
    assert first.memocache is not other.memocache
    place.ask(first, "set", "k", 1)
    assert place.ask(second, "get", "k", version=1) == 1
    assert place.ask(other, "get", "k") is None
    first.close()  # at the end of each request
    assert place.ask(first, "get", "k") == 1


def test_of_threads_one_adds_and_all_count(place: Place) -> None:
    """`add` is a lock, and no step of `incr` is lost."""
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: place.new().add("lock", 1), range(16))).count(True) == 1
        assert place.new().add("n", 0) is True
        list(threads.map(lambda _: place.new().incr("n"), range(80)))
    assert place.new().get("n") == 80


def test_what_is_refused(place: Place) -> None:
    """A model instance, a QuerySet, a class and a generator are refused in every place, each with its way out."""
    from django.db import models

    row = type("Row", (models.Model,), {"__module__": __name__, "Meta": type("Meta", (), {"app_label": place.prefix})})
    cache = place.new()
    for value, way_out in (
        (row(), "return plain data"),
        ([row()], "return plain data"),
        (row.objects.all(), "values()"),
        (row, "return its name"),
        ((n for n in [1]), "list or a tuple"),
    ):
        for method in ("set", "add", "get_or_set"):
            given = (lambda value=value: value) if method == "get_or_set" else value
            with pytest.raises(EncodeError, match=r".*") as refused:
                place.ask(cache, method, "k", given)
            assert way_out in str(refused.value)
        with pytest.raises(EncodeError):
            place.ask(cache, "set_many", {"k": value})
    assert place.ask(cache, "has_key", "k") is False


def test_incr_of_nothing(place: Place) -> None:
    """A key without value is a ValueError that does not tell the key, one without number a TypeError."""
    cache = place.new()
    for method in ("incr", "decr"):
        with pytest.raises(ValueError, match=r"^the key has no value to add to; set or add one first$"):
            place.ask(cache, method, "secret")
        place.ask(cache, "set", "text", "secret")
        with pytest.raises(TypeError, match=r"^incr is for a key whose value is a number, and this one has a str$"):
            place.ask(cache, method, "text")


@pytest.mark.parametrize(
    ("location", "options", "text"),
    [
        (["redis://a", "redis://b"], {}, r"LOCATION takes one URL as text; of a cluster redis\+cluster://"),
        ("memcached://", {}, "unknown"),
        ("memory://", {"MAX_ENTRIES": 5}, r"'MAX_ENTRIES': memory://\?maxsize=10000 in LOCATION"),
        ("memory://", {"CULL_FREQUENCY": 5}, "leave it out"),
        ("memory://", {"default_ttl": 5}, "TIMEOUT beside OPTIONS says it"),
        ("memory://", {"backend": "x"}, "LOCATION beside OPTIONS says it"),
        ("memory://", {"prefixx": "x"}, "known options: .*max_wait.*, prefix, "),
        ("memory://", {"prefix": ""}, "prefix= takes a text that is not empty"),
        ("memory://", {"max_wait": True}, "max_wait"),
    ],
)
def test_settings_that_cannot_work(location: Any, options: dict[str, Any], text: str) -> None:
    """Each is Django's own error, which names the setting and the way out."""
    from django.core.exceptions import ImproperlyConfigured

    from memocache.django import MemocacheCache

    with pytest.raises(ImproperlyConfigured, match=text):
        MemocacheCache(location, {"OPTIONS": options})


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_while_the_server_is_away(colour: str) -> None:
    """Reads find nothing and what is set is lost; what must not be believed raises, and with ``on_error`` all does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        place = Place(f"redis://127.0.0.1:{taken.getsockname()[1]}", colour, "away")
        calls: list[tuple[str, tuple[Any, ...], Any]] = [
            ("get", ("k", "default"), "default"),
            ("has_key", ("k",), False),
            ("get_many", (["k"],), {}),
            ("set", ("k", 1), None),
            ("set", ("k", 1, 0), None),
            ("set_many", ({"k": 1},), ["k"]),
            ("set_many", ({"k": 1}, 0), ["k"]),
            ("get_or_set", ("k", lambda: 7), 7),
        ]
        cache, strict = place.new(), place.new(OPTIONS={"on_error": "raise"})
        for method, args, answer in calls:
            assert place.ask(cache, method, *args) == answer, method
            with pytest.raises(BackendError):
                place.ask(strict, method, *args)
        for method, args in (
            ("add", ("k", 1)),
            ("add", ("k", 1, 0)),
            ("incr", ("k",)),
            ("touch", ("k",)),
            ("delete", ("k",)),
            ("delete_many", (["k"],)),
            ("clear", ()),
        ):
            with pytest.raises(BackendError):
                place.ask(cache, method, *args)
        place.close()


@pytest.mark.parametrize("kind", each_server())
def test_the_command_line_sees_it(kind: str, running_server: Callable[[str], servers.Server]) -> None:
    """`memocache stats`, `keys` and `inspect` read what Django stored and counted, and so does another `Cache`."""
    from memocache.django import MemocacheCache

    server = running_server(kind)
    with server.client() as client:
        client.flushall()  # tests of other folders leave keys of the default prefix
    url = server.url
    cache = MemocacheCache(url, {})
    cache.set("k", [1])
    assert (cache.get("k"), cache.get("x")) == ([1], None)
    cache.memocache.close()  # which sends what was counted

    def command(*words: str) -> str:
        words = (sys.executable, "-m", "memocache.cli", *words, "--url", url)
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    told = json.loads(command("stats", "--fleet", "--json"))
    assert (told["hits"], told["misses"], told["total_keys"]) == (1, 1, 1)
    assert ":1:k" in command("keys")
    assert "a plain key" in command("inspect", ":1:k")
    with Cache(url) as other:
        assert other.keys_page().keys == [":1:k"]  # as the dashboard lists them
        assert other.get(":1:k") == [1]


def test_functions_on_the_same_cache(place: Place) -> None:
    """``caches[...].memocache`` is a `Cache`: functions decorated on it are cleared with it."""
    cache, calls = place.new(), []

    @cache.memocache.cached(name="shop.f")
    def f(x: int) -> int:
        calls.append(x)
        return x

    assert (f(1), f(1), calls) == (1, 1, [1])
    place.ask(cache, "clear")
    assert (f(1), calls) == (1, [1, 1])
