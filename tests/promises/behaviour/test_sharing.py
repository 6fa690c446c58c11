"""Who holds which object: copies for callers, `share=True`, and results that cannot be stored faithfully."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from memocache import MISSING, EncodeError, UncacheableWarning
from tests.promises.behaviour.world import World

MUTABLE: list[tuple[str, Callable[[], Any], Callable[[Any], Any]]] = [
    ("list", lambda: [1, 2], lambda v: v.append(3)),
    ("nested", lambda: {"a": [1, {"b": {2}}]}, lambda v: v["a"][1]["b"].add(9)),
    ("in a tuple", lambda: (1, [2]), lambda v: v[1].clear()),
    ("set", lambda: {1}, lambda v: v.add(2)),
    ("bytearray", lambda: bytearray(b"ab"), lambda v: v.extend(b"c")),
]


@pytest.mark.parametrize(("make", "mutate"), [(m, c) for _, m, c in MUTABLE], ids=[name for name, _, _ in MUTABLE])
def test_callers_never_see_each_others_mutations(
    world: World, make: Callable[[], Any], mutate: Callable[[Any], Any]
) -> None:
    """What a caller does to a result, the first one's included, no other caller sees."""
    f = world.cached(lambda x: make(), name="mutations")
    for _ in range(4):
        got = world.call(f, 1)
        assert got == make()
        mutate(got)
        assert got != make()
    assert world.call(f.peek, 1) == make()
    peeked = world.call(f.peek, 1)
    mutate(peeked)
    assert world.call(f, 1) == make()
    assert f.cache_info().misses == 1


def test_a_result_the_function_keeps_is_not_what_the_cache_holds(world: World) -> None:
    """A function that changes what it once returned does not change what is cached."""
    kept: list[list[int]] = []
    f = world.cached(lambda x: kept.append([x]) or kept[-1], name="kept")
    world.call(f, 1)
    kept[0].append(2)
    assert world.call(f, 1) == [1]


def test_what_is_put_is_copied(world: World) -> None:
    """Neither the object that was put nor what is got from it is what the cache holds."""
    f = world.cached(lambda x: [x], name="put")
    value = [1]
    world.call(f.put, value, 1)
    value.append(2)
    world.call(f, 1).append(3)
    assert world.call(f, 1) == [1]
    world.ask("set", "k", value)
    value.append(3)
    world.ask("get", "k").append(4)
    assert world.ask("get", "k") == [1, 2]


def test_what_is_refreshed_and_mapped_is_copied(world: World) -> None:
    """`refresh` and `map` hand out copies too."""
    f = world.cached(lambda x: [x], name="others")
    world.call(f.refresh, 1).append(2)
    world.call(f.map, [1, 1])[0].append(3)
    assert world.call(f.map, [1, 1]) == [[1], [1]]


def test_arguments_may_change_after_the_call(world: World) -> None:
    """A mutable argument is known by what it held at the time of the call."""
    calls: list[int] = []
    f = world.cached(lambda x: calls.append(1) or list(x), name="arguments")
    argument = [1]
    assert world.call(f, argument) == [1]
    argument.append(2)
    assert world.call(f, argument) == [1, 2]
    argument.pop()
    assert world.call(f, argument) == [1]
    assert len(calls) == 2


def test_arguments_that_the_function_changes(world: World) -> None:
    """A call is known by its arguments as they were before the function ran."""
    calls: list[int] = []
    f = world.cached(lambda x: calls.append(1) or x.append(9) or len(x), name="changes")
    assert [world.call(f, [1]) for _ in range(3)] == [2, 2, 2]
    assert len(calls) == 1


def test_share_hands_out_the_very_object(local: World) -> None:
    """With `share=True` the process hands out what it holds, as lru_cache does."""
    thing = {"a": [1]}
    f = local.cached(lambda x: thing, share=True, name="share")
    assert all(local.call(f, 1) is thing for _ in range(3))
    assert local.call(f.peek, 1) is thing


