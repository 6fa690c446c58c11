"""BlobFiles that are damaged, foreign, cut short or taken away; power cuts; directories that cannot hold a store."""

from __future__ import annotations

import os
import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.backends._disk import directory as _disk_place
from memocache.backends._disk import state_file as _disk_state
from memocache.backends._disk.open_store import LOOK_SECONDS, Environment
from memocache.backends.disk import DiskBackend
from memocache.exceptions import BackendError, ConfigurationError
from memocache.testing.faults import FailingBackend
from memocache.typing import Put


def _fill(directory: str, keys: int = 300) -> None:
    backend = DiskBackend(directory)
    backend.transact([], [Put(f"k{n}", b"%d" % n * 50) for n in range(keys)])
    backend.close()


def _zeros(data: bytes) -> bytes:
    return bytes(len(data))


def _noise(data: bytes) -> bytes:
    return random.Random(1).randbytes(len(data))


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 3]


def _text(data: bytes) -> bytes:
    return b"my holiday diary\n" * 1000


def _body(data: bytes) -> bytes:
    return data[:8192] + bytes(len(data) - 8192)


@pytest.mark.parametrize("spoil", [_zeros, _noise, _cut, _text, _body])
def test_what_cannot_be_read_is_set_aside_once(directory: str, spoil: Callable[[bytes], bytes]) -> None:
    """A damaged, shortened or foreign file is renamed with one warning that names it, and a fresh store works: nothing
    old is found and nothing raises.
    """
    _fill(directory)
    data = Path(directory, "data.mdb")
    spoiled = spoil(data.read_bytes())
    data.write_bytes(spoiled)
    backend = DiskBackend(directory)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(300):
            backend.transact([], [Put(f"new{n}", b"1")])
        assert backend.read([f"k{n}" for n in range(300)]) == [None] * 300
    assert [(one.category, "set aside" in str(one.message)) for one in caught] == [(UserWarning, True)]
    assert str(data) + ".set-aside" in str(caught[0].message)
    assert Path(f"{data}.set-aside").read_bytes()[: len(spoiled)][:8192] == spoiled[:8192]
    assert backend.read(["new0", "new299"]) == [b"1", b"1"]
    backend.close()


def test_damage_anywhere_gives_no_wrong_value(directory: str) -> None:
    """Whatever bytes of the map are damaged, a key has its own value or none, and writing goes on."""
    draw = random.Random(5)
    _fill(directory)
    data = Path(directory, "data.mdb")
    good = data.read_bytes()
    state = Path(directory, "state").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(25):
            spoiled = bytearray(good)
            for _ in range(40):
                spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
            data.write_bytes(spoiled)
            Path(directory, "state").write_bytes(state)
            backend = DiskBackend(directory)
            for n in range(300):
                assert backend.read([f"k{n}"])[0] in (None, b"%d" % n * 50)
            backend.transact([], [Put("a", b"1")])
            assert backend.read(["a"]) == [b"1"]
            backend.close()


def test_the_others_turn_to_the_fresh_store(directory: str, spawn: Callable[..., Any]) -> None:
    """When one process sets the store aside, another that has it open reads nothing old from then on."""
    _fill(directory)
    other = spawn(
        """
import sys
from memocache.backends.disk import DiskBackend
from memocache.testing.faults import FailingBackend
from memocache.typing import Put
backend = DiskBackend(sys.argv[1])
assert backend.read(["k7"]) == [b"7" * 50]
print("ready", flush=True)
sys.stdin.readline()
print(backend.read(["k7", "a"]))
""",
        directory,
    )
    backend = DiskBackend(directory)
    assert backend.read(["k7"]) == [b"7" * 50]
    store = backend._open()
    with pytest.warns(UserWarning, match="set aside"):
        store.spoiled(store.ready(5), RuntimeError(), 5)
    backend.transact([], [Put("a", b"1")])
    out, _ = other.communicate("go\n")
    assert out == "[None, b'1']\n"
    backend.close()


