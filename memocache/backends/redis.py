"""`RedisBackend`: one Redis or Valkey server, for threads and for any number of event loops, from one set of commands.

`_redis.commands` says what is said to the server. `_redis.pool` (threads) and `_redis.multiplexer` (event loops) bring
it there over connections of `_redis.connection`. Nothing is connected before first use. Every operation has one total
deadline over waiting, connecting, sending and all its replies, and no command is sent twice that changes anything.

What is raised: `Busy` (one's own pool was full), TimeoutError, ConnectionError and other OSErrors (the connection,
which is dropped) and `ReplyError` (the server's own error, with its code).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import hiredis

from memocache._runtime.budget import Budget
from memocache.backends._redis.client_tracking import ClientTracking
from memocache.backends._redis.commands import Commands, Transaction
from memocache.backends._redis.connect import dialer
from memocache.backends._redis.credentials import LiveCredentials
from memocache.backends._redis.multiplexer import Multiplexer
from memocache.backends._redis.pool import Pool
from memocache.backends._redis.pubsub import Listener
from memocache.backends._redis.resp import unexpected
from memocache.backends._redis.server_checks import findings
from memocache.backends._settings import RedisSettings, redis_settings
from memocache.backends.base import ProtocolError
from memocache.typing import BackendFacts, Finding, Guard, Put, ReadSoon, Tally, Watcher


class RedisBackend:
    """A `memocache.typing.Backend` over one Redis or Valkey server; `aio` has the same methods as coroutines.

    ``timeout`` defaults to the one in `settings` (0.3 s), times the number of batches for long `delete` lists.
    Where the server's ACL denies scripts, transactions go by WATCH, MULTI and EXEC, which is remembered.
    """

    shared = True
    blocks = True
    tls = False
    _credentials: LiveCredentials | None = None

    def __init__(self, settings: RedisSettings) -> None:
        dial, timeout = dialer(settings), settings.timeout
        self._settings, self._dial, self._credentials = settings, dial, settings.credentials
        pool = Pool(dial, settings.max_connections, timeout)
        self._assemble(
            timeout, Commands(wait=settings.wait), pool, Listener(dial), AsyncRedis, Multiplexer(dial, timeout)
        )
        self.tls = settings.tls

    def _assemble(
        self,
        timeout: float,
        say: Commands,
        pool: Pool,
        listener: Listener,
        aio: type[AsyncRedis],
        multiplexer: Multiplexer,
    ) -> None:
        """Put the parts together: what is said, how it gets there in either colour, and who listens."""
        self._timeout = timeout
        self._now_seconds = min(timeout, Budget().left)
        self._say = say
        self._pool = pool
        self._listener = listener
        self.aio = aio(self, say, multiplexer)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the backend for a redis, rediss, valkey, valkeys or unix URL; raise ConfigurationError."""
        return cls(redis_settings(url))

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """Return the values of `keys` in their order, None for what is absent, expired or of another type."""
        return self._pool.run(self._say.read(keys), timeout)

    def read_now(self, keys: Sequence[str]) -> list[Any] | None:
        """As `read`, over a connection that is idle and well; None where there is none, or it was closed meanwhile."""
        question = hiredis.pack_command(("MGET", *keys))  # type: ignore[arg-type]  # its stub means tuple[…, ...]
        reply = self._pool.ask_now(question, time.monotonic() + self._now_seconds)
        if type(reply) is not list or len(reply) != len(keys):
            if reply is None:
                return None
            raise unexpected(reply)
        for value in reply:
            if value is not None and type(value) is not bytes:
                raise ProtocolError("a reply that does not belong to the command")
        return reply

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """Apply all writes at once if every guard holds and return None; else return the guards' values."""
        return self._pool.run(self._say.transact(Transaction(guards, puts, deletes, members, publish)), timeout)

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """Remove `keys`, 1,000 a command, and return how many of them were there."""
        return self._pool.run(self._say.delete(keys), self._for_batches(keys, timeout))

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """Return `(next cursor, some keys that begin with prefix)`; None begins and ends."""
        return self._pool.run(self._say.scan(prefix, cursor), timeout)

    def ping(self, *, timeout: float | None = None) -> None:
        """Return if the server answers; raise otherwise, and have the next one ask over a new connection."""
        try:
            self._pool.run(self._say.ping(), timeout)
        except Exception:
            self._renew()
            raise

    def members(self, key: str, *, timeout: float | None = None) -> set[str]:
        """Return the strings added under `key` by `transact(members=…)`."""
        return self._pool.run(self._say.members(key), timeout)

    def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """Let each of these keys that is there live for so many milliseconds from now, 1,000 in a round trip."""
        self._pool.run(self._say.prolong(lives), timeout)

    def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """Carry out all tallies in one round trip; numbers and sums are signed 64-bit."""
        self._pool.run(self._say.tally(tallies), timeout)

    def counts(self, keys: Sequence[str], *, timeout: float | None = None) -> list[dict[str, int]]:
        """Return the counters under each of `keys`, in one round trip."""
        return self._pool.run(self._say.counts(keys), timeout)

    def subscribe(self, channel: str, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake` after each publish, and once when subscribed or reconnected, for what came before that.

        None once the server has denied pub/sub. Subscriptions do not cross a fork.
        """
        return self._listener.subscribe(channel, wake)

    def watch(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        """Tell `watcher` of every change to keys that begin with one of `starts`; needs RESP3 (Redis 6, Valkey)."""
        try:
            return self._track(starts, watcher)
        except (OSError, RuntimeError):  # no descriptor or thread to be had
            return None

    def _track(self, starts: Sequence[str], watcher: Watcher) -> Callable[[], None] | None:
        return ClientTracking(self._dial, starts, watcher).stop

    def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """Return name and version, and the whole server's memory, expiries and evictions (not those of one prefix)."""
        return self._pool.run(self._say.facts(), timeout)

    def doubt(self) -> None:
        """Use no connection of now for another question: somebody got the answer to another's."""
        self._pool.close()
        self.aio.multiplexer.doubt()

    def _renew(self) -> None:
        """Let idle connections go: each that died without a word would cost somebody a timeout, one by one."""
        self._pool.renew()
        self.aio.multiplexer.doubt()

    def checkup(self, *, timeout: float | None = None) -> list[Finding]:
        """Return what the server's version, role, memory, clients, transport, user and clock mean for a cache."""
        return findings(*self._pool.run(self._say.checkup(), timeout), self._settings)

    def close(self) -> None:
        """Close the connections of every thread and loop and end subscriptions; use reopens them."""
        if self._credentials is not None:
            self._credentials.rest()
        self._listener.close()
        self._pool.close()
        self.aio.multiplexer.close()

    def _for_batches(self, keys: Sequence[str], timeout: float | None) -> float | None:
        return self._timeout * max(1, math.ceil(len(keys) / 1000)) if timeout is None else timeout


class AsyncRedis:
    """The awaitable methods of a `RedisBackend`; what each does is said there."""

    def __init__(self, backend: RedisBackend, say: Commands, multiplexer: Multiplexer) -> None:
        self._backend = backend
        self._say = say
        self.multiplexer = multiplexer

    @property
    def read_soon(self) -> ReadSoon | None:
        """How to read in one command with everything else that a turn of the loop reads; None: there is no such way."""
        return self.multiplexer.read_soon

    async def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        """See `RedisBackend.read`."""
        return await self.multiplexer.run(self._say.read(keys), timeout)

    async def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        """See `RedisBackend.transact`."""
        return await self.multiplexer.run(
            self._say.transact(Transaction(guards, puts, deletes, members, publish)), timeout
        )

    async def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        """See `RedisBackend.delete`."""
        return await self.multiplexer.run(self._say.delete(keys), self._backend._for_batches(keys, timeout))

    async def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        """See `RedisBackend.scan`."""
        return await self.multiplexer.run(self._say.scan(prefix, cursor), timeout)

    async def ping(self, *, timeout: float | None = None) -> None:
        """See `RedisBackend.ping`."""
        await self.multiplexer.run(self._say.ping(), timeout)

    async def members(self, key: str, *, timeout: float | None = None) -> set[str]:
        """See `RedisBackend.members`."""
        return await self.multiplexer.run(self._say.members(key), timeout)

    async def prolong(self, lives: Sequence[tuple[str, int]], *, timeout: float | None = None) -> None:
        """See `RedisBackend.prolong`."""
        await self.multiplexer.run(self._say.prolong(lives), timeout)

    async def tally(self, tallies: Sequence[Tally], *, timeout: float | None = None) -> None:
        """See `RedisBackend.tally`."""
        await self.multiplexer.run(self._say.tally(tallies), timeout)

    async def counts(self, keys: Sequence[str], *, timeout: float | None = None) -> list[dict[str, int]]:
        """See `RedisBackend.counts`."""
        return await self.multiplexer.run(self._say.counts(keys), timeout)

    async def facts(self, *, timeout: float | None = None) -> BackendFacts:
        """See `RedisBackend.facts`."""
        return await self.multiplexer.run(self._say.facts(), timeout)

    async def close(self) -> None:
        """Close the running loop's connections; those of threads and other loops stay."""
        self.multiplexer.close_here()
