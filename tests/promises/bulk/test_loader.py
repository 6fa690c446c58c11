"""`cached_many`: what is asked of the loader, what is remembered, and what comes back."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest

from memocache import MISSING, BackendError, Cache, EncodeError, cached_many, disabled
from memocache.instrumentation import Hit, Miss
from tests.promises.behaviour.world import World
from tests.promises.bulk.support import Shelf, commands, counted, loader
from tests.promises.flight.support import assert_quiet


@pytest.fixture
def shelf() -> Shelf:
    """A loader's body."""
    return Shelf()


def test_only_missing_ids_reach_the_loader(world: World, shelf: Shelf) -> None:
    """Ids found are not passed on; the rest are one call, as a list, each once, in the order asked for."""

    @world.colourful
    def load(ids: Any) -> Any:
        return shelf.load(ids)

    load = world.cache.cached_many(name="load")(load)
    assert world.call(load, [3, 1]) == {3: [3], 1: [1]}
    assert world.call(load, (n for n in [4, 3, 2, 4, 1])) == {4: [4], 3: [3], 2: [2], 1: [1]}
    assert shelf.asked == [[3, 1], [4, 2]]
    assert counted(load) == (2, 4)


def test_the_answer_is_in_the_order_asked_for(world: World, shelf: Shelf) -> None:
    """A dict, its order that of the ids, whatever was found and whatever the loader's order."""

    def body(ids: list[int]) -> dict[int, list[int]]:
        return dict(reversed(shelf.load(ids).items()))

    load = loader(world, body)
    assert list(world.call(load, [2, 5, 1])) == [2, 5, 1]
    assert list(world.call(load, [9, 1, 5, 2, 0])) == [9, 1, 5, 2, 0]
    assert type(world.call(load, [1])) is dict


def test_no_ids_are_no_call(world: World, shelf: Shelf) -> None:
    """Nothing asked for: the loader is not called, nothing is counted."""
    load = loader(world, lambda ids: shelf.load(ids))
    assert world.call(load, []) == world.call(load, iter(())) == {}
    assert shelf.asked == []
    assert counted(load) == (0, 0)


def test_all_look_ups_are_one_round_trip(served: World, shelf: Shelf) -> None:
    """1,000 ids that are there cost one MGET and nothing else; a missing one two commands more."""
    load = loader(served, lambda ids: shelf.load(ids))
    served.call(load, range(999))
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        assert served.call(load, range(999)) == {n: [n] for n in range(999)}
    assert sent == {"mget": 1, "evalsha": 0, "eval": 0}
    with commands(served.server, "mget", "evalsha", "eval") as sent:
        served.call(load, range(1000))
    assert sent == {"mget": 1, "evalsha": 2, "eval": 0}


def test_callers_do_not_share_what_they_can_change(world: World, shelf: Shelf) -> None:
    """Values of hits are the caller's own."""
    load = loader(world, lambda ids: shelf.load(ids))
    world.call(load, [1])[1].append("mine")
    assert world.call(load, [1]) == {1: [1]}


def test_absent_ids_are_asked_for_again(world: World, shelf: Shelf) -> None:
    """What the loader leaves out is not in the answer and not remembered, by default."""
    load = loader(world, lambda ids: shelf.load(ids))
    shelf.lacks = {2}
    assert world.call(load, [1, 2]) == {1: [1]}
    assert world.call(load.peek, 2) is MISSING
    shelf.lacks = set()
    assert world.call(load, [1, 2]) == {1: [1], 2: [2]}
    assert shelf.asked == [[1, 2], [2]]


def test_absent_ids_are_remembered_with_cache_missing(world: World, shelf: Shelf) -> None:
    """With ``cache_missing=True`` an absent id is a hit until its ttl ends; it is still absent to who looks."""
    load = loader(world, lambda ids: shelf.load(ids), cache_missing=True, ttl=10)
    shelf.lacks = {2}
    for _ in range(2):
        assert world.call(load, [1, 2]) == {1: [1]}
    assert shelf.asked == [[1, 2]]
    assert counted(load) == (2, 2)
    assert world.call(load.peek, 2) is MISSING
    assert load.cache_parameters()["cache_missing"] is True
    world.call(load.put, [0], 2)
    assert world.call(load, [1, 2]) == {1: [1], 2: [0]}
    world.clock.advance(10)
    assert world.call(load, [2]) == {}
    assert shelf.asked == [[1, 2], [2]]