def test_callers_that_share_a_computation_do_not_share_its_result(world: World) -> None:
    """Followers of one computation get results of their own."""
    if world.is_async:
        import asyncio

        async def all_at_once() -> list[Any]:
            entered = asyncio.Event()

            @world.cache.cached(name="followers")
            async def f(x: int) -> list[int]:
                entered.set()
                await asyncio.sleep(0.05)
                return [x]

            first = asyncio.create_task(f(1))
            await entered.wait()
            return await asyncio.gather(first, *(f(1) for _ in range(4)))

        results = world.run(all_at_once())
    else:
        entered, release = threading.Event(), threading.Event()

        @world.cache.cached(name="followers")
        def f(x: int) -> list[int]:
            entered.set()
            release.wait(10)
            return [x]

        results = []
        threads = [threading.Thread(target=lambda: results.append(f(1))) for _ in range(5)]
        threads[0].start()
        entered.wait(10)
        for thread in threads[1:]:
            thread.start()
        release.set()
        for thread in threads:
            thread.join(10)
    assert results == [[1]] * 5
    assert len(set(map(id, results))) == 5


def test_an_uncacheable_result_is_returned_uncached(shared: World) -> None:
    """What a shared backend cannot hold is returned, counted as rejected, and warned of once, with the path to the
    part.
    """
    f = shared.cached(lambda x: {"a": [1, object()]}, name="uncacheable")
    with pytest.warns(UncacheableWarning, match=r"uncacheable.*a.*1.*object"):
        assert set(shared.call(f, 1)) == {"a"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shared.call(f, 1)
        shared.call(f, 2)
    assert f.cache_info()[:2] == (0, 3)
    stats = f.stats()
    assert (stats.rejected, stats.stores) == (3, 0)
    assert shared.call(f.peek, 1) is MISSING


def test_strict_raises_instead(shared: World) -> None:
    """With `strict=True` a result that cannot be stored is an EncodeError that names function and path."""
    f = shared.cached(lambda x: [object()], strict=True, name="strict")
    for _ in range(2):
        with pytest.raises(EncodeError, match=r"strict.*0.*object"):
            shared.call(f, 1)
    assert f.stats().rejected == 2


def test_the_process_holds_anything_by_reference(local: World) -> None:
    """memory:// holds what it cannot copy by reference, strict or not, and without a warning."""
    for strict in (False, True):
        f = local.cached(lambda x: [object()], strict=strict, name=f"reference-{strict}")
        first = local.call(f, 1)
        assert local.call(f, 1)[0] is first[0]
        assert (f.cache_info()[:2], f.stats().rejected) == ((1, 1), 0)


def test_a_result_that_is_too_large(shared: World) -> None:
    """A result over `max_value_bytes` is returned uncached with the one warning."""
    cache = shared.new_cache(max_value_bytes=1000)
    f = shared.cached(lambda x: "x" * x, cache=cache, name="large")
    with pytest.warns(UncacheableWarning, match="large.*max_value_bytes=1000"):
        assert len(shared.call(f, 2000)) == 2000
    assert len(shared.call(f, 2000)) == 2000
    assert len(shared.call(f, 500)) == len(shared.call(f, 500)) == 500
    assert (f.cache_info()[:2], f.stats().rejected) == ((1, 3), 2)


def test_messages_about_results_hold_no_values(shared: World) -> None:
    """Neither the warning nor the error shows what the result held."""

    class Odd:
        def __repr__(self) -> str:
            return "hush-hush"

    f = shared.cached(lambda x: ["hush-hush", Odd()], name="silent")
    with pytest.warns(UncacheableWarning) as caught:
        shared.call(f, 1)
    strict = shared.cached(lambda x: ["hush-hush", Odd()], name="silent-strict", strict=True)
    with pytest.raises(EncodeError) as raised:
        shared.call(strict, 1)
    assert "hush" not in str(caught[0].message)
    assert "hush" not in str(raised.value)


def test_an_unstorable_error_is_raised_and_rejected(shared: World) -> None:
    """An exception named in `errors=` that cannot be stored comes out as it is and counts as rejected."""

    class Local(LookupError):
        pass

    def f(x: int) -> None:
        raise Local(object())

    f = shared.cached(f, errors=LookupError, name="unstorable-error")
    with pytest.warns(UncacheableWarning), pytest.raises(Local):
        shared.call(f, 1)
    with pytest.raises(Local):
        shared.call(f, 1)
    assert f.stats().rejected == 2


def test_errors_of_a_local_class_are_rejected(world: World) -> None:
    """An exception class that no name leads to may be named in `errors=`: its errors are raised, and never stored."""

    class Local(Exception):
        """Defined in a function."""

    def fails(x: int) -> int:
        raise Local(x)

    f = world.cached(fails, errors=Local, name="local-errors")
    with pytest.warns(UncacheableWarning, match="local-errors"), pytest.raises(Local):
        world.call(f, 1)
    with pytest.raises(Local):
        world.call(f, 1)
    assert f.stats().rejected == 2


class Plain:
    """An object of a class that no cache knows."""

    def __init__(self) -> None:
        self.x = 1


def test_an_object_that_cannot_be_copied_is_told_of(local: World) -> None:
    """memory:// hands out the one object with one warning, at the user's line; lists around it are each caller's own.

    With share=True nothing is said.
    """
    f = local.cached(lambda x: [Plain(), [x]], name="around")
    with pytest.warns(UncacheableWarning, match=r"around: every caller .*Plain.*register.*share=True") as caught:
        first = local.call(f, 1)
    assert caught[0].filename == f.__wrapped__.__code__.co_filename
    assert caught[0].lineno == f.__wrapped__.__code__.co_firstlineno
    first[1].append("changed")
    again = local.call(f, 1)
    assert again[0] is first[0]
    assert again[1] == [1]
    local.call(f, 2)
    shared = local.cached(lambda x: [Plain()], name="shared", share=True)
    assert local.call(shared, 1) is local.call(shared, 1)


def test_what_can_be_used_once_is_stored_nowhere(world: World) -> None:
    """A generator, alone or in a list, is each caller's own, counted as rejected and warned of once."""
    for share in (False, True):
        f = world.cached(lambda x: [(i for i in (x,))], name=f"once-{share}", share=share)
        with pytest.warns(UncacheableWarning, match=r"once-.*result\[0\] .*generator.*list") as caught:
            got = [list(world.call(f, 1)[0]) for _ in range(3)]
        assert got == [[1]] * 3
        assert len(caught) == 1
        assert (f.cache_info().hits, f.stats().rejected) == (0, 3)


def test_a_plain_function_of_an_awaitable_is_told_so(world: World) -> None:
    """The warning at its first call says what to do."""

    async def fetch() -> int:
        return 1

    def plain(x: int) -> Any:
        return fetch()

    f = world.new_cache().cached(plain, name="plain")
    with pytest.warns(UncacheableWarning, match="plain: .*coroutine.*decorate an async function that awaits it"):
        f(1).close()
    f(1).close()
    assert f.stats().rejected == 2


def test_followers_never_share_what_can_be_used_once(local: World) -> None:
    """Callers that wait for a computation compute for themselves if its result can be used once."""
    if local.is_async:
        pytest.skip("one colour is enough")
    entered, go = threading.Event(), threading.Event()

    def items(x: int) -> Any:
        entered.set()
        go.wait(10)
        return iter([x])

    f = local.cached(items, name="followed")
    got: list[list[int]] = []

    def together() -> None:
        threads = [threading.Thread(target=lambda: got.append(list(f(1)))) for _ in range(3)]
        for thread in threads:
            thread.start()
        entered.wait(10)
        go.set()
        for thread in threads:
            thread.join(10)

    with pytest.warns(UncacheableWarning):
        together()
    assert got == [[1]] * 3
