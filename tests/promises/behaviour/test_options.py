"""The options of `cached`: ttl, key, exclude, tags, condition, errors, name, version, maxsize."""

from __future__ import annotations

import math
import traceback
from datetime import timedelta
from typing import Any

import pytest

from memocache import MISSING, ConfigurationError, DuplicateNameWarning
from tests.promises.behaviour.world import World

LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


def note(*args: Any, **kwargs: Any) -> int:
    """Count the calls."""
    LOG.append((args, kwargs))
    return len(LOG)


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (60, 60), (0.5, 0.5), ("500ms", 0.5), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("7d", 604_800),
        (timedelta(minutes=2), 120), (lambda result: 42, 42), (lambda result: "2m", 120),
        (lambda result: timedelta(seconds=result), 1),
    ],
)  # fmt: skip
def test_ttl_in_all_its_forms(world: World, ttl: Any, seconds: float) -> None:
    """A value is served until its ttl has passed, and computed anew from then on."""
    f = world.cached(note, ttl=ttl, name="ttl")
    assert world.call(f, 1) == 1
    world.clock.advance(seconds * 0.99)
    assert world.call(f, 1) == 1
    world.clock.advance(seconds * 0.02)
    assert world.call(f, 1) == 2


@pytest.mark.parametrize("ttl", [None, lambda result: None])
def test_a_ttl_of_none_never_expires(world: World, ttl: Any) -> None:
    """`ttl=None`, also from a callable, never expires."""
    f = world.cached(note, ttl=ttl, name="forever")
    world.call(f, 1)
    world.clock.advance(10**9)
    assert world.call(f, 1) == 1


def test_the_default_ttl(world: World) -> None:
    """A ttl left out is the cache's `default_ttl`."""
    hour = world.cached(note, name="hour")
    short = world.cached(note, cache=world.new_cache(default_ttl="10s", prefix="short"), name="short")
    assert (world.call(hour, 1), world.call(short, 1)) == (1, 2)
    world.clock.advance(11)
    assert (world.call(hour, 1), world.call(short, 1)) == (1, 3)
    world.clock.advance(3600)
    assert world.call(hour, 1) == 4


@pytest.mark.parametrize("bad", [0, -1, math.nan, True, "5 parsecs", object()])
def test_a_ttl_callable_that_gives_nonsense(world: World, bad: Any) -> None:
    """What a ttl callable returns is checked like any ttl: ValueError out of the call, and nothing stored."""
    f = world.cached(note, ttl=lambda result: bad, name="bad-ttl")
    with pytest.raises(ValueError, match="ttl"):
        world.call(f, 1)
    assert world.call(f.peek, 1) is MISSING


def test_a_ttl_callable_does_not_leak_the_result(world: World) -> None:
    """The message about a bad ttl does not repeat what the callable returned, which may be the result itself."""
    f = world.cached(lambda x: "hush-hush", ttl=lambda result: result, name="leak")
    with pytest.raises(ValueError, match="ttl") as raised:
        world.call(f, 1)
    assert "hush" not in str(raised.value)


def test_key_template(world: World) -> None:
    """A template picks what identifies the call; its fields are values apart, never joined text."""
    f = world.cached(lambda user, lang, trace=None: note(), key="{user}:{lang}", name="template")
    assert world.call(f, "a", "b", trace=1) == world.call(f, "a", lang="b", trace=object()) == 1
    assert world.call(f, "a:b", "") == 2
    assert world.call(f, "a", ":b") == 3
    assert world.call(f, 1, "b") == 4
    assert world.call(f, "1", "b") == 5


def test_key_template_with_attributes_and_items(world: World) -> None:
    """A template's fields may look into an argument."""

    class Request:
        def __init__(self, user: str, size: int) -> None:
            self.user = user
            self.query = {"size": size}

    f = world.cached(lambda request: note(), key="{request.user}{request.query[size]}", name="deep")
    assert world.call(f, Request("a", 1)) == world.call(f, Request("a", 1)) == 1
    assert world.call(f, Request("a", 2)) == 2
    assert world.call(f, Request("b", 1)) == 3


def test_key_callable(world: World) -> None:
    """A callable gets the call's arguments; what it returns is the key, by value and type."""
    f = world.cached(lambda a, *, b=0, c=None: note(), key=lambda a, *, b, c: (a, b), name="callable")
    assert world.call(f, 1, c=object()) == world.call(f, a=1, b=0) == 1
    assert world.call(f, 1, b=1) == 2
    assert world.call(f, 1.0) == 3