def test_none_is_a_value(world: World) -> None:
    """An id whose value is None is there."""
    asked: list[Any] = []

    def body(ids: list[int]) -> dict[int, None]:
        asked.append(ids)
        return dict.fromkeys(ids)

    load = loader(world, body)
    for _ in range(2):
        assert world.call(load, [1]) == {1: None}
    assert asked == [[1]]


def test_an_id_that_nobody_asked_for_is_ignored(world: World) -> None:
    """What the loader returns beyond the ids is neither returned nor stored; any mapping will do."""
    load = loader(world, lambda ids: UserDict({one: one for one in [*ids, 7]}))
    assert world.call(load, [1]) == {1: 1}
    assert world.call(load.peek, 7) is MISSING


def test_a_loader_that_raises_stores_nothing_and_spoils_nothing(world: World, shelf: Shelf) -> None:
    """Its exception is the caller's; what was there stays, and the next call asks again."""
    load = loader(world, lambda ids: shelf.load(ids))
    world.call(load, [1])
    shelf.refuses = {2}
    for _ in range(2):
        with pytest.raises(LookupError, match=r"\[2\]"):
            world.call(load, [1, 2, 3])
    shelf.refuses = set()
    assert world.call(load, [1, 2, 3]) == {n: [n] for n in (1, 2, 3)}
    assert shelf.asked == [[1], [2, 3], [2, 3], [2, 3]]
    assert_quiet(world.cache)


@pytest.mark.parametrize("answer", [None, "12", {1, 2}], ids=["None", "str", "set"])
def test_a_loader_that_returns_no_mapping_is_told_so(world: World, answer: Any) -> None:
    """TypeError names the loader and the kind of its answer, not what is in it."""
    load = loader(world, lambda ids: answer)
    wanted = f"^load is to return a mapping of ids to values, or a list, not {type(answer).__name__}$"
    with pytest.raises(TypeError, match=wanted):
        world.call(load, [1, 2])
    assert world.call(load.peek, 1) is MISSING
    assert_quiet(world.cache)


def test_a_loader_may_return_a_list(world: World, shelf: Shelf) -> None:
    """One value for each id that the loader was asked for, in their order; the answer is a dict as ever, cached id by
    id.
    """
    load = loader(world, lambda ids: list(shelf.load(ids).values()))
    assert world.call(load, [3, 1, 3]) == {3: [3], 1: [1]}
    assert list(world.call(load, [2, 1, 4]).items()) == [(2, [2]), (1, [1]), (4, [4])]
    assert world.call(load.refresh, 1) == [1]
    assert world.call(load.peek, 2) == [2]
    assert shelf.asked == [[3, 1], [2, 4], [1]]


def test_missing_in_a_list_is_an_id_without_a_value(world: World) -> None:
    """MISSING in the place of a value is what leaving the id out is in a mapping; None is a value."""
    asked: list[Any] = []

    def body(ids: list[int]) -> tuple[Any, ...]:
        asked.append(ids)
        return tuple(MISSING if one == 2 else None for one in ids)

    load = loader(world, body, cache_missing=True)
    assert world.call(load, [1, 2]) == world.call(load, [1, 2]) == {1: None}
    assert asked == [[1, 2]]


def test_a_list_of_another_length_is_refused(world: World) -> None:
    """ValueError says both lengths and the ways out, and nothing is stored: no value could be told from its
    neighbour's.
    """
    load = loader(world, lambda ids: [[1], [2], [3]])
    with pytest.raises(ValueError, match=r"^load returned a list of 3 for 2 ids; .* a mapping may leave ids out$"):
        world.call(load, [1, 2])
    assert world.call(load.peek, 1) is MISSING
    assert_quiet(world.cache)


def test_what_fails_for_one_id_leaves_the_others_stored(world: World, shelf: Shelf) -> None:
    """A ttl callable that raises for one value: its error is raised, the other ids are remembered."""

    def ttl(value: list[int]) -> int:
        if value == [2]:
            raise LookupError("no ttl")
        return 60

    load = loader(world, lambda ids: shelf.load(ids), ttl=ttl)
    with pytest.raises(LookupError, match="no ttl"):
        world.call(load, [1, 2, 3])
    assert world.call(load, [1, 3]) == {1: [1], 3: [3]}
    assert shelf.asked == [[1, 2, 3]]
    assert_quiet(world.cache)