@pytest.mark.parametrize(
    ("dirty", "same_run", "kept"), [(True, False, False), (True, True, True), (False, False, True)]
)
def test_a_power_cut(directory: str, monkeypatch: pytest.MonkeyPatch, dirty: bool, same_run: bool, kept: bool) -> None:
    """A store that was written to when the machine stopped is begun anew; one that was at rest, or whose processes were
    merely killed, is kept.
    """
    _fill(directory)
    state = _disk_state.StateFile(f"{directory}/state")
    assert not state.dirty  # closing brought it to the disk
    if dirty:
        state.soil()
    state.close()
    if not same_run:
        monkeypatch.setattr(_disk_state, "boot_id", lambda: b"another run")
    backend = DiskBackend(directory)
    if kept:
        assert backend.read(["k1"]) == [b"1" * 50]
    else:
        with pytest.warns(UserWarning, match="the machine stopped"):
            assert backend.read(["k1"]) == [None]
    backend.close()


def test_the_mark_is_there_before_anything_is_written(directory: str) -> None:
    """The store is dirty from before its first write of a spell until it has rested."""
    backend = DiskBackend(directory)
    seen: list[bool] = []
    opened = backend._open().ready(5)
    janitor = backend._janitor
    assert janitor is not None
    janitor.step(opened.info()["last_txnid"])
    assert not opened.state.dirty
    backend._write(lambda table: seen.append(opened.state.dirty), None)
    assert seen == [True]
    assert janitor.step(-1) == janitor.step(-1)  # somebody may have written in between
    assert opened.state.dirty
    janitor.step(opened.info()["last_txnid"])
    assert not opened.state.dirty
    backend.close()


def test_a_store_that_is_taken_away(directory: str) -> None:
    """Removing the directory under a running process empties the cache, and the process begins another store."""
    with Cache(f"disk://{directory}/store") as cache:
        cache.set("a", 1)
        assert cache.get("a") == 1
        shutil.rmtree(f"{directory}/store")
        cache.set("b", 2)
        assert (cache.get("a"), cache.get("b")) == (None, 2)
        with Cache(f"disk://{directory}/store/../store") as again:
            assert again.get("b") == 2


