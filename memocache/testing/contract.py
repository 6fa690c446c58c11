"""The suite that every backend must pass, memocache's own and yours::

    from memocache.testing.contract import BackendContract

    class TestMine(BackendContract):
        def make_backend(self):
            return Mine()

pytest collects the tests from your class. Each runs in both colours if the backend has an attribute ``aio``, and under
keys of its own: the storage may be shared with other tests and need not be empty. No test knows a backend by name.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memocache.typing import Backend, BackendFacts, Guard, Once, Put, Tally

_BOUND = 10.0
"""Seconds a condition that must come true may take before the test fails."""

_NASTY = [
    b"",
    b"\x00",
    b"\r\n",
    b"$-1\r\n*0\r\n",
    b"\xff\xfe\x80",
    "é\U0001f600".encode(),
    bytes(range(256)),
    b"-ERR no",
    b"x" * 300_000,
]


class _Blocking:
    """The blocking colour of a backend."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def end(self) -> None:
        """Nothing to end."""


class _Awaiting:
    """The awaiting colour of a backend behind blocking calls, each run to its end on one event loop."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._runner = asyncio.Runner()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend.aio, name)
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))

    def end(self) -> None:
        """Close the loop."""
        self._runner.close()


class BackendContract:
    """What `memocache.typing.Backend` promises; override `make_backend`."""

    def make_backend(self) -> Backend:
        """Return a new object of the backend under test."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """The backend under test, closed after the test."""
        backend = self.make_backend()
        yield backend
        backend.close()

    @pytest.fixture(params=["blocking", "awaiting"])
    def talk(self, request: pytest.FixtureRequest, backend: Backend) -> Iterator[Any]:
        """The methods of the backend as blocking calls, in each of its colours."""
        if request.param == "awaiting" and getattr(backend, "aio", None) is None:
            pytest.skip("this backend has one colour")
        talk = _Blocking(backend) if request.param == "blocking" else _Awaiting(backend)
        yield talk
        talk.end()

    @pytest.fixture
    def at(self) -> Callable[[str], str]:
        """A function from a short name to a key that no other test uses, all in one bucket."""
        root = f"contract:{{{uuid.uuid4().hex}}}:"
        return lambda name: root + name

    # Reading and writing

    def test_absent_keys_read_as_none(self, talk: Any, at: Callable[[str], str]) -> None:
        """A key never written is None, and no keys at all give an empty list."""
        assert talk.read([at("a"), at("b")]) == [None, None]
        assert talk.read([]) == []

    def test_values_come_back_in_the_order_asked(self, talk: Any, at: Callable[[str], str]) -> None:
        """The reply is parallel to the keys, with gaps, whatever their order and repetition."""
        assert talk.transact([], [Put(at("a"), b"1"), Put(at("b"), b"2")]) is None
        assert talk.read([at("b"), at("x"), at("a"), at("b")]) == [b"2", None, b"1", b"2"]

    @pytest.mark.parametrize("value", _NASTY, ids=range(len(_NASTY)))
    def test_any_bytes_are_a_value(self, talk: Any, at: Callable[[str], str], value: bytes) -> None:
        """Empty, binary, protocol-like and large values come back byte for byte, as bytes."""
        talk.transact([], [Put(at("a"), value, 60_000)])
        (found,) = talk.read([at("a")])
        assert found == value
        assert type(found) is bytes

    @pytest.mark.parametrize("name", ["é", "a b", "{x}", "*", "[a-z]?", "\\", '"quoted"', "x" * 200])
    def test_keys_may_contain_any_printable_text(self, talk: Any, at: Callable[[str], str], name: str) -> None:
        """Spaces, braces, wildcards and non-ASCII in a key mean nothing but themselves."""
        talk.transact([], [Put(at(name), b"1")])
        assert talk.read([at(name), at("other")]) == [b"1", None]
        assert talk.delete([at(name)]) == 1

    def test_a_put_replaces_value_and_expiry(self, talk: Any, at: Callable[[str], str]) -> None:
        """Writing again replaces value and expiry; `prolong` replaces the expiry alone, of what is there."""
        talk.transact([], [Put(at("a"), b"1", 100), Put(at("b"), b"3", 60_000), Put(at("c"), b"4" * 99)])
        talk.transact([], [Put(at("a"), b"2"), Put(at("clock"), b"", 200)])
        talk.prolong([(at("b"), 1), (at("c"), 60_000), (at("x"), 60_000)])
        self._until(lambda: talk.read([at("clock"), at("b")]) == [None, None])
        assert talk.read([at("a"), at("c"), at("x")]) == [b"2", b"4" * 99, None]

    def test_a_value_expires(self, talk: Any, at: Callable[[str], str]) -> None:
        """A put with a ttl is there at first and gone afterwards, for reads, guards and deletes alike."""
        found: list[bytes | None] = []
        while found != [b"1"]:
            begun = time.monotonic()
            talk.transact([], [Put(at("a"), b"1", 400), Put(at("b"), b"2", 60_000)])
            found = talk.read([at("a")])
            late = time.monotonic() - begun > 0.4  # a busy machine, and not the backend's doing: again
            assert late or found == [b"1"]
        self._until(lambda: talk.read([at("a")]) == [None])
        assert talk.read([at("b")]) == [b"2"]
        assert talk.delete([at("a")]) == 0
        assert talk.transact([Guard(at("a"))], [Put(at("a"), b"3")]) is None

    def test_delete_counts_what_was_there(self, talk: Any, at: Callable[[str], str]) -> None:
        """Delete removes exactly the keys given and returns how many existed."""
        talk.transact([], [Put(at(name), b"") for name in "abc"])
        assert talk.delete([at("a"), at("b"), at("x")]) == 2
        assert talk.delete([at("a")]) == 0
        assert talk.delete([]) == 0
        assert talk.read([at("a"), at("b"), at("c")]) == [None, None, b""]

    def test_many_keys_at_once(self, talk: Any, at: Callable[[str], str]) -> None:
        """Two thousand five hundred keys are written, read and deleted in one call each."""
        keys = [at(str(n)) for n in range(2500)]
        talk.transact([], [Put(key, key.encode(), 60_000) for key in keys], timeout=_BOUND)
        assert talk.read(keys, timeout=_BOUND) == [key.encode() for key in keys]
        assert talk.delete(keys, timeout=_BOUND) == len(keys)

    # Transactions

    def test_guards_hold(self, talk: Any, at: Callable[[str], str]) -> None:
        """Absent, prefix, whole-value and empty-prefix guards let the writes through."""
        talk.transact([], [Put(at("a"), b"token-rest")])
        guards = [Guard(at("x")), Guard(at("a"), b"token"), Guard(at("a"), b"token-rest"), Guard(at("a"), b"")]
        assert talk.transact(guards, [Put(at("b"), b"1")], [at("a")]) is None
        assert talk.read([at("a"), at("b")]) == [None, b"1"]

    @pytest.mark.parametrize("head", [None, b"tokem", b"token-rest-and-more", b"oken"])
    def test_a_failed_guard_changes_nothing(self, talk: Any, at: Callable[[str], str], head: bytes | None) -> None:
        """If one guard fails, no put, delete or member is applied and the guards' values come back in order."""
        talk.transact([], [Put(at("a"), b"token-rest"), Put(at("keep"), b"1")])
        found = talk.transact(
            [Guard(at("x")), Guard(at("a"), head)],
            [Put(at("b"), b"1")],
            [at("keep")],
            members=[(at("set"), "m")],
        )
        assert found == [None, b"token-rest"]
        assert talk.read([at("a"), at("b"), at("keep")]) == [b"token-rest", None, b"1"]
        assert talk.members(at("set")) == set()

    @pytest.mark.parametrize("head", [b"", b"x"])
    def test_an_absent_key_has_no_beginning(self, talk: Any, at: Callable[[str], str], head: bytes) -> None:
        """A prefix guard fails on an absent key, also the empty prefix."""
        assert talk.transact([Guard(at("a"), head)], [Put(at("b"), b"1")]) == [None]
        assert talk.read([at("b")]) == [None]

    def test_heads_are_compared_as_bytes(self, talk: Any, at: Callable[[str], str]) -> None:
        """NUL, high bytes and line ends take part in a guard like any others."""
        talk.transact([], [Put(at("a"), b"\x00\xff\r\n\x00tail")])
        assert talk.transact([Guard(at("a"), b"\x00\xff\r\n\x01")]) == [b"\x00\xff\r\n\x00tail"]
        assert talk.transact([Guard(at("a"), b"\x00\xff\r\n\x00")]) is None

    def test_compare_and_set_counts_exactly(self, backend: Backend, at: Callable[[str], str]) -> None:
        """Eight threads of twenty compare-and-set increments each make exactly 160."""

        def increment(_: int) -> None:
            (old,) = backend.read([at("n")], timeout=_BOUND)
            while True:
                # The separator makes the prefix guard an equality.
                new = b"%d;" % (int((old or b"0;")[:-1]) + 1)
                found = backend.transact([Guard(at("n"), old)], [Put(at("n"), new)], timeout=_BOUND)
                if found is None:
                    return
                old = found[0]

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(increment, range(160)))
        assert backend.read([at("n")]) == [b"160;"]

    def test_one_of_many_takes_an_absent_key(self, backend: Backend, at: Callable[[str], str]) -> None:
        """Of eight threads that put under one absence guard at once, exactly one succeeds and the others see it."""
        barrier = threading.Barrier(8)

        def take(n: int) -> list[bytes | None] | None:
            barrier.wait(_BOUND)
            return backend.transact([Guard(at("lease"))], [Put(at("lease"), b"%d" % n)], timeout=_BOUND)

        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(take, range(8)))
        assert outcomes.count(None) == 1
        assert all(found in (None, backend.read([at("lease")])) for found in outcomes)

    # Scanning

    def test_scan_finds_each_key_of_a_prefix(self, talk: Any, at: Callable[[str], str]) -> None:
        """All of 1,500 keys are found, none that merely looks alike, and the cursor ends at None."""
        wanted = {at(f"p:{n}") for n in range(1500)}
        others = [at("p"), at("pq:1"), at("q:p:1")]
        talk.transact([], [Put(key, b"1", 60_000) for key in [*wanted, *others]], timeout=_BOUND)
        assert self._scan(talk, at("p:")) == wanted
        talk.delete(list(wanted), timeout=_BOUND)
        assert self._scan(talk, at("p:")) == set()

    @pytest.mark.parametrize("prefix", ["*", "?", "[ab]", "a*", "\\", "[^a]", "h?llo[", "]"])
    def test_scan_takes_a_prefix_literally(self, talk: Any, at: Callable[[str], str], prefix: str) -> None:
        """Wildcard characters in a prefix match only themselves."""
        talk.transact([], [Put(at(prefix + "1"), b""), Put(at("a1"), b""), Put(at("xyz"), b""), Put(at("hello1"), b"")])
        assert self._scan(talk, at(prefix)) == {at(prefix + "1")}

    # Sets, counters, messages

    def test_members_accumulate(self, talk: Any, at: Callable[[str], str]) -> None:
        """Members are added atomically with the puts, each once, and an unknown key has none."""
        assert talk.members(at("set")) == set()
        talk.transact([], [Put(at("a"), b"1")], members=[(at("set"), "é b"), (at("set"), "c"), (at("two"), "d")])
        talk.transact([Guard(at("a"), b"1")], members=[(at("set"), "c"), (at("set"), "*")])
        assert talk.members(at("set")) == {"é b", "c", "*"}
        assert talk.members(at("two")) == {"d"}
        assert talk.delete([at("set")]) == 1
        assert talk.members(at("set")) == set()

    def test_no_member_is_lost_among_threads(self, backend: Backend, at: Callable[[str], str]) -> None:
        """Members added by eight threads at once are all there."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda n: backend.transact([], members=[(at("set"), f"m{n}")], timeout=_BOUND), range(80)))
        assert backend.members(at("set")) == {f"m{n}" for n in range(80)}

    def test_counts_add_up(self, talk: Any, at: Callable[[str], str]) -> None:
        """Counters begin at 0, take any name and negative numbers, and are apart by key."""
        assert talk.counts([at("n")]) == [{}]
        talk.tally([Tally(at("n"), {"hits": 2, "é b": 1}, {}), Tally(at("m"), {"hits": 1}, {"last": 7}, 60_000)])
        talk.tally(
            [Tally(at("n"), {"hits": 3, "down": -4}, {}), Tally(at("m"), {}, {"last": 5}), Tally(at("o"), {}, {})]
        )
        talk.tally([])
        expected = [{"hits": 5, "é b": 1, "down": -4}, {}, {"hits": 1, "last": 5}]
        assert talk.counts([at("n"), at("o"), at("m")]) == expected
        assert talk.counts([]) == []

    def test_a_step_counts_once(self, talk: Any, at: Callable[[str], str]) -> None:
        """Tallies whose number was done already, or a higher one of the same name, change nothing; others count."""

        def step(number: int, name: str = "once") -> None:
            once = Once(at(name), number, 60_000)
            talk.tally([Tally(at("n"), {"a": 1}, {}, None, once), Tally(at("m"), {"b": 2}, {"c": 7}, 60_000, once)])

        for number in (1, 1, 2, 1, 2, 5):
            step(number)
        assert talk.counts([at("n"), at("m")]) == [{"a": 3}, {"b": 6, "c": 7}]
        step(1, "another")
        talk.tally([Tally(at("n"), {"a": 1}, {}), Tally(at("n"), {"a": 1}, {}, None, Once(at("once"), 5, 60_000))])
        assert talk.counts([at("n"), at("m")]) == [{"a": 5}, {"b": 8, "c": 7}]

    def test_counts_are_exact_among_threads(self, backend: Backend, at: Callable[[str], str]) -> None:
        """Eight threads adding to the same two counters lose nothing."""
        with ThreadPoolExecutor(8) as threads:
            list(
                threads.map(lambda n: backend.tally([Tally(at("n"), {"a": 1, "b": n}, {})], timeout=_BOUND), range(80))
            )
        assert backend.counts([at("n")])[0] == {"a": 80, "b": sum(range(80))}

    def test_a_publish_wakes_the_subscribed(self, backend: Backend, at: Callable[[str], str]) -> None:
        """A wake comes after a publish on its channel, and none once the subscription has ended."""
        woken = threading.Event()
        stop = backend.subscribe(at("channel"), woken.set)
        if stop is None:
            pytest.skip("this backend has no messages")
        # A subscription may take effect a little later (and may wake once when it does): publish until it hears.
        self._until(lambda: not backend.transact([], publish=at("channel")) and woken.wait(0.05))
        stop()
        self._until(lambda: self._silent(backend, at, woken))

    def test_a_failed_transaction_publishes_nothing(self, backend: Backend, at: Callable[[str], str]) -> None:
        """A transaction whose guard fails wakes nobody; the wake that comes is the later success's."""
        calls: list[list[bytes | None]] = []
        heard = threading.Event()

        def wake() -> None:
            calls.append(backend.read([at("a")], timeout=_BOUND))
            heard.set()

        stop = backend.subscribe(at("channel"), wake)
        if stop is None:
            pytest.skip("this backend has no messages")
        self._until(lambda: not backend.transact([], publish=at("channel")) and heard.wait(0.05))
        heard.clear()
        assert backend.transact([Guard(at("x"), b"")], [Put(at("a"), b"0")], publish=at("channel")) == [None]
        assert backend.transact([], [Put(at("a"), b"1")], publish=at("channel")) is None
        self._until(lambda: calls[-1] == [b"1"])
        stop()
        assert [b"0"] not in calls

    # The rest

    def test_it_answers_and_knows_itself(self, talk: Any) -> None:
        """Ping returns None, and the facts have a name."""
        assert talk.ping() is None
        facts = talk.facts()
        assert isinstance(facts, BackendFacts)
        assert facts.name

    def test_close_is_not_the_end(self, talk: Any, at: Callable[[str], str]) -> None:
        """Closing twice is harmless and using the backend again reopens it."""
        talk.transact([], [Put(at("a"), b"1")])
        talk.close()
        talk.close()
        talk.transact([], [Put(at("b"), b"2")])
        assert talk.read([at("b")]) == [b"2"]

    def test_it_says_what_it_is(self, backend: Backend) -> None:
        """`shared` and `blocks` are booleans."""
        assert type(backend.shared) is bool
        assert type(backend.blocks) is bool

    def test_many_threads_read_their_own(self, backend: Backend, at: Callable[[str], str]) -> None:
        """Sixteen threads reading different keys at once each get their own values, 50 times."""
        names = [f"k{n}" for n in range(16)]
        backend.transact([], [Put(at(name), name.encode() * 100) for name in names])

        def check(name: str) -> bool:
            want = [name.encode() * 100, None]
            return all(backend.read([at(name), at("x")], timeout=_BOUND) == want for _ in range(50))

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(check, names))

    def test_many_tasks_read_their_own(self, backend: Backend, at: Callable[[str], str]) -> None:
        """A thousand tasks at once each get their own values, on three event loops one after the other."""
        aio: Any = getattr(backend, "aio", None)
        if aio is None:
            pytest.skip("this backend has one colour")
        backend.transact([], [Put(at(str(n)), b"%d" % n) for n in range(100)])

        async def read_all() -> list[list[bytes | None]]:
            reads = (aio.read([at(str(n % 100)), at("x")], timeout=_BOUND) for n in range(1000))
            return list(await asyncio.gather(*reads))

        for _ in range(3):
            assert asyncio.run(read_all()) == [[b"%d" % (n % 100), None] for n in range(1000)]

    # Helpers

    @staticmethod
    def _until(condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds, which with a real server only time can bring; fail after a bound."""
        deadline = time.monotonic() + _BOUND
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.005)

    @staticmethod
    def _silent(backend: Backend, at: Callable[[str], str], woken: threading.Event) -> bool:
        woken.clear()
        backend.transact([], publish=at("channel"))
        return not woken.wait(0.1)

    @staticmethod
    def _scan(talk: Any, prefix: str) -> set[str]:
        cursor, found = talk.scan(prefix, timeout=_BOUND)
        while cursor is not None:
            cursor, more = talk.scan(prefix, cursor, timeout=_BOUND)
            found += more
        return set(found)