def test_a_value_that_cannot_be_stored_leaves_the_others_stored(served: World) -> None:
    """By default it is returned uncached, with one warning; with ``strict`` it is an error, and the others are kept."""
    asked: list[Any] = []

    def body(ids: list[int]) -> dict[int, Any]:
        asked.append(ids)
        return {one: object() if one == 2 else one for one in ids}

    load = loader(served, body)
    with pytest.warns(UserWarning, match="load: the result was returned uncached"):
        assert set(served.call(load, [1, 2, 3])) == {1, 2, 3}
    served.call(load, [1, 2, 3])
    assert asked == [[1, 2, 3], [2]]
    assert load.stats().rejected == 2
    served.call(load.invalidate_all)
    strict = loader(served, body, strict=True)
    with pytest.raises(EncodeError, match="load"):
        served.call(strict, [1, 2, 3])
    assert served.call(strict, [1, 3]) == {1: 1, 3: 3}
    assert asked[2:] == [[1, 2, 3]]
    assert_quiet(served.cache)


def test_unhashable_ids_are_refused(world: World, shelf: Shelf) -> None:
    """TypeError says what is wrong, before anything is loaded; so for what is no iterable at all."""
    load = loader(world, lambda ids: shelf.load(ids))
    with pytest.raises(TypeError, match=r"^load: ids are to be hashable, and one of these is a list$"):
        world.call(load, [1, [2]])
    with pytest.raises(TypeError, match=r"^load: takes an iterable of ids, not int$"):
        world.call(load, 1)
    with pytest.raises(TypeError, match="ids"):
        world.call(load)
    for ask in (load.invalidate, load.peek, load.refresh, load.key_for, lambda ids: load.put(1, ids)):
        with pytest.raises(TypeError, match=r"^load: takes one id here, and this is a list$"):
            world.call(ask, [1, 2])
    assert shelf.asked == []


def test_a_function_without_ids_is_refused() -> None:
    """A loader's first parameter (after ``self``) is its ids, and it is one parameter."""
    for body in (lambda: None, lambda *ids: {}, lambda **ids: {}):
        with pytest.raises(TypeError, match="first parameter is the ids"):
            cached_many(body)

    with pytest.raises(TypeError, match="first parameter is the ids"):

        class Shop:
            @cached_many
            def load(self) -> dict[int, int]:
                return {}


def test_the_other_arguments_are_part_of_the_key(world: World) -> None:
    """What follows the ids takes part, defaults filled in, unless it is excluded."""
    asked: list[Any] = []

    def body(ids: list[int], currency: str = "EUR", *, trace: int = 0) -> dict[int, str]:
        asked.append((ids, currency, trace))
        return dict.fromkeys(ids, currency)

    load = loader(world, body, exclude="trace")
    assert world.call(load, [1]) == world.call(load, [1], "EUR") == world.call(load, ids=[1], trace=5) == {1: "EUR"}
    assert world.call(load, [1], currency="USD", trace=6) == {1: "USD"}
    assert asked == [([1], "EUR", 0), ([1], "USD", 6)]
    world.call(load.invalidate, 1, "USD")
    assert world.call(load, [1], "USD") == {1: "USD"}
    assert world.call(load, [1]) == {1: "EUR"}
    assert len(asked) == 3


def test_ids_are_told_apart_as_arguments_are(world: World) -> None:
    """``1``, ``"1"`` and ``b"1"`` are three ids; so are tuples."""
    asked: list[Any] = []

    def body(ids: list[Any]) -> dict[Any, str]:
        asked.append(ids)
        return {one: repr(one) for one in ids}

    load = loader(world, body)
    ids = [1, "1", b"1", (1,), ("1",), None]
    for _ in range(2):
        assert world.call(load, ids) == {one: repr(one) for one in ids}
    assert asked == [ids]


