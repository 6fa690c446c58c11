"""What bad input gets: an error of the promised class whose message names the culprit and the way out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from memocache import Cache, ConfigurationError, cached, configure
from memocache.testing import FakeClock


def f(user_id: int, lang: str = "en", **more: Any) -> int:
    """What is decorated here."""
    return user_id


def g(user_id: int, lang: str = "en") -> int:
    """The same, without a place for surplus keywords."""
    return user_id


BAD_TTLS: list[Any] = [
    0,
    0.0,
    -1,
    -0.5,
    math.nan,
    math.inf,
    True,
    False,
    "5 parsecs",
    "",
    "0s",
    "1",
    "-5m",
    b"5m",
    [],
    object(),
    10**400,
]


def _shown(bad: object) -> str:
    """A name for the case that is the same in every process."""
    return "an object" if type(bad) is object else repr(bad)[:40]


@pytest.mark.parametrize("bad", BAD_TTLS, ids=_shown)
@pytest.mark.parametrize("name", ["ttl", "stale", "stale_if_error", "soft_timeout", "hard_timeout", "error_ttl"])
def test_bad_durations(name: str, bad: Any) -> None:
    """A bad duration is a ValueError when decorating, naming the parameter."""
    with pytest.raises(ValueError, match=f"^{name}"):
        cached(**{name: bad})(f)


@pytest.mark.parametrize("bad", BAD_TTLS, ids=_shown)
@pytest.mark.parametrize("name", ["default_ttl", "max_wait"])
def test_bad_durations_of_a_cache(name: str, bad: Any) -> None:
    """A bad duration of a cache is a ValueError naming the setting."""
    with pytest.raises(ValueError, match=f"^{name}"):
        Cache(**{name: bad})
    with pytest.raises(ValueError, match=f"^{name}"):
        configure(**{name: bad})


@pytest.mark.parametrize("decorate", [cached, Cache().cached])
@pytest.mark.parametrize("name", ["tll", "timeout", "expire", "Key", "_"])
def test_unknown_options(decorate: Any, name: str) -> None:
    """An unknown keyword is a TypeError that names it, when decorating."""
    with pytest.raises(TypeError, match=name):
        decorate(**{name: 1})(f)


def test_unknown_settings() -> None:
    """An unknown keyword of a cache is a TypeError that names it."""
    with pytest.raises(TypeError, match="prefixx"):
        Cache(prefixx="a")  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize(
    ("option", "bad", "culprit"),
    [
        ("exclude", "user", "'user'"), ("exclude", ["lang", "nobody"], "'nobody'"), ("exclude", [1], "1"),
        ("key", "{user}", "{user}"), ("key", "{user_id}:{nobody.x}", "{nobody}"), ("key", "{user_id!r}", "user_id"),
        ("key", "{user_id:>3}", "user_id"), ("key", "{", "template"), ("key", "{}", "{}"), ("key", "{0}", "{0}"),
        ("key", 5, "key"), ("tags", "{user}", "{user}"), ("tags", ["a", "{nobody}"], "{nobody}"),
        ("tags", "{", "template"), ("tags", [""], "tags"), ("tags", [5], "tags"), ("tags", "", "tags"),
        ("condition", 5, "condition"), ("errors", 5, "errors"), ("errors", [5], "errors"),
        ("errors", "KeyError", "errors"), ("errors", KeyboardInterrupt, "errors"), ("errors", int, "errors"),
        ("name", "", "name"), ("name", 5, "name"), ("version", True, "version"), ("version", 1.5, "version"),
        ("maxsize", 0, "maxsize"), ("maxsize", -1, "maxsize"), ("maxsize", True, "maxsize"),
        ("maxsize", "10", "maxsize"), ("coalesce", "planet", "coalesce"), ("coalesce", True, "coalesce"),
        ("share", 1, "share"), ("strict", "yes", "strict"), ("jitter", 2, "jitter"), ("jitter", -0.1, "jitter"),
        ("jitter", math.nan, "jitter"), ("jitter", True, "jitter"), ("early", -1, "early"), ("early", "1", "early"),
        ("early", math.nan, "early"), ("early", math.inf, "early"), ("exclude", None, "exclude"),
        ("tags", None, "tags"),
    ],
)  # fmt: skip
def test_bad_options(option: str, bad: Any, culprit: str) -> None:
    """A value that makes no sense is a ConfigurationError that names the option, and the name that is no parameter."""
    with pytest.raises(ConfigurationError) as refused:
        cached(**{option: bad})(g)
    assert option in str(refused.value)
    assert culprit in str(refused.value)


def test_a_refusal_of_a_name_lists_the_parameters() -> None:
    """Whoever misspelled a parameter is told which there are."""
    for option, bad in (("exclude", "user"), ("key", "{user}"), ("tags", "{user}")):
        with pytest.raises(ConfigurationError, match="user_id, lang"):
            cached(**{option: bad})(g)


def test_star_keywords_may_be_excluded() -> None:
    """With `**more` any name may be excluded."""
    assert cached(exclude="anything")(f)(1, anything=object()) == 1


@pytest.mark.parametrize(
    ("target", "culprit"),
    [
        ("generator", "generator"),
        ("async generator", "generator"),
        ("class", "class"),
        ("int", "int"),
        ("none", "NoneType"),
        ("str", "str"),
    ],
)
def test_what_cannot_be_decorated(target: str, culprit: str) -> None:
    """Generator functions, classes and what is no function are refused with TypeError when decorating."""

    def generator(x: int) -> Any:
        yield x

    async def async_generator(x: int) -> Any:
        yield x

    class Thing:
        pass

    things = {
        "generator": generator,
        "async generator": async_generator,
        "class": Thing,
        "int": 5,
        "str": "f",
        "none": None,
    }
    with pytest.raises(TypeError, match=culprit):
        cached()(things[target])


def test_generator_methods_cannot_be_decorated() -> None:
    """Generators behind classmethod, staticmethod and partial are refused too."""
    import functools

    def generator(x: int) -> Any:
        yield x

    for wrap in (classmethod, staticmethod, functools.partial):
        with pytest.raises(TypeError, match="generator"):
            cached(wrap(generator))


@pytest.mark.parametrize(
    ("url", "culprit"),
    [
        ("", "empty"), ("   ", "empty"), ("parsecs://localhost", "parsecs"), ("localhost", "scheme"),
        ("redis", "scheme"), ("memory://?size=5", "size"), ("memory://?maxsize=-1", "maxsize"),
        ("memory://?maxsize=x", "maxsize"), ("memory://host", "memory"), ("null://?x=1", "x"),
        ("redis://localhost/0?colour=red", "colour"), ("redis://localhost/x", "database|number|db"),
        ("redis://localhost:port/0", "port"), ("redis://localhost?timeout=0", "timeout"),
        ("redis://localhost?timeout=nan", "timeout"), ("valkey://localhost?max_connections=none", "max_connections"),
        ("unix://", "path"), ("unix:///s?colour=red", "colour"), ("redis://localhost?timeout=1&timeout=2", "timeout"),
    ],
)  # fmt: skip
def test_bad_urls(url: str, culprit: str) -> None:
    """An empty URL, an unknown scheme and an unknown or bad option are ConfigurationErrors that name the culprit."""
    with pytest.raises(ConfigurationError, match=culprit):
        Cache(url)


def test_a_bad_url_does_not_show_the_password() -> None:
    """A refused URL's message holds neither password nor user."""
    with pytest.raises(ConfigurationError) as refused:
        Cache("redis://user:s3cret@localhost/0?colour=red")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "bad"),
    [
        ("prefix", ""), ("prefix", 5), ("on_error", "explode"), ("secret", ""), ("secret", []), ("secret", [5]),
        ("secret", 5), ("max_value_bytes", 0), ("max_value_bytes", True), ("max_value_bytes", "1"), ("clock", 5),
        ("local", -1), ("local", "many"), ("backend", 5), ("backend", None), ("backend", object()), ("trust", 5),
        ("observers", 5), ("observers", [5]),
    ],
)  # fmt: skip
def test_bad_settings(setting: str, bad: Any) -> None:
    """A setting that cannot work is refused when the cache is made, by its name."""
    with pytest.raises((ConfigurationError, TypeError), match=setting):
        Cache(**{setting: bad})


def test_making_a_cache_does_no_io() -> None:
    """A cache on a server that is not there can be made, and decorated on."""
    cache = Cache("redis://127.0.0.1:1/0", clock=FakeClock())
    cache.cached(g)
    cache.close()
