"""What is refused: each class that has words of its own is refused by them, with the path to it and the way out."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memocache
from memocache import Cache, UncacheableWarning
from memocache._calls.keys.canonical import NoIdentity, canonical
from memocache.backends.memory import MemoryBackend
from memocache.codecs.refusals import WORDS, way_out
from memocache.exceptions import UnstableKeyError
from tests.codecs.known_refusals import OTHER_NAMES, REFUSED

CODECS = Path(memocache.__file__).parent / "codecs"
refused = pytest.mark.parametrize("name", REFUSED)


def value_of(name: str) -> Any:
    package, make = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(pytest.importorskip(package) if package else None)


def test_every_class_with_words_has_a_value() -> None:
    """No refusal goes untested."""
    assert REFUSED.keys() | OTHER_NAMES == WORDS.keys()
    assert not REFUSED.keys() & OTHER_NAMES


@refused
def test_the_warning_says_what_to_do(name: str) -> None:
    """It names the part by its path, says the words of its class, and stands at the function's own line."""
    value = value_of(name)
    with Cache(MemoryBackend()) as cache:
        calls = []

        def compute() -> Any:
            calls.append(1)
            return {"a": [1, value]}

        f = cache.cached(compute, name="f")
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", UncacheableWarning)
            f(), f()
        (warning,) = [one for one in seen if one.category is UncacheableWarning]
        assert len(calls) == 2
        assert str(warning.message).endswith(f": {WORDS[name]}")
        assert ": result{key 0}[1] (" in str(warning.message)
        assert (warning.filename, warning.lineno) == (__file__, compute.__code__.co_firstlineno)


@refused
def test_an_argument_is_refused_with_what_to_pass(name: str) -> None:
    """Where it has no value: the path to it, and what to pass in its place."""
    value = value_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            canonical(value)
        except NoIdentity as refusal:
            told = refusal
        else:
            pytest.skip("it is known by value")
    with Cache(MemoryBackend()) as cache, pytest.raises(UnstableKeyError) as raised:
        cache.cached(lambda given: None, name="f")([1, {"a": value}])
    if told.cls is type(value):
        assert "(given[1]{key 0})" in str(raised.value)
    assert (told.way_out or way_out(told.cls)) in str(raised.value)
    assert "key=" in str(raised.value)


class Own:
    """A class of a user's own."""

    content = 1


def _weights(torch: Any) -> tuple[Any, Callable[[], object]]:
    model = torch.nn.Linear(1, 1)
    return model, model.weight.data.zero_


def _refitted(linear: Any) -> tuple[Any, Callable[[], object]]:
    model = linear.LinearRegression().fit([[1], [2]], [1, 2])
    return model, lambda: model.fit([[1], [2]], [5, 2])


def _graph(networkx: Any) -> tuple[Any, Callable[[], object]]:
    graph = networkx.Graph()
    return graph, lambda: graph.add_edge(1, 2)


def _set(made: Any, name: str) -> tuple[Any, Callable[[], object]]:
    return made, lambda: setattr(made, name, 7)


def _drawn(generator: Any) -> tuple[Any, Callable[[], object]]:
    return generator, generator.random


# By the library: an argument, and what changes it.
BY_IDENTITY: list[tuple[str, Callable[[Any], tuple[Any, Callable[[], object]]]]] = [
    ("torch", _weights),
    ("sklearn.linear_model", _refitted),
    ("sqlalchemy", lambda _: _set(value_of("sqlalchemy.orm.decl_api.DeclarativeBase"), "id")),
    ("django", lambda _: _set(type(value_of("django.db.models.base.Model"))(pk=1), "content")),
    ("numpy", lambda numpy: _drawn(numpy.random.default_rng(1))),
    ("random", lambda random: _drawn(random.Random(1))),
    ("networkx", _graph),
    ("builtins", lambda _: _set(Own(), "content")),
]
BY_CONTENT: list[tuple[str, Callable[[Any], tuple[Any, Callable[[], object]]]]] = [
    ("torch", lambda torch: (made := torch.ones(2), lambda: made.add_(1))),
    ("torch", lambda torch: (made := torch.nn.Parameter(torch.ones(2)), made.data.zero_)),
    ("numpy", lambda numpy: (made := numpy.ones(2), lambda: made.fill(2))),
    ("pandas", lambda pandas: (made := pandas.DataFrame({"a": [1]}), lambda: made.insert(0, "b", 1))),
]


@pytest.mark.parametrize(
    ("package", "make"), BY_IDENTITY + BY_CONTENT, ids=lambda given: given if isinstance(given, str) else ""
)
def test_what_is_changed_in_place(package: str, make: Any) -> None:
    """In the process a model, a row or an object of one's own is one argument before and after, as docs/values.md
    says, and a tensor, an array or a frame is two.
    """
    with Cache("memory://") as cache:
        calls = []
        f = cache.cached(lambda given: calls.append(1), name="f")
        argument, change = make(pytest.importorskip(package))
        f(argument), f(argument)
        assert len(calls) == 1
        change()
        f(argument)
        assert len(calls) == (1 if (package, make) in BY_IDENTITY else 2)


def test_models_are_told_of_key_alone() -> None:
    """What a refused result may be given instead is no advice where the advice is `key=`."""
    torch: Any = pytest.importorskip("torch")
    assert way_out(torch.nn.Linear) == ""
    assert way_out(int) == ""


def reasons() -> Iterator[tuple[str, str]]:
    """The file and the words of each `Unfit`, with … for what is filled in."""
    for path in sorted(CODECS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unfit":
                words = node.args[1]
                parts = words.values if isinstance(words, ast.JoinedStr) else [words]
                if not isinstance(words, ast.Call):
                    yield (
                        path.name,
                        "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts),
                    )


def test_every_refusal_has_a_way_out() -> None:
    """Of classes and of single values: a clause after what the matter is."""
    told = list(reasons())
    assert len(told) > 30
    assert [one for one in told if "; " not in one[1]] == []
    assert [words for words in WORDS.values() if "; " not in words] == []
