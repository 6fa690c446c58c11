"""Worker processes call, write and invalidate while a seeded schedule breaks what they use, and each answer is checked.

Every answer is checked for the key it is of, and for being no older than the last invalidation of it that had returned
when the call began. An invalidation that a primary acknowledged and lost with its last writes is exempt, and counted:
every one since the value seen must have returned within `_LOST` seconds of a change of primaries that we, or the
servers themselves, brought about. What moves slots or primaries in good order loses nothing, and exempts nothing; nor
does a single server, which comes back empty.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from memocache import Cache
from memocache.backends._cluster.slots import slot_of
from memocache.testing import servers
from memocache.testing.server_topologies import ClusterServer, SentinelTrio, until
from memocache.testing.servers import Server
from tests.checker.worker import KEYS, MOST, SIZE, Truth

_ROOT = str(pathlib.Path(__file__).parents[2])
_LOST = 1.0
"""Seconds before a fault in which replication may be behind, and after the new primary's first write."""


_BEFORE = 2.0
"""Seconds before a wrong call of which its history tells."""
_SHOWN = 8


_NOTICED = 5.0
"""Seconds within which we notice that the servers changed primaries by themselves."""


_PATIENCE = 300.0
"""Seconds for servers to be whole again: a sentinel that was held up keeps still for 30 s (TILT), and again after."""
_ASK_AGAIN = 15.0
"""Seconds after which a hand-over that was accepted has failed: a sentinel gives up one that takes longer."""


@dataclass
class Fault:
    """Something that was done to the servers: when, until when they were not able to serve `slots` by their own
    account (monotonic seconds), and whether it may have lost acknowledged writes; when each worker was `served` again.
    """

    name: str
    at: float
    slots: set[int]
    lossy: bool
    own: float = 0.0
    over: float = 0.0
    served: list[float] = field(default_factory=list)


@dataclass
class Report:
    """What a storm came to. `histories` tells what the process of a wrong answer, or of one excused because it was cut
    off, saw of the key before. `resumed`: for each fault, by how many seconds the last worker's first hit, of any key
    that was out of reach, began later than the servers' own return.
    """

    calls: int = 0
    hits: int = 0
    invalidations: int = 0
    refused: int = 0
    puts: int = 0
    cancelled: int = 0
    hung: int = 0
    computations: int = 0
    overlaps: int = 0
    overlaps_excused: int = 0
    slowest: float = 0.0
    raised: list[str] = field(default_factory=list)
    wrong: list[Any] = field(default_factory=list)
    exempt: int = 0
    cut_off: int = 0
    cut_offs: int = 0
    histories: list[Any] = field(default_factory=list)
    failovers: list[tuple[str, float]] = field(default_factory=list)
    resumed: list[tuple[str, float]] = field(default_factory=list)
    steps: list[tuple[str, float, float]] = field(default_factory=list)
    unasked: list[float] = field(default_factory=list)


class OneServer:
    """A single server."""

    def __init__(self, kind: str) -> None:
        self.server = servers.start(kind)
        self.servers = [self.server]
        self.url = self.server.url

    def __enter__(self) -> OneServer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.server.stop()