class Shop:
    """An object with a name for its identity, so that its entries can be shared."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[Any] = []

    def __cache_key__(self) -> str:
        return self.name


def test_methods_are_loaders(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`self` and `cls` come first and are not the ids; objects have entries of their own."""

    def plain(self: Shop, ids: list[int]) -> dict[int, str]:
        self.asked.append(ids)
        return {one: f"{self.name}{one}" for one in ids}

    def of_class(cls: type[Shop], ids: list[int]) -> dict[int, str]:
        return dict.fromkeys(ids, cls.__name__)

    def of_nobody(ids: list[int]) -> dict[int, int]:
        return {one: one for one in ids}

    for name, kind, body in (
        ("plain", lambda body: body, plain),
        ("of_class", classmethod, of_class),
        ("of_nobody", staticmethod, of_nobody),
    ):
        method = world.cache.cached_many(name=name)(kind(world.colourful(body)))
        monkeypatch.setattr(Shop, name, method, raising=False)
        method.__set_name__(Shop, name)  # as a class body would
    one, two = Shop("one"), Shop("two")
    for _ in range(2):
        assert world.call(one.plain, [1, 2]) == {1: "one1", 2: "one2"}
        assert world.call(two.plain, [1]) == {1: "two1"}
        assert world.call(Shop.of_class, [1]) == world.call(one.of_class, [1]) == {1: "Shop"}
        assert world.call(Shop.of_nobody, [1]) == world.call(one.of_nobody, [1]) == {1: 1}
    assert (one.asked, two.asked) == ([[1, 2]], [[1]])
    world.call(one.plain.invalidate, 1)
    assert world.call(one.plain.peek, 1) is MISSING
    assert world.call(one.plain.peek, 2) == "one2"
    assert world.call(two.plain.peek, 1) == "two1"
    world.call(one.plain.put, "new", 1)
    assert world.call(one.plain, [2, 1]) == {2: "one2", 1: "new"}
    assert world.call(one.plain.refresh, 1) == "one1"
    assert one.plain.key_for(1) != two.plain.key_for(1)


def test_the_attributes_are_about_one_id(world: World, shelf: Shelf) -> None:
    """put, peek, invalidate, key_for, invalidate_all and the counters, one id at a time."""
    load = loader(world, lambda ids: shelf.load(ids))
    world.call(load, [1, 2])
    world.call(load.put, "put", 3)
    assert world.call(load.peek, 3) == "put"
    assert world.call(load.peek, 4) is MISSING
    assert world.call(load, [1, 2, 3]) == {1: [1], 2: [2], 3: "put"}
    world.call(load.invalidate, 2)
    assert world.call(load, [1, 2, 3]) == {1: [1], 2: [2], 3: "put"}
    assert shelf.asked == [[1, 2], [2]]
    assert counted(load) == (5, 3)
    assert load.stats().stores == 4
    assert load.cache_info()[:2] == (5, 3)
    assert len({load.key_for(n) for n in (1, 2, 3)}) == 3
    if world.shared:
        assert world.read_raw(load.key_for(1)) is not None
    world.call(load.invalidate_all)
    world.call(load, [1, 2, 3])
    assert shelf.asked[2:] == [[1, 2, 3]]
    world.call(load.cache_clear)
    assert counted(load) == (0, 0)
    assert world.call(load.peek, 1) is MISSING


def test_refresh_loads_one_id(world: World, shelf: Shelf) -> None:
    """It is loaded whatever is there, stored and returned; one that is gone is forgotten; errors are raised."""
    load = loader(world, lambda ids: shelf.load(ids))
    world.call(load.put, "old", 1)
    assert world.call(load.refresh, 1) == [1]
    assert world.call(load.peek, 1) == [1]
    shelf.lacks = {1}
    assert world.call(load.refresh, 1) is MISSING
    assert world.call(load.peek, 1) is MISSING
    world.call(load.put, "old", 2)
    shelf.refuses = {2}
    with pytest.raises(LookupError):
        world.call(load.refresh, 2)
    assert world.call(load.peek, 2) == "old"
    assert shelf.asked == [[1], [1], [2]]
    assert_quiet(world.cache)


def test_map_is_a_list_of_bulk_calls(world: World, shelf: Shelf) -> None:
    """Each item of the iterable is the ids of one call; an id that two calls have is loaded once."""
    load = loader(world, lambda ids: shelf.load(ids))
    assert world.call(load.map, [[1, 2], [2, 3], []]) == [{1: [1], 2: [2]}, {2: [2], 3: [3]}, {}]
    assert sorted(one for ids in shelf.asked for one in ids) == [1, 2, 3]


def test_the_ttl_is_each_ids_own(world: World, shelf: Shelf) -> None:
    """Ids loaded at different times expire at different times."""
    load = loader(world, lambda ids: shelf.load(ids), ttl=10)
    world.call(load, [1])
    world.clock.advance(6)
    world.call(load, [1, 2])
    world.clock.advance(4)
    world.call(load, [1, 2])
    assert shelf.asked == [[1], [2], [1]]


