"""What `cached` shows to people and tools: its types, its signature, its refusals."""

from __future__ import annotations

import inspect
import io
import pydoc
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_type_hints

import pytest

from memocache import MISSING, Cache, cached, cached_many
from memocache._calls.options import check
from memocache.typing import AsyncCachedFunction, CachedFunction, Missing

ROOT = Path(__file__).parents[2]
DECORATORS = [cached, Cache().cached, cached_many, Cache().cached_many]


def _checked(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_sees_what_was_promised() -> None:
    """mypy --strict infers in tests/typing what is asserted there, and finds every error that is marked there."""
    _checked("mypy", "--strict", "tests/typing")


@pytest.mark.skipif(find_spec("pyright") is None, reason="pyright is not installed")
def test_pyright_sees_what_was_promised() -> None:
    """pyright infers in tests/typing what is asserted there."""
    _checked("pyright", "tests/typing")


@pytest.mark.skipif(find_spec("basedpyright") is None, reason="basedpyright is not installed")
def test_basedpyright_sees_what_was_promised() -> None:
    """basedpyright infers in tests/typing what is asserted there, and finds no error."""
    _checked("basedpyright", "--level", "error", "tests/typing")


IN_ANNOTATIONS = {"takes_cached(short)", "takes_cached(shop.price)", "takes_async(fetch_own)"}
EXCUSED = {
    "ty": {*IN_ANNOTATIONS, 'Shop.made_inside.invalidate("book")', "assert_type(anonymous(), int)"},
    "pyrefly": IN_ANNOTATIONS,
}
"""Lines that a checker does not understand, as docs/typing.md says; it finds no other error that is not marked."""


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
        for name in EXCUSED
    ],
)
def test_younger_checkers_see_all_but_a_few_lines(checker: str) -> None:
    """ty and pyrefly find no error in tests/typing but those that are marked, and those in the table of the docs."""
    words = ["--output-format", "concise"] if checker == "ty" else ["--output-format", "min-text"]
    command = [sys.executable, "-m", checker, "check", *words, "tests/typing/api.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    lines = (ROOT / "tests" / "typing" / "api.py").read_text(encoding="utf-8").splitlines()
    found = {
        lines[int(number) - 1] for number in re.findall(r"api\.py:(\d+)(?:[:-]\d+)*: .*(?:error|\[)", done.stdout, re.M)
    } | {lines[int(number) - 1] for number in re.findall(r"^ERROR .*api\.py:(\d+)", done.stdout, re.M)}
    unmarked = {line.strip() for line in found if ": ignore" not in line and "lambda" not in line}
    assert unmarked == EXCUSED[checker], done.stdout + done.stderr


def test_cached_shows_the_defaults_in_force() -> None:
    """Each option of `cached` is keyword-only and shown with the default that the options' check applies; `cached_many`
    shares those it has."""
    in_force = inspect.signature(check).parameters
    function, *options = inspect.signature(cached).parameters.values()
    assert function.kind is inspect.Parameter.POSITIONAL_ONLY
    assert {option.kind for option in options} == {inspect.Parameter.KEYWORD_ONLY}
    assert {o.name: o.default for o in options} == {n: p.default for n, p in in_force.items() if n != "signature"}
    shared = [p for n, p in inspect.signature(cached_many).parameters.items() if n not in ("loader", "cache_missing")]
    assert all(option.default == in_force[option.name].default for option in shared)


def test_a_cache_decorates_with_the_same_face() -> None:
    """`Cache.cached` and `Cache.cached_many` have the signatures and documentation of the module's own."""
    cache = Cache()
    assert inspect.signature(cache.cached) == inspect.signature(cached)
    assert inspect.signature(cache.cached_many) == inspect.signature(cached_many)
    assert inspect.getdoc(cache.cached.__call__) == inspect.getdoc(cached.__call__)


@pytest.mark.parametrize("decorator", DECORATORS, ids=["cached", "Cache.cached", "cached_many", "Cache.cached_many"])
def test_every_option_is_documented(decorator: object) -> None:
    """`help()` names each option of the decorator, in its signature and in words, or refers to `cached`."""
    output = io.StringIO()
    pydoc.Helper(output=output)(decorator)
    text = output.getvalue()
    refers = "are those of `cached`" in text
    for name in inspect.signature(decorator).parameters:  # type: ignore[arg-type]  # they are callable
        assert name in text
        assert refers or f"{name}: " in text.partition("Args:")[2]


@pytest.mark.parametrize("decorator", DECORATORS, ids=["cached", "Cache.cached", "cached_many", "Cache.cached_many"])
def test_an_unknown_option_is_a_type_error_at_once(decorator: object) -> None:
    """Python itself refuses an unknown keyword, before there is a function, and names decorator and keyword."""
    with pytest.raises(TypeError, match=r"^cached(_many)?\(\) got an unexpected keyword argument 'tll'"):
        decorator(tll=60)  # type: ignore[operator]  # it is callable


def test_types_resolve_when_run() -> None:
    """The annotations of the public face name things that exist at run time, for tools that evaluate them."""
    assert get_type_hints(cached.__call__)["share"] is bool
    assert type(MISSING) is Missing

    def annotated(one: CachedFunction[[int], str], two: AsyncCachedFunction[[int], str]) -> None: ...

    assert get_type_hints(annotated)["one"] == CachedFunction[[int], str]