def test_what_a_key_callable_raises_is_the_callers(world: World) -> None:
    """An exception of the key callable comes out as it is."""
    f = world.cached(lambda a: note(), key=lambda a: a["x"], name="key-raises")
    with pytest.raises(KeyError):
        world.call(f, {})


@pytest.mark.parametrize(
    ("source", "exclude", "calls"),
    [
        ("lambda a, b: note()", "b", [((1, 2), {}), ((1,), {"b": 3}), ((), {"b": 4, "a": 1})]),
        ("lambda a, *, b=1: note()", ["b"], [((1,), {}), ((1,), {"b": 3})]),
        ("lambda a, *rest: note()", ("rest",), [((1,), {}), ((1, 2, 3), {})]),
        ("lambda a, **more: note()", ("more",), [((1,), {}), ((1,), {"x": 3})]),
        ("lambda a, **more: note()", ("x",), [((1,), {}), ((1,), {"x": 3})]),
        ("lambda a, b=1, c=2: note()", ("a", "b", "c"), [((1,), {}), ((2, 3, 4), {})]),
        ("lambda a, b, /: note()", "b", [((1, 2), {}), ((1, 3), {})]),
    ],
)
def test_exclude(world: World, source: str, exclude: Any, calls: list[Any]) -> None:
    """Excluded parameters take no part in the key however they are passed, even when they have no identity."""
    f = world.cached(eval(source), exclude=exclude, name="exclude")
    for args, kwargs in calls:
        assert world.call(f, *args, **kwargs) == 1


def test_excluded_arguments_still_reach_the_function(world: World) -> None:
    """On a miss the function gets the excluded argument too, unkeyable or not."""
    f = world.cached(lambda a, b: b.append(a), exclude="b", name="reach")
    seen: list[int] = []
    world.call(f, 1, seen)
    world.call(f, 1, b=[])
    assert seen == [1]


def test_static_tags(world: World) -> None:
    """Invalidating a tag forgets what was tagged with it, over functions, and nothing else."""
    f = world.cached(note, tags=["red", "round"], name="f")
    g = world.cached(note, tags="red", name="g")
    h = world.cached(note, tags="blue", name="h")
    assert [world.call(one, 1) for one in (f, g, h)] == [1, 2, 3]
    world.ask("invalidate", tag="red")
    assert [world.call(one, 1) for one in (f, g, h)] == [4, 5, 3]
    world.ask("invalidate", tag="round")
    assert [world.call(one, 1) for one in (f, g, h)] == [6, 5, 3]
    world.ask("invalidate", tag="unknown")
    assert [world.call(one, 1) for one in (f, g, h)] == [6, 5, 3]


def test_template_tags(world: World) -> None:
    """A tag template is rendered from the call's arguments, defaults too."""
    f = world.cached(lambda user, lang="en": note(), tags=["user:{user}", "lang:{lang}"], name="f")
    assert [world.call(f, 1), world.call(f, 2), world.call(f, 1, "nl")] == [1, 2, 3]
    world.ask("invalidate", tag="user:1")
    assert [world.call(f, 2), world.call(f, 1), world.call(f, 1, "nl")] == [2, 4, 5]
    world.ask("invalidate", tag="lang:en")
    assert [world.call(f, 1, "nl"), world.call(f, 2), world.call(f, 1)] == [5, 6, 7]


def test_callable_tags(world: World) -> None:
    """A callable of the call's arguments gives the tags."""
    f = world.cached(lambda ids: note(), tags=lambda ids: [f"id:{i}" for i in ids], name="f")
    assert [world.call(f, [1, 2]), world.call(f, [2, 3]), world.call(f, [3])] == [1, 2, 3]
    world.ask("invalidate", tag="id:2")
    assert world.call(f, [3]) == 3
    assert [world.call(f, [1, 2]), world.call(f, [2, 3])] == [4, 5]


def test_condition(world: World) -> None:
    """Only results for which the condition is true are stored."""
    f = world.cached(note, condition=lambda result: result >= 3, name="condition")
    assert [world.call(f, 1) for _ in range(5)] == [1, 2, 3, 3, 3]
    assert f.cache_info()[:2] == (2, 3)
    assert f.stats().stores == 1


def test_what_a_condition_raises_is_the_callers(world: World) -> None:
    """An exception of the condition comes out of the call, and nothing is stored."""
    f = world.cached(note, condition=lambda result: result.nonsense, name="condition-raises")
    for _ in range(2):
        with pytest.raises(AttributeError):
            world.call(f, 1)
    assert len(LOG) == 2


