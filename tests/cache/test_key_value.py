"""A `Cache` as a key-value service, in both colours."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import pytest

from memocache import EncodeError
from tests.promises.behaviour.world import World

KEYS = [
    "a", "", " ", "a\nb", "a\r\nGET x", "{a}", "}{", "a:b", "memo:k:a", "memo:e:f:" + "0" * 32, "memo:g:p", "\x00",
    "\ud800", "\u00e9", "e\u0301", "%41", "%", "*", "a*", "[a]", "x" * 10_000, "ÿ" * 3000, "\U0001f600", "p", "f:x",
    "A", "a ", "\u2028",
]  # fmt: skip


def test_any_text_is_a_key(world: World) -> None:
    """Every str is a key of its own: for get, exists, ttl, keys and delete."""
    for key in KEYS:
        world.ask("set", key, [key])
    for key in KEYS:
        assert world.ask("get", key) == [key], ascii(key)[:50]
        assert world.ask("exists", key)
        assert world.ask("ttl", key) == pytest.approx(3600)
    assert sorted(world.ask("keys")) == sorted(KEYS)
    assert world.ask("get_many", KEYS) == {key: [key] for key in KEYS}
    for key in KEYS:
        assert world.ask("delete", key) is True, ascii(key)[:50]
        assert world.ask("delete", key) is False
        assert world.ask("get", key) is None
    assert world.ask("keys") == []


@pytest.mark.parametrize("key", [1, None, b"a", ("a",)])
def test_what_is_no_text_is_no_key(world: World, key: Any) -> None:
    """A key that is no str is refused with TypeError, never converted."""
    for operation, rest in (("get", ()), ("set", (1,)), ("delete", ()), ("exists", ()), ("ttl", ()), ("expire", (1,))):
        with pytest.raises(TypeError, match="key"):
            world.ask(operation, key, *rest)
    for operation in ("get_many", "delete_many"):
        with pytest.raises(TypeError, match="key"):
            world.ask(operation, [key])
    with pytest.raises(TypeError, match="key"):
        world.ask("set_many", {key: 1})


def test_get_and_set(world: World) -> None:
    """`get` gives the value or the default; `set` overwrites; None is a value."""
    assert world.ask("get", "a") is None
    assert world.ask("get", "a", "default") == "default"
    assert world.ask("get", "a", default=0) == 0
    assert world.ask("set", "a", 1) is None
    assert world.ask("get", "a", 7) == 1
    world.ask("set", "a", None)
    assert world.ask("get", "a", 7) is None
    assert world.ask("exists", "a") is True


@pytest.mark.parametrize("ttl", [10, 10.0, "10s", timedelta(seconds=10)])
def test_ttl(world: World, ttl: Any) -> None:
    """A key lives for its ttl, and `ttl` says how many seconds are left."""
    world.ask("set", "a", 1, ttl=ttl)
    assert world.ask("ttl", "a") == pytest.approx(10)
    world.clock.advance(4)
    assert world.ask("ttl", "a") == pytest.approx(6)
    assert world.ask("get", "a") == 1
    world.clock.advance(6)
    assert (world.ask("ttl", "a"), world.ask("get", "a"), world.ask("exists", "a")) == (None, None, False)
    assert world.ask("keys") == []


def test_ttl_of_what_never_expires_and_of_nothing(world: World) -> None:
    """`math.inf` for a key that never expires, None for no key."""
    world.ask("set", "a", 1, ttl=None)
    world.clock.advance(10**8)
    assert world.ask("ttl", "a") == math.inf
    assert world.ask("get", "a") == 1
    assert world.ask("ttl", "b") is None


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, True, "5 parsecs", "", object()])
def test_bad_ttl(world: World, ttl: Any) -> None:
    """A bad ttl is a ValueError wherever one is taken, and changes nothing."""
    world.ask("set", "a", 1)
    for operation, rest in (("set", ("a", 2)), ("set_many", ({"a": 2},)), ("expire", ("a",))):
        with pytest.raises(ValueError, match="ttl"):
            world.ask(operation, *rest, ttl=ttl)
    assert world.ask("get", "a") == 1
    assert world.ask("ttl", "a") == pytest.approx(3600)


def test_expire(world: World) -> None:
    """`expire` gives a key another ttl from now, shorter, longer or none, and says whether it was there."""
    world.ask("set", "a", [1], ttl=100)
    for ttl, left in ((10, 10), (1000, 1000), ("5m", 300), (None, math.inf), (20, 20)):
        assert world.ask("expire", "a", ttl) is True
        assert world.ask("ttl", "a") == pytest.approx(left)
        assert world.ask("get", "a") == [1]
    world.clock.advance(20)
    assert world.ask("get", "a") is None
    assert world.ask("expire", "a", 10) is False
    assert world.ask("expire", "b", 10) is False
    assert world.ask("get", "a") is None


def test_many(world: World) -> None:
    """`set_many`, `get_many` (found only) and `delete_many` (how many) are the loops they stand for."""
    assert world.ask("get_many", []) == {}
    assert world.ask("delete_many", []) == 0
    world.ask("set_many", {})
    world.ask("set_many", {"a": 1, "b": None, "{c}": [3]}, ttl=10)
    assert world.ask("get_many", ["b", "x", "{c}", "a", "a"]) == {"b": None, "{c}": [3], "a": 1}
    assert world.ask("ttl", "b") == pytest.approx(10)
    assert world.ask("delete_many", ["a", "a", "x", "b"]) == 2
    assert world.ask("get_many", iter(["a", "b", "{c}"])) == {"{c}": [3]}
    world.clock.advance(10)
    assert world.ask("get_many", ["{c}"]) == {}
    assert world.ask("delete_many", ["{c}"]) == 0


def test_tags_on_keys(world: World) -> None:
    """Keys set with tags are forgotten with them."""
    world.ask("set", "a", 1, tags=["red", "round"])
    world.ask("set", "b", 2, tags="red")
    world.ask("set_many", {"c": 3, "d": 4}, tags=["blue"])
    assert world.ask("get_many", "abcd") == {"a": 1, "b": 2, "c": 3, "d": 4}
    world.ask("invalidate", tag="round")
    assert world.ask("get_many", "abcd") == {"b": 2, "c": 3, "d": 4}
    world.ask("invalidate", tag="blue")
    assert [world.ask("get", key) for key in "abcd"] == [None, 2, None, None]
    assert [world.ask("exists", key) for key in "abcd"] == [False, True, False, False]
    assert world.ask("keys") == ["b"]
    world.ask("set", "c", 5, tags="blue")
    assert world.ask("get", "c") == 5


def test_a_key_keeps_its_tags_when_its_ttl_changes(world: World) -> None:
    """`expire` changes nothing but the ttl."""
    world.ask("set", "a", 1, tags="red")
    world.ask("expire", "a", 50)
    assert world.ask("inspect", "a").tags == ("red",)
    world.ask("invalidate", tag="red")
    assert world.ask("get", "a") is None


def test_what_cannot_be_stored(shared: World) -> None:
    """A value that cannot be held faithfully is an EncodeError that names the path, and nothing is stored."""
    with pytest.raises(EncodeError, match="object"):
        shared.ask("set", "a", {"x": object()})
    with pytest.raises(EncodeError, match="object"):
        shared.ask("set_many", {"a": 1, "b": object()})
    assert shared.ask("get_many", ["a", "b"]) == {}


@pytest.mark.parametrize(
    "pair", [("a", "ab"), ("a", "a:k"), ("p", "p:"), ("p*", "pq"), ("p", "P"), ("a", "a:e:"), ("é", "e")]
)
def test_prefixes_are_apart(shared: World, pair: tuple[str, str]) -> None:
    """Two prefixes share nothing, even if one begins with the other."""
    one, two = (shared.new_cache(prefix=prefix) for prefix in pair)
    for cache in (one, two):
        shared.ask("set", "k", cache._settings.prefix, cache=cache)
        shared.call(shared.cached(lambda x: x, cache=cache, name="f"), 1)
    assert shared.ask("get", "k", cache=one) == pair[0]
    assert len(shared.ask("keys", cache=one)) == 2
    shared.ask("clear", cache=one)
    assert shared.ask("get", "k", cache=one) is None
    assert shared.ask("keys", cache=one) == []
    assert shared.ask("get", "k", cache=two) == pair[1]
    assert len(shared.ask("keys", cache=two)) == 2
    assert shared.call(shared.cached(lambda x: x, cache=two, name="f").peek, 1) == 1


def test_two_caches_of_one_prefix_share_everything(shared: World) -> None:
    """What one cache sets, tags, expires and deletes another sees: they behave as two processes would."""
    one, two = shared.cache, shared.new_cache()
    shared.ask("set", "k", [1], tags="t", cache=one)
    assert shared.ask("get", "k", cache=two) == [1]
    shared.ask("expire", "k", 5, cache=two)
    assert shared.ask("ttl", "k", cache=one) == pytest.approx(5)
    shared.ask("invalidate", tag="t", cache=two)
    assert shared.ask("get", "k", cache=one) is None
    f, g = (shared.cached(lambda x: [x], cache=cache, name="f") for cache in (one, two))
    shared.call(f, 1)
    assert shared.call(g, 1) == [1]
    assert (f.cache_info()[:2], g.cache_info()[:2]) == ((0, 1), (1, 0))
    shared.call(g.invalidate, 1)
    shared.call(f, 1)
    assert f.cache_info()[:2] == (0, 2)


def test_a_read_changes_nothing(shared: World) -> None:
    """No read changes an entry's bytes or the moment the server drops it."""
    f = shared.cached(lambda x: [x], name="f")
    shared.ask("set", "k", [1], ttl=500, tags="t")
    shared.call(f, 1)
    strings = [key for key in shared.keys_raw() if key.split(":")[1] in "ekg"]
    markers_of_the_prefix = len({re.findall("{.*}", key)[0] for key in strings}) if shared.kind == "cluster" else 1
    assert len(strings) == 4 + markers_of_the_prefix
    before = {key: (shared.read_raw(key), shared.deadline_raw(key)) for key in strings}
    for _ in range(2):
        shared.ask("get", "k")
        shared.ask("get_many", ["k", "x"])
        shared.ask("exists", "k")
        shared.ask("ttl", "k")
        shared.ask("inspect", "k")
        shared.ask("keys")
        shared.ask("stats")
        shared.call(f, 1)
        shared.call(f.peek, 1)
        shared.call(f.map, [1, 1])
        f.cache_info(), f.stats(), f.key_for(1)
    assert {key: (shared.read_raw(key), shared.deadline_raw(key)) for key in before} == before


def test_clear(world: World) -> None:
    """`clear` forgets everything under the prefix, keys and calls alike."""
    f = world.cached(lambda x: [x], name="f")
    world.ask("set", "k", 1)
    world.call(f, 1)
    assert world.ask("clear") is None
    assert world.ask("get", "k") is None
    assert world.ask("keys") == []
    assert world.ask("stats").total_keys == 0
    world.call(f, 1)
    assert f.cache_info()[:2] == (0, 2)