def test_tags_are_of_one_id(world: World, shelf: Shelf) -> None:
    """In a template the ids parameter is one id."""
    load = loader(world, lambda ids: shelf.load(ids), tags="item:{ids}")
    world.call(load, [1, 2])
    world.ask("invalidate", tag="item:1")
    world.call(load, [1, 2])
    assert shelf.asked == [[1, 2], [1]]


def test_disabled_it_is_the_loader_itself(world: World, shelf: Shelf) -> None:
    """Nothing is looked up or stored."""
    load = loader(world, lambda ids: shelf.load(ids))
    with disabled():
        assert world.call(load, [1]) == {1: [1]}
        assert world.call(load.map, [[1]]) == [{1: [1]}]
    assert world.call(load.peek, 1) is MISSING
    assert shelf.asked == [[1], [1]]


def test_disabled_a_list_is_a_dict_too(world: World, shelf: Shelf) -> None:
    """What a call gives does not hang on whether caching is on: a list becomes a dict, another length an error, and
    ids that can be read once are read once.
    """
    load = loader(world, lambda ids: list(shelf.load(ids).values()))
    with disabled():
        assert world.call(load, iter([1, 2])) == {1: [1], 2: [2]}
        assert world.call(load.with_status, [1])[0] == {1: [1]}
        assert world.call(load.map, [[1], [2]]) == [{1: [1]}, {2: [2]}]
        shelf.lacks = {2}
        with pytest.raises(ValueError, match="returned a list of 1 for 2 ids"):
            world.call(load, [1, 2])


def test_figures_are_an_ids(world: World) -> None:
    """The time of a bulk load is shared out: a hit on one of its ids saves that id's part."""

    def body(ids: list[int]) -> dict[int, int]:
        world.clock.advance(10)
        return {one: one for one in ids}

    load = loader(world, body)
    world.call(load, [1, 2, 3, 4])
    world.call(load, [1, 2])
    stats = load.stats()
    assert (stats.hits, stats.misses, stats.stores) == (2, 4, 4)
    assert stats.compute_seconds == 10
    assert stats.saved_seconds == 5


def test_observers_hear_of_each_id(world: World, shelf: Shelf) -> None:
    """A hit or a miss an id."""
    heard: list[Any] = []
    cache = world.new_cache(observers=[heard.append])
    load = loader(world, lambda ids: shelf.load(ids), cache)
    world.call(load, [1, 2])
    world.call(load, [1, 2, 3])
    told = [event for event in heard if isinstance(event, Hit | Miss)]
    assert told == [Miss("load", False)] * 2 + [Hit("load")] * 2 + [Miss("load", False)]


def test_without_a_backend_the_loader_answers(unreachable: tuple[World, Cache], shelf: Shelf) -> None:
    """One call of the loader, all ids; only what must not be believed raises."""
    world, cache = unreachable
    load = loader(world, lambda ids: shelf.load(ids), cache)
    for _ in range(2):
        assert world.call(load, [1, 2, 3]) == {n: [n] for n in (1, 2, 3)}
    assert shelf.asked == [[1, 2, 3]] * 2
    assert counted(load) == (0, 6)
    assert 1 <= load.stats().backend_errors <= 4
    for ask in (load.invalidate, load.refresh, lambda one: load.put(1, one)):
        with pytest.raises(BackendError):
            world.call(ask, 1)
    assert_quiet(cache)


def test_a_backend_that_fails_midway_costs_the_caching_alone(served: World, shelf: Shelf) -> None:
    """The server refuses writes after the look-up, or after the leases: the answer is whole."""
    load = loader(served, lambda ids: shelf.load(ids))
    with served.server.client() as client:
        client.config_set("min-replicas-to-write", 1)
        try:
            assert served.call(load, [1, 2]) == {1: [1], 2: [2]}
        finally:
            client.config_set("min-replicas-to-write", 0)

        def body(ids: list[int]) -> dict[int, int]:
            client.config_set("min-replicas-to-write", 1)
            return {one: one for one in ids}

        late = (served.cache).cached_many(name="late")(served.colourful(body))
        try:
            assert served.call(late, [1, 2]) == {1: 1, 2: 2}
        finally:
            client.config_set("min-replicas-to-write", 0)
    assert load.stats().backend_errors
    assert late.stats().backend_errors
    assert served.call(load, [1, 2]) == {1: [1], 2: [2]}
    assert shelf.asked == [[1, 2], [1, 2]]