def test_errors_are_remembered(world: World) -> None:
    """Exceptions of the classes in `errors=` are remembered by class and arguments for `error_ttl`."""

    def f(x: int) -> None:
        note()
        raise KeyError("gone", x)

    f = world.cached(f, errors=(LookupError,), error_ttl=10, name="errors")
    for _ in range(3):
        with pytest.raises(KeyError) as raised:
            world.call(f, 1)
        assert raised.value.args == ("gone", 1)
    assert len(LOG) == 1
    assert world.call(f.peek, 1) is MISSING
    assert f.cache_info()[:2] == (2, 1)
    world.clock.advance(11)
    with pytest.raises(KeyError):
        world.call(f, 1)
    assert len(LOG) == 2


def test_remembered_errors_are_raised_afresh(world: World) -> None:
    """Each caller gets an exception object of its own, whose traceback does not grow."""

    def f(x: int) -> None:
        raise ValueError(x)

    f = world.cached(f, errors=ValueError, name="afresh")
    seen = []
    for _ in range(6):
        with pytest.raises(ValueError, match="1") as raised:
            world.call(f, 1)
        seen.append(raised.value)
    assert len(set(map(id, seen[1:]))) == 5
    assert len({len(traceback.extract_tb(one.__traceback__)) for one in seen[1:]}) == 1


def test_other_errors_are_not_remembered(world: World) -> None:
    """Only the named classes are remembered."""

    def f(x: int) -> None:
        note()
        raise TypeError("other")

    f = world.cached(f, errors=LookupError, name="other-errors")
    for _ in range(2):
        with pytest.raises(TypeError):
            world.call(f, 1)
    assert len(LOG) == 2


def test_name(world: World) -> None:
    """`name=` is the public name in keys, statistics and invalidation, and vouches for closures."""
    f = world.cached(lambda x: note(), name="my.name")
    g = world.cached(lambda x: note() + 0, name="my.name")
    assert "my.name" in f.key_for(1)
    assert world.call(f, 1) == 1
    with pytest.warns(DuplicateNameWarning, match="two different functions"):
        assert world.call(g, 1) == 1
    world.ask("invalidate", "my.name")
    assert world.call(g, 1) == 2
    assert f.stats().name == "my.name"


def test_version(world: World) -> None:
    """Another version is another keyspace; an int and its text are one version."""
    made = [world.cached(lambda x: note(), name="v", version=v) for v in (None, 1, 2, "1")]
    for _ in range(2):
        assert [world.call(f, 1) for f in made] == [1, 2, 3, 2]


def test_version_auto_follows_the_code(world: World) -> None:
    """With `version="auto"` the same code shares entries and changed code does not."""
    made = []
    for source in ("return note()", "return note()", "return note() + 100"):
        namespace: dict[str, Any] = {"note": note}
        exec(f"{'async ' if world.is_async else ''}def f(x):\n    {source}", namespace)
        made.append(world.cache.cached(name="auto", version="auto")(namespace["f"]))
    assert [world.call(f, 1) for f in made] == [1, 1, 102]


def test_maxsize_bounds_what_the_process_holds(local: World) -> None:
    """At most `maxsize` entries of the function are held in the process, and other functions keep theirs."""
    f, g = local.cached(note, maxsize=10, name="f"), local.cached(note, name="g")
    for x in range(100):
        local.call(f, x)
        local.call(g, x)
    assert f.cache_info()[2:] == (10, 10)
    assert g.cache_info().currsize == 100
    assert local.ask("stats").evicted_keys == 90


def test_the_memory_url_bounds_the_cache(local: World) -> None:
    """`memory://?maxsize=` bounds all functions of the cache together."""
    from memocache import Cache

    cache = Cache("memory://?maxsize=20", clock=local.clock)
    made = [local.cached(note, cache=cache, name=name) for name in "fg"]
    for x in range(50):
        for f in made:
            local.call(f, x)
    assert sum(f.cache_info().currsize for f in made) == 20
    assert cache.stats().total_keys == 20


@pytest.mark.parametrize("tags", ["{unknown}", lambda x: [1], lambda x: [""]])
def test_bad_tags(world: World, tags: Any) -> None:
    """Tags that are not texts, or name no parameter, are refused."""
    with pytest.raises(ConfigurationError, match="tags"):
        world.call(world.cached(lambda x: note(), tags=tags, name="bad-tags"), 1)