class Directory:
    """A store on disk."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="memocache-storm-")
        self.url = f"disk://{self._home.name}/store"
        self.servers: list[Server] = []

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._home.cleanup()


def place(kind: str, server: str) -> Any:
    """What the workers of a storm share: "server", "near", "cluster", "sentinel" or "disk"."""
    if kind == "cluster":
        return ClusterServer(server, node_timeout=1.0)
    if kind == "sentinel":
        return SentinelTrio(server, down_after=1.0)
    return Directory() if kind == "disk" else OneServer(server)


def overlaps(
    computations: list[tuple[int, float, float]],
    invalidations: list[tuple[int, float, float]],
    faults: list[tuple[float, float]],
) -> tuple[int, int, int]:
    """How many computations there were; how many began while another of the same key was under way, though the key was
    not invalidated meanwhile; and how many more of these there were about the time of a fault.
    """
    changes: dict[int, list[tuple[float, float]]] = {}
    for key, begun, ended in invalidations:
        changes.setdefault(key, []).append((begun, ended))
    found = excused = 0
    latest: dict[int, tuple[float, float]] = {}
    for key, begun, ended in sorted(computations, key=lambda one: one[1]):
        before = latest.get(key)
        if before is not None and begun < before[1]:
            meanwhile = (*changes.get(key, ()), *changes.get(-1, ()))
            if not any(at <= begun and before[0] <= until for at, until in meanwhile):
                if any(at <= begun <= until for at, until in faults):
                    excused += 1
                else:
                    found += 1
        if before is None or ended > before[1]:
            latest[key] = begun, ended
    return len(computations), found, excused


class Storm:
    """Workers on a fleet, and what is done to it."""

    def __init__(
        self,
        fleet: Any,
        url: str,
        seed: int,
        workers: int,
        behind: float,
        broken: bool,
    ) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.faults: list[Fault] = []
        self.changes: list[float] = []
        self.lost: list[tuple[float, float]] = []
        self.steps: list[tuple[str, float, float]] = []
        self._orderly: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._home = tempfile.TemporaryDirectory(prefix="memocache-storm-")
        truth = pathlib.Path(self._home.name, "truth")
        truth.write_bytes(bytes(SIZE))
        self._command = command = [sys.executable, "-m", "tests.checker.worker", url, str(truth)]
        self._seed, self._victim = seed, None
        self.truth = Truth(str(truth))
        self.workers = [
            subprocess.Popen(
                [
                    *command,
                    str(number),
                    str(workers),
                    str(seed),
                    str(behind if number == workers - 1 or isinstance(fleet, OneServer) else 0.0),
                    "yes" if broken else "no",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": _ROOT},
            )
            for number in range(workers)
        ]
        self._hit_at = self.truth.hit_at[:workers]
        for worker in self.workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        with Cache(url, prefix="storm") as cache:
            f = cache.cached(name="f")(lambda key: key)
            self.slots = [slot_of(f.key_for(key)) for key in range(KEYS)]
        self._watcher = threading.Thread(target=self._watch)
        if isinstance(fleet, ClusterServer | SentinelTrio):
            self._watcher.start()

    def _watch(self) -> None:
        """Note when primaries change, also by themselves: a busy machine may hold a process up for long."""
        before: Any = None
        while not self._over.wait(0.05):
            try:
                if isinstance(self.fleet, ClusterServer):
                    now = {(member.id, member.slots) for member in self.fleet.view() if not member.of}
                else:
                    now = {self.fleet.master().port}
            except Exception:
                continue
            if before is not None and now != before:
                self.changes.append(time.monotonic())
            before = now

    def calls(self) -> int:
        """How many answers there were so far, but for those of a process that was killed: nobody judges them."""
        return sum(self.truth.calls[: len(self.workers)])

    # -- what can be done to processes

    def kill_process(self) -> None:
        """A process that calls is killed, and another one takes its place."""
        self._end_victim()
        words = [str(MOST), str(MOST), str(self._seed), "0.0", "no"]
        self._victim = subprocess.Popen(
            [*self._command, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": _ROOT},
        )
        self.calm(2.0)

    def _end_victim(self) -> None:
        victim, self._victim = self._victim, None
        if victim is not None:
            victim.kill()
            victim.wait()
            assert victim.stdin is not None
            victim.stdin.close()

    def stop_process(self) -> None:
        """A process is stopped in its tracks for a moment."""
        worker = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        try:
            self.calm(1.5)
        finally:
            worker.send_signal(signal.SIGCONT)

    # -- what can be done to one server

    def restart(self) -> None:
        """The server is killed and comes back empty."""
        self.fleet.server.restart()

    def hang(self) -> None:
        """The server stands still for a moment."""
        self.fleet.server.suspend()
        self.calm(1.0)
        self.fleet.server.resume()

    def kill_clients(self) -> None:
        """Every connection is ended, again and again."""
        for _ in range(10):
            self._tell("CLIENT", "KILL", "TYPE", "normal")
            self.calm(0.1)

    def kill_listeners(self) -> None:
        """Every connection that tracks or listens is ended, again and again."""
        for _ in range(10):
            self._tell("CLIENT", "KILL", "TYPE", "pubsub")
            with self.fleet.server.client() as client:
                for one in client.client_list():
                    if "t" in one["flags"] or "B" in one["flags"]:
                        client.client_kill_filter(_id=one["id"])
            self.calm(0.1)

    def pause(self) -> None:
        """The server answers nobody for a moment (CLIENT PAUSE)."""
        self._tell("CLIENT", "PAUSE", 400, "ALL")
        self.calm(0.5)

    def flush(self) -> None:
        """The database is emptied."""
        self._tell("FLUSHDB")

    def swap(self) -> None:
        """An empty database takes the place of the one in use, and this one comes back, without what was removed from
        the other meanwhile.
        """
        with self.fleet.server.client(db=1) as client:
            client.flushdb()
        begun = time.monotonic()
        for _ in range(2):
            self._tell("SWAPDB", 0, 1)
            self.calm(0.7)
        self.lost.append((begun, time.monotonic() - 0.7))

    def evict(self) -> None:
        """The server has less memory than it needs, and evicts whatever it likes."""
        self._limit("allkeys-random", self._used() - 20_000)
        self.calm(1.0)
        self._limit("noeviction", 0)

    def full(self) -> None:
        """The server refuses writes."""
        self._limit("noeviction", 1)
        self.calm(1.0)
        self._limit("noeviction", 0)

    def _used(self) -> int:
        with self.fleet.server.client() as client:
            return int(client.info("memory")["used_memory"])

    def _limit(self, policy: str, most: int) -> None:
        with self.fleet.server.client() as client:
            client.config_set("maxmemory-policy", policy)
            client.config_set("maxmemory", most)

    def _tell(self, *words: Any) -> None:
        with self.fleet.server.client() as client:
            client.execute_command(*words)

    # -- what can be done to a fleet

    def kill(self) -> None:
        """A primary dies, and comes back when another has taken its place."""
        self._lose("killed", Server.kill, lambda server: server.restart())

    def stop(self) -> None:
        """A primary is stopped in its tracks, and goes on when another has taken its place."""
        self._lose("stopped", Server.suspend, Server.resume)

    def _lose(self, name: str, fault: Callable[[Server], None], mend: Callable[[Server], None]) -> None:
        if isinstance(self.fleet, ClusterServer):
            slot = self.random.choice(self.slots)
            victim, heir = self.fleet.primary_of(slot), self.fleet.replica_of(self.fleet.primary_of(slot))
            # all of them, for the heir has them at once: where slots were moved, one range may be a single key's, which
            # a worker reads seldom
            held = next(m.slots for m in self.fleet.view() if m.server is victim)
            slots = set().union(*held)
        else:
            slot, slots, victim = 0, set(range(16384)), self.fleet.master()
            heir = next(server for server in self.fleet.servers if server is not victim)
        fault(victim)
        record = Fault(name, time.monotonic(), slots, lossy=True)
        self.faults.append(record)
        if isinstance(self.fleet, SentinelTrio):
            _patiently(lambda: self.fleet.master() is heir, "no sentinel names another master")
        _patiently(lambda: _takes_writes(heir, slot), "nobody took over")
        self._resume(record)
        mend(victim)
        record.over = time.monotonic()

    def down(self) -> None:
        """Every server dies, and comes back empty."""
        slot = self.slots[0]
        self.fleet.kill()
        record = Fault("all down", time.monotonic(), set(range(16384)), lossy=True)
        self.faults.append(record)
        time.sleep(0.5)
        for server in self.fleet.servers:
            server.restart()
        _patiently(lambda: any(_takes_writes(server, slot) for server in self.fleet.servers), "nobody is up again")
        self._resume(record)
        record.over = time.monotonic()

    def hand_over(self) -> None:
        """A replica takes over in good order, which a cluster's primary waits for and a sentinels' master does not."""
        begun = time.monotonic()
        if isinstance(self.fleet, ClusterServer):
            self.fleet.failover(self.fleet.primary_of(self.random.choice(self.slots)))
            self._orderly.append((begun, time.monotonic()))
        elif isinstance(self.fleet, SentinelTrio):
            self._have_sentinels_hand_over()

    def _have_sentinels_hand_over(self) -> None:
        """They refuse while they are at another one, and may give up one that they began."""
        old, asked = self.fleet.master(), float("-inf")

        def handed_over() -> bool:
            nonlocal asked
            if self.fleet.master() is not old:
                return True
            if time.monotonic() - asked > _ASK_AGAIN:
                self.fleet._asked(self.fleet.sentinels[0], "FAILOVER")
                asked = time.monotonic()
            return False

        _patiently(handed_over, "no failover")

    def reshard(self) -> None:
        """The slots of some keys move to other primaries, slowly enough to be met on their way."""
        assert isinstance(self.fleet, ClusterServer)
        begun, orderly = time.monotonic(), True
        for slot in self.random.sample(sorted(set(self.slots)), 8):
            others = [server for server in self.fleet.primaries() if server is not self.fleet.primary_of(slot)]
            target = self.random.choice(others)

            def moved(slot: int = slot, target: Server = target) -> bool:
                self.fleet.move([slot], target, step=1, pause=0.02)
                return True

            try:
                moved()
            except redis.RedisError:  # a busy machine holds the servers up, and they think each other dead
                orderly = False
                _patiently(moved, "the slot does not move")
        if orderly:
            self._orderly.append((begun, time.monotonic()))

    def _resume(self, fault: Fault) -> None:
        """The servers are able again, and so shall be every worker."""
        fault.own = time.monotonic()
        keys = [key for key, slot in enumerate(self.slots) if slot in fault.slots]
        served: dict[int, float] = {}

        def everybody() -> bool:
            for number, hit_at in enumerate(self._hit_at):
                latest = max(hit_at[key] for key in keys) / 1e9
                if latest > fault.own:
                    served.setdefault(number, latest)
            return len(served) == len(self._hit_at)

        _patiently(everybody, f"not every worker has had a hit after {fault.name}")
        fault.served = list(served.values())

    def settle(self) -> None:
        """Wait until the servers are whole again."""
        if isinstance(self.fleet, ClusterServer):
            self.fleet.settled()
        elif isinstance(self.fleet, SentinelTrio):
            _patiently(self.fleet._ready, "the sentinels are not content")
            _patiently(self._in_step, "the replica does not catch up")

    def _in_step(self) -> bool:
        """Whether the replica has what was just written; one promoted before that loses whole spells of writes."""
        with self.fleet.master().client() as client:
            return bool(client.set("in-step", 1)) and client.wait(1, 500) == 1

    def calm_down(self) -> None:
        """Nothing happens."""
        time.sleep(1.0)

    def calm(self, seconds: float) -> None:
        """Nothing is done for a while."""
        time.sleep(seconds)

    # -- what it came to

    def end(self) -> Report:
        """Let the workers end and judge what they saw."""
        self._over.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        tales: list[dict[str, Any]] = []
        for worker in self.workers:
            out, _ = worker.communicate(timeout=60)
            tales.append(json.loads(out.splitlines()[-1]))
        self._end_victim()
        self._home.cleanup()
        report = Report()
        returned = {(key, version): at for tale in tales for key, version, _, at in tale["returned"] if key >= 0}
        lossy = [(fault.at, max(fault.own, fault.over)) for fault in self.faults if fault.lossy]
        ours = [*self._orderly, *((fault.at, fault.over) for fault in self.faults)]
        report.steps = self.steps
        report.unasked = [at for at in self.changes if not any(a <= at <= b + 0.5 for a, b in ours)]
        lossy += self.lost + [(at - _NOTICED, at) for at in report.unasked]
        for tale in tales:
            for name in ("calls", "hits", "invalidations", "refused", "puts", "cancelled", "hung", "cut_offs"):
                setattr(report, name, getattr(report, name) + tale[name])
            report.slowest = max(report.slowest, tale["slowest"])
            report.raised += tale["raised"]
            for key, seen, floor, begun, cut_off, told in tale["stale"]:
                since = [returned.get((key, version)) for version in range(seen + 1, floor + 1)]
                # a version without an entry was not invalidated by itself, but with the next that was
                lost = [at for at in since if at is not None]
                if seen >= 0 and lost and all(any(a - _LOST <= at <= b + _LOST for a, b in lossy) for at in lost):
                    report.exempt += 1
                elif seen >= 0 and cut_off:
                    report.cut_off += 1
                    report.histories.append(("cut off", key, seen, floor, begun, told))
                else:
                    report.wrong.append((key, seen, floor, begun, lost, lossy))
                    changes = sorted(
                        one
                        for other in tales
                        for one in other["returned"]
                        if one[0] == key and one[3] > begun - _BEFORE
                    )
                    report.histories.append(("wrong", key, seen, floor, begun, told, changes[:_SHOWN], lost))
        report.computations, report.overlaps, report.overlaps_excused = overlaps(
            [one for tale in tales for one in tale["computations"]],
            [(key, begun, at) for tale in tales for key, _, begun, at in tale["returned"]]
            + [tuple(one) for tale in tales for one in tale["attempted"]],
            [(begun - 1.0, ended + 12.0) for _, begun, ended in self.steps],
        )
        for fault in self.faults:
            report.failovers.append((fault.name, round(fault.own - fault.at, 2)))
            report.resumed.append((fault.name, round(max(fault.served) - fault.own, 2)))
        return report

    def abandon(self) -> None:
        """End the workers that are left, whatever they are at."""
        self._over.set()
        self._end_victim()
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
            for stream in (worker.stdin, worker.stdout):
                if stream is not None:
                    stream.close()
        self._home.cleanup()


def _patiently(condition: Callable[[], Any], what: str) -> None:
    """As `until`: on a busy machine, for as long as the servers may need."""
    until(condition, what, _PATIENCE)


@functools.lru_cache
def _key_in(slot: int) -> str:
    return next(key for key in (f"probe{n}" for n in range(10_000_000)) if slot_of(key) == slot)


def _takes_writes(server: Server, slot: int) -> bool:
    """Whether a server says by itself, to a plain client, that it is a primary that holds the slot."""
    try:
        with server.client(socket_timeout=0.5) as client:
            return bool(client.set(_key_in(slot), 1, px=1000)) and client.role()[0] in (b"master", "master")
    except (redis.RedisError, OSError):
        return False


def storm(
    kind: str,
    steps: list[str],
    *,
    seed: int,
    server: str,
    workers: int = 3,
    wait: int = 0,
    behind: float = 0.0,
    broken: bool = False,
    calls: int = 0,
) -> Report:
    """Run `steps` (names of `Storm`'s methods) against a fleet of its own and report.

    With `behind`, the last worker (on a single server all of them) holds copies, and what it sees may be behind by so
    many seconds. With `calls`, it ends when there have been so many, and not before.
    """
    with place(kind, server) as fleet:
        run = Storm(fleet, fleet.url + (f"?wait={wait}" if wait else ""), seed, workers, behind, broken)
        try:
            run.calm(0.3)
            for step in steps:
                if calls and run.calls() >= calls:
                    break
                run.settle()
                begun = time.monotonic()
                getattr(run, step)()
                run.steps.append((step, begun, time.monotonic()))
                run.calm(0.3)
            while run.calls() < calls:
                run.calm(0.1)
            return run.end()
        finally:
            run.abandon()
