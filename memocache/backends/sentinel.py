"""`SentinelBackend`: a master that sentinels watch over, found through them and found anew after a failover.

It is `RedisBackend` whose connections begin with a question to a sentinel, in the helper thread that opens them. When
the master is another one than before, every connection to the old one is shut down: a master that was believed dead may
come back, and for some seconds answer as if nothing had happened. A sentinel says so at once; else the next connection
finds out. What a failover loses, the server has lost: docs/cluster.md says how much that can be.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from memocache._runtime.randomness import random
from memocache.backends._redis.client_tracking import ClientTracking
from memocache.backends._redis.commands import Commands
from memocache.backends._redis.connect import Dial, dialer
from memocache.backends._redis.connection import Connection
from memocache.backends._redis.credentials import logging_in
from memocache.backends._redis.multiplexer import Multiplexer
from memocache.backends._redis.pool import Pool
from memocache.backends._redis.pubsub import Listener
from memocache.backends._redis.resp import command_bytes
from memocache.backends._redis.server_checks import findings
from memocache.backends._settings import RedisSettings, SentinelSettings, sentinel_settings
from memocache.backends.base import NotReached, ProtocolError, ReplyError
from memocache.backends.redis import AsyncRedis, RedisBackend
from memocache.typing import Finding, ReadSoon, Watcher

_SWITCHED = "+switch-master"
_UNFIT = frozenset({"s_down", "o_down", "disconnected", "master_down"})


class SentinelBackend(RedisBackend):
    """A `memocache.typing.Backend` over the master of a service; with ``replicas=read`` reads go to its replicas.

    A replica is a moment behind: what was just invalidated may still be read from it, and what was just stored not yet.
    """

    def __init__(self, settings: SentinelSettings) -> None:
        finder = self._finder = MasterFinder(settings)
        node, timeout = settings.node, settings.node.timeout
        self._credentials = node.credentials
        self._dial = dial = logging_in(finder.dial_master, node.credentials)
        pool, multiplexer = Pool(dial, node.max_connections, timeout), Multiplexer(dial, timeout)
        say = Commands(wait=node.wait)
        self._assemble(timeout, say, pool, Listener(dial), _AsyncSentinel, multiplexer)
        self.tls = node.tls
        self._readers = pool
        self.aio.readers = multiplexer
        if settings.replicas:
            dial = logging_in(finder.dial_replica, node.credentials)
            self._readers = Pool(dial, node.max_connections, timeout)
            self.aio.readers = Multiplexer(dial, timeout)

    aio: _AsyncSentinel

    @classmethod
    def from_url(cls, url: str) -> SentinelBackend:
        """Return the backend for a redis+sentinel or rediss+sentinel URL; raise ConfigurationError."""
        return cls(sentinel_settings(url))

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """See `RedisBackend.read`; from a replica, where that is asked for."""
        return self._readers.run(self._say.read(keys), timeout)

    def _track(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        if self._readers is not self._pool:
            return None  # a replica may tell what is old after the master has told that it is
        return ClientTracking(self._dial, starts, watcher, ("ROLE",), _must_be_master).stop

    def doubt(self) -> None:
        """See `RedisBackend.doubt`."""
        super().doubt()
        self._readers.close()
        self.aio.readers.doubt()

    def _renew(self) -> None:
        super()._renew()
        self._readers.renew()
        self.aio.readers.doubt()

    def checkup(self, *, timeout: float | None = None) -> list[Finding]:
        """As of `RedisBackend`, of the master."""
        info, config, whoami, ahead = self._pool.run(self._say.checkup(), timeout)
        return findings(info, config, whoami, ahead, self._finder.master())

    def close(self) -> None:
        """See `RedisBackend.close`."""
        super().close()
        self._readers.close()
        self.aio.readers.close()
        self._finder.close()


class _AsyncSentinel(AsyncRedis):
    readers: Multiplexer

    @property
    def read_soon(self) -> ReadSoon | None:
        """See `AsyncRedis.read_soon`."""
        return self.readers.read_soon

    async def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """See `SentinelBackend.read`."""
        return await self.readers.run(self._say.read(keys), timeout)

    async def close(self) -> None:
        """See `AsyncRedis.close`."""
        await super().close()
        self.readers.close_here()


class MasterFinder:
    """Asks the sentinels, the one that answered last first; knows the sockets that lead to the master of now."""

    def __init__(self, settings: SentinelSettings) -> None:
        self._settings = settings
        self._sentinels = [dialer(one) for one in settings.sentinels]
        self._seconds = settings.node.connect_timeout
        self._master: tuple[str, int] | None = None
        self._epoch = -1
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._listener = Listener(self._dial_sentinel)
        self._stop: Callable[[], None] | None = None
        _finders.add(self)

    def master(self) -> RedisSettings:
        """How the master of now is reached; raises an OSError if no sentinel says."""
        (host, port), _ = self._find()
        return replace(self._settings.node, host=host, port=port)

    def dial_master(self) -> socket.socket:
        """Open a socket to the master; raises an OSError if there is none that says so itself."""
        self._watch()
        address, sentinel = self._find()
        try:
            sock = self._dial(address, _be_master)
        except OSError:
            self._put_last(sentinel)  # it may be the only one that has not heard of a failover
            raise
        with self._lock:
            if address != self._master:  # switched meanwhile
                sock.close()
                raise NotReached("the master is another one by now")
            self._sockets.add(sock)
        return sock

    def dial_replica(self) -> socket.socket:
        """Open a socket to a replica that is in step, or to the master if there is none."""
        (reply,), _ = next(self._ask("REPLICAS"))
        fit = [address for address in map(_replica, reply if isinstance(reply, list) else []) if address is not None]
        random.shuffle(fit)
        for address in fit:
            try:
                return self._dial(address, None)
            except (OSError, ReplyError):
                continue
        return self.dial_master()

    def _dial(self, address: tuple[str, int], greet: Callable[[Any], None] | None) -> socket.socket:
        return dialer(replace(self._settings.node, host=address[0], port=address[1]), greet)()

    def _find(self, *, all_of_them: bool = False) -> tuple[tuple[str, int], Dial]:
        """Settle on the master that the first sentinel names whose word is not older than what we know; if all are (the
        service was made anew), or `all_of_them` are to be asked, on the newest word. Returns who said it, too.
        """
        known = self._epoch
        newest: tuple[_Named, Dial] | None = None
        failure: Exception = NotReached("no sentinel could be asked")
        for replies, dial in self._ask("GET-MASTER-ADDR-BY-NAME", "MASTER"):
            try:
                named = _named(*replies)
            except OSError as error:
                failure = error
                continue
            if newest is None or named.epoch > newest[0].epoch:
                newest = named, dial
            if named.epoch >= known and not all_of_them:
                break
        if newest is None:
            raise failure
        self._settle(newest[0], known)
        return newest[0].address, newest[1]

    def _ask(self, *words: str) -> Iterator[tuple[list[Any], Dial]]:
        """Put questions about the service to one sentinel after the other: the answers of each that has one to the
        first question, and who it is; raises if there is none.
        """
        failure: Exception | None = NotReached("no sentinel could be asked")
        questions = b"".join(command_bytes("SENTINEL", word, self._settings.service) for word in words)
        for dial in list(self._sentinels):
            try:
                connection = Connection(dial())
                try:
                    deadline = time.monotonic() + self._seconds
                    connection.ask(questions, len(words), deadline)
                    replies = connection.answer(deadline)
                finally:
                    connection.close()
                if isinstance(replies[0], ReplyError):
                    raise replies[0]
            except (OSError, ReplyError) as error:
                failure = failure and error
                self._put_last(dial)
                continue
            failure = None
            yield replies, dial
        if failure is not None:
            raise failure

    def _dial_sentinel(self) -> socket.socket:
        failure: Exception = NotReached("no sentinel could be reached")
        for dial in list(self._sentinels):
            try:
                return dial()
            except (OSError, ReplyError) as error:
                failure = error
                self._put_last(dial)
        raise failure

    def _put_last(self, dial: Dial) -> None:
        with self._lock:
            self._sentinels.remove(dial)
            self._sentinels.append(dial)

    def _settle(self, named: _Named, known: int) -> None:
        """From now on the master is there (unless a newer one than of the epoch `known` was heard of meanwhile); what
        leads elsewhere is shut down.
        """
        with self._lock:
            if known < self._epoch > named.epoch:
                return
            self._epoch = named.epoch
            if named.address == self._master:
                return
            self._master = named.address
            old, self._sockets = list(self._sockets), weakref.WeakSet()
        for sock in old:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass  # closed already

    def _watch(self) -> None:
        """Hear of failovers, and look once whenever the connection to a sentinel was lost and made anew."""
        with self._lock:
            if self._stop is None:
                self._stop = self._listener.subscribe(_SWITCHED, self._look)

    def _look(self) -> None:
        """All of them are asked: the first to be asked may not be the first to know."""
        self._find(all_of_them=True)

    def close(self) -> None:
        """Hear of failovers no longer."""
        with self._lock:
            self._stop, self._master, self._epoch = None, None, -1
        self._listener.close()

    def after_fork(self) -> None:
        """Forget, in a child, the parent's listener and sockets: to shut one down would end the parent's too."""
        self._lock = threading.RLock()
        self._sockets = weakref.WeakSet()
        self._stop, self._master = None, None


class _Named(NamedTuple):
    """The master as a sentinel names it, and the `epoch` of that: every failover has a greater one."""

    address: tuple[str, int]
    epoch: int


def _named(address: Any, facts: Any) -> _Named:
    """What a sentinel answered; one that may not tell the epoch (by ACL, or no real sentinel) has the first."""
    if address is None:
        raise NotReached("the sentinels know no service of that name")
    try:
        host, port = address
        where = host.decode(), int(port)
    except (TypeError, ValueError, AttributeError):
        raise ProtocolError("no answer of a sentinel") from None
    try:
        return _Named(where, int(dict(zip(facts[::2], facts[1::2], strict=True))[b"config-epoch"]))
    except (TypeError, ValueError, KeyError):
        return _Named(where, 0)


def _be_master(connection: Any) -> None:
    connection.send_command("ROLE")
    _must_be_master(connection.read_response())


def _must_be_master(role: Any) -> None:
    if not isinstance(role, list) or role[:1] != [b"master"]:
        raise NotReached("that server is not the master yet, or not any more")


def _replica(fields: Any) -> tuple[str, int] | None:
    """Where the replica is that a sentinel describes, if it is fit to be read from."""
    try:
        facts = dict(zip(fields[::2], fields[1::2], strict=True))
        flags = facts[b"flags"].decode().split(",")
        if _UNFIT & set(flags) or facts[b"master-link-status"] != b"ok":
            return None
        return facts[b"ip"].decode(), int(facts[b"port"])
    except (TypeError, ValueError, KeyError, AttributeError):
        return None


_finders: weakref.WeakSet[MasterFinder] = weakref.WeakSet()


def _after_fork() -> None:
    for finder in list(_finders):
        finder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