def test_a_store_that_is_taken_away_from_a_reader(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that only reads notices within `LOOK_SECONDS` that its store was removed."""
    with Cache(f"disk://{directory}/store") as cache:
        cache.set("a", 1)
        shutil.rmtree(f"{directory}/store")
        backend: Any = cache._guard.backend  # type: ignore[union-attr]  # a shared cache
        opened: Environment = backend._store.opened
        opened.looked -= LOOK_SECONDS  # as if a second had passed
        assert cache.get("a") is None


def test_a_damaged_value_is_a_miss(directory: str) -> None:
    """A record whose digest does not fit is absent for reads and guards, and is overwritten."""
    from memocache.typing import Guard

    backend = DiskBackend(directory)
    value = os.urandom(200)
    backend.transact([], [Put("a", value)])

    def spoil(table: Any) -> None:
        record = bytearray(table._txn.get(b"a", db=table._values))
        record[-1] ^= 1
        table._txn.put(b"a", bytes(record), db=table._values)

    backend._write(spoil, None)
    assert backend.read(["a"]) == [None]
    assert backend.transact([Guard("a", value[:5])]) == [None]
    assert backend.transact([Guard("a")], [Put("a", b"new" * 20)]) is None
    assert backend.read(["a"]) == [b"new" * 20]
    backend.close()


@pytest.mark.parametrize(
    ("path", "why"), [("/proc/memocache", "write"), ("{directory}/file", "directory"), ("{directory}/file/x", "")]
)
def test_a_directory_that_cannot_be_written(directory: str, path: str, why: str) -> None:
    """Where no store can be, direct calls say why and what to do, decorated calls compute, and one warning says so."""
    Path(directory, "file").write_text("mine")
    with Cache("disk://" + path.format(directory=directory)) as cache:
        f = cache.cached(lambda x: [x])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(ConfigurationError, match=f"disk://.*{why}"):
                cache.set("a", 1)
            with pytest.raises(BackendError):
                cache.get("a")
            assert f(1) == [1]
            assert f(1) == [1]
        assert [(one.category, "disk://" in str(one.message)) for one in caught] == [(UserWarning, True)]
    assert Path(directory, "file").read_text() == "mine"


def test_a_read_only_directory(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that this user may not write is refused in words; root, whom permissions do not stop, is told no too
    where the file system itself says so.
    """
    Path(directory, "ro").mkdir(mode=0o500)
    monkeypatch.setattr(_disk_place.os, "access", lambda path, mode: False)
    with (
        Cache(f"disk://{directory}/ro") as cache,
        pytest.warns(UserWarning, match="read-only"),
        pytest.raises(ConfigurationError, match="read-only"),
    ):
        cache.set("a", 1)


TABLE = """22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw - nfs4 server:/x rw
31 22 0:41 / /mnt/share/local rw - ext4 /dev/vdb rw
32 22 0:42 / /mnt/a\\040b rw - cifs //server/b rw
33 22 0:43 / /over rw - nfs server:/y rw
34 33 0:44 / /over rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache", None),
        ("/mnt/share", "nfs4"),
        ("/mnt/share/x/y", "nfs4"),
        ("/mnt/shared", None),
        ("/mnt/share/local/x", None),
        ("/mnt/a b/c", "cifs"),
        ("/over/x", None),
    ],
)
def test_network_file_systems_are_refused(monkeypatch: pytest.MonkeyPatch, path: str, kind: str | None) -> None:
    """A path on a network file system is refused by the mount table's word, one beside or above it is not."""
    monkeypatch.setattr(_disk_place, "_mount_table", lambda: TABLE)
    if kind is None:
        _disk_place.check_local(path)
    else:
        with pytest.raises(ConfigurationError, match=rf"local file system.*{kind}.*redis://"):
            _disk_place.check_local(path)


def test_a_hit_on_a_record_that_is_none_is_computed(directory: str) -> None:
    """What stands in the map without being a record costs a hit its caching, never its answer: nothing of LMDB's or
    ours reaches the caller.
    """
    with Cache(f"disk://{directory}") as cache:
        function = cache.cached(ttl=60)(lambda number: number * 2)
        assert function(1) == 2
        backend = cache._guard.backend  # type: ignore[union-attr]  # there is one
        opened = backend._store.opened
        with opened.env.begin(opened.values, write=True) as txn:
            txn.put(function.key_for(1).encode(), b"short")
        assert backend.read_now([function.key_for(1)]) is None
        assert function(1) == 2


def test_hits_go_through_what_is_wrapped_around_the_store(directory: str) -> None:
    """A backend around a disk backend is asked, not the store inside it: its trouble is met by hits too."""
    failing = FailingBackend(DiskBackend(directory))
    failing.active = False
    with Cache(failing) as cache:
        function = cache.cached(ttl=60)(lambda number: number * 2)
        assert (function(1), function(1)) == (2, 2)
        failing.active = True
        assert function(1) == 2
        assert failing.disturbed > 0


def test_hits_are_weighed_while_something_fails(directory: str) -> None:
    """Once a request failed, answered hits count for the breaker as those of any backend do."""
    with Cache(f"disk://{directory}") as cache:
        function = cache.cached(ttl=60)(lambda number: number * 2)
        assert function(1) == 2
        breaker = cache._guard.breaker  # type: ignore[union-attr]  # there is one
        assert not breaker.outcomes
        breaker.failed(time.monotonic(), timeout=False)
        assert function(1) == 2
        assert [ok for _, ok in breaker.outcomes] == [False, True]
