"""What memocache says to a Redis or Valkey server, written once for both colours.

Each operation is a generator (`memocache.backends._redis.resp.Op`): it yields an `Ask` (bytes, number of replies), is
sent the replies and returns its result. It does no I/O; a pool, a multiplexer or a cluster's node carries it out and
decides how to wait. Error replies arrive as values. An error raised here ends the operation, and a `ProtocolError` the
connection too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from memocache.backends._redis.combinators import confirmed
from memocache.backends._redis.resp import Ask, Op, command_bytes, int_reply, unexpected, values
from memocache.backends._redis.scripts import (
    TALLY,
    TALLY_SHA,
    TRANSACT,
    TRANSACT_SHA,
    TRANSACT_SHARDED,
    TRANSACT_SHARDED_SHA,
)
from memocache.backends.base import ProtocolError, ReplyError, holds
from memocache.typing import BackendFacts, Guard, Once, Put, Tally


class Transaction(NamedTuple):
    """The arguments of `memocache.typing.Backend.transact`, as they go from hand to hand."""

    guards: Sequence[Guard]
    puts: Sequence[Put] = ()
    deletes: Sequence[str] = ()
    members: Sequence[tuple[str, str]] = ()
    publish: str | None = None

    def keys(self) -> Iterator[str]:
        """Every key that it names, in the order of the script's KEYS."""
        yield from (guard.key for guard in self.guards)
        yield from (put.key for put in self.puts)
        yield from self.deletes
        yield from (key for key, _ in self.members)


T = TypeVar("T")
_BATCH = 1000
_NUMBER = re.compile(r"-?[0-9]{1,19}")


class Commands:
    """The operations of `memocache.typing.Backend`; remembers only whether this server lets us run scripts.

    `sharded` ones publish within a shard of a cluster. `wait` is for how many replicas to wait after a delete, and for
    how many milliseconds at most.
    """

    def __init__(self, *, sharded: bool = False, wait: tuple[int, int] | None = None) -> None:
        self.scripts = True
        self._wait = wait
        self._sharded = sharded
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._script, self._sha = (TRANSACT_SHARDED, TRANSACT_SHARDED_SHA) if sharded else (TRANSACT, TRANSACT_SHA)

    def read(self, keys: Sequence[str]) -> Op[list[bytes | None]]:
        """MGET: a key of another type counts as absent."""
        if not keys:
            return []
        (reply,) = yield Ask(command_bytes("MGET", *keys), 1, harmless=True)
        return values(reply, len(keys))

    def transact(self, asked: Transaction) -> Op[list[bytes | None] | None]:
        """EVALSHA, then EVAL if the server has not seen the script; WATCH and MULTI where scripts are refused."""
        if self.scripts:
            rest = _script_arguments(asked)
            (reply,) = yield Ask(command_bytes("EVALSHA", self._sha, *rest), 1)
            if _unknown_script(reply):
                (reply,) = yield Ask(command_bytes("EVAL", self._script, *rest), 1)
            if not _scripts_refused(reply):
                return None if reply == 1 and type(reply) is int else values(reply, len(asked.guards))
            self.scripts = False
        return (yield from self._transact_without_scripts(asked))

    def _transact_without_scripts(self, asked: Transaction) -> Op[list[bytes | None] | None]:
        guards, puts, deletes, members, publish = asked
        keys = [guard.key for guard in guards]
        writes = [
            command_bytes("SET", put.key, put.value, *(() if put.ttl_ms is None else ("PX", put.ttl_ms)))
            for put in puts
        ]
        if deletes:
            writes.append(command_bytes("UNLINK", *deletes))
        writes += [command_bytes("SADD", key, member) for key, member in members]
        while True:
            if guards:
                watched, reply = yield Ask(
                    command_bytes("WATCH", *keys) + command_bytes("MGET", *keys), 2, session=True
                )
                if watched != b"OK":
                    raise unexpected(watched)
                found = values(reply, len(keys))
                if not all(map(holds, guards, found)):
                    yield Ask(command_bytes("UNWATCH"), 1, session=True)
                    return found
            payload = b"".join((command_bytes("MULTI"), *writes, command_bytes("EXEC")))
            *queued, done = yield Ask(payload, len(writes) + 2, session=True)
            for reply in queued:
                if isinstance(reply, ReplyError):
                    raise reply  # the cause (OOM, say): EXEC itself only says EXECABORT
            if done is not None:
                break  # nil: another client came between; look again
        if not isinstance(done, list) or len(done) != len(writes):
            raise unexpected(done)
        for (key, member), reply in zip(members, done[len(done) - len(members) :], strict=True):
            if isinstance(reply, ReplyError) and reply.code == "WRONGTYPE":
                yield Ask(command_bytes("UNLINK", key) + command_bytes("SADD", key, member), 2)
        if publish:
            channels = publish.split("\n")
            payload = b"".join([command_bytes(self._publish, channel, b"") for channel in channels])
            yield Ask(payload, len(channels))  # refused by ACL or not: the writes are done
        return None

    def delete(self, keys: Sequence[str]) -> Op[int]:
        """UNLINK in batches of 1,000, which is one round trip for most; each is followed by WAIT where that is asked
        for.
        """
        return self.unconfirmed_delete(keys) if self._wait is None else self.confirmed(self.unconfirmed_delete(keys))

    def confirmed(self, op: Op[T]) -> Op[T]:
        """An operation that removes keys, with WAIT after each step."""
        assert self._wait is not None
        return confirmed(op, *self._wait)

    def unconfirmed_delete(self, keys: Sequence[str]) -> Op[int]:
        """As `delete`, for who waits for the replicas of several together."""
        total = 0
        for batch in _batches(keys):
            nudge = self._nudge(batch[0]) if self._wait is not None else None
            (reply,) = yield Ask(command_bytes("UNLINK", *batch), 1, nudge=nudge)
            total += int_reply(reply)
        return total

    def _nudge(self, key: str) -> Ask:
        """A message that nobody hears: replicas are told of it, and a full server takes it. In a cluster messages go
        another way, so there it is a key beside `key`, for a second.
        """
        if not self._sharded:
            return Ask(command_bytes("PUBLISH", key, b""), 1)
        beside = f"{key}:wait" if "{" in key else f"{{{key}}}:wait"
        return Ask(command_bytes("SET", beside, b"", "PX", 1000), 1)

    def scan(self, prefix: str, cursor: Any = None) -> Op[tuple[Any, list[str]]]:
        """One step of SCAN; keys that are not UTF-8 are none of ours and left out."""
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
        (reply,) = yield Ask(command_bytes("SCAN", cursor or 0, "MATCH", pattern, "COUNT", _BATCH), 1, harmless=True)
        if not isinstance(reply, list) or len(reply) != 2 or type(reply[0]) is not bytes or not reply[0].isdigit():
            raise unexpected(reply)
        return int(reply[0]) or None, [key for key in _texts(reply[1]) if key and key.startswith(prefix)]

    def ping(self) -> Op[None]:
        """PING."""
        (reply,) = yield Ask(command_bytes("PING"), 1, harmless=True)
        if reply != b"PONG":
            raise unexpected(reply)

    def members(self, key: str) -> Op[set[str]]:
        """SMEMBERS; a key of another type is the empty set."""
        (reply,) = yield Ask(command_bytes("SMEMBERS", key), 1, harmless=True)
        return set() if _wrong_type(reply) else {text for text in _texts(reply) if text is not None}

    def prolong(self, lives: Sequence[tuple[str, int]]) -> Op[None]:
        """PEXPIRE for each, 1,000 in a round trip."""
        for at in range(0, len(lives), _BATCH):
            some = lives[at : at + _BATCH]
            replies = yield Ask(b"".join([command_bytes("PEXPIRE", key, ttl) for key, ttl in some]), len(some))
            for reply in replies:
                int_reply(reply)

    def tally(self, tallies: Sequence[Tally]) -> Op[None]:
        """HINCRBY, HSET and PEXPIRE for each, in one round trip; a key of another type is replaced.

        Each step that must be taken once is a script, or a transaction where scripts are refused.
        """
        tallies = [one for one in tallies if one.adds or one.sets]
        yield from self._count([one for one in tallies if one.once is None])
        steps = [(once, list(step)) for once, step in groupby(tallies, attrgetter("once")) if once is not None]
        if steps and self.scripts:
            yield from self._count_by_script(steps)
        if not self.scripts:
            for once, step in steps:
                yield from self._count_by_transaction(once, step)

    def _count_by_script(self, steps: list[tuple[Once, list[Tally]]]) -> Op[None]:
        words = [_step_arguments(once, step) for once, step in steps]
        replies = yield Ask(b"".join(command_bytes("EVALSHA", TALLY_SHA, *rest) for rest in words), len(words))
        again = [rest for rest, reply in zip(words, replies, strict=True) if _unknown_script(reply)]
        if again:
            replies = [reply for reply in replies if not _unknown_script(reply)]
            replies += yield Ask(b"".join(command_bytes("EVAL", TALLY, *rest) for rest in again), len(again))
        if any(_scripts_refused(reply) for reply in replies):
            self.scripts = False
            return
        for reply in replies:
            int_reply(reply)

    def _count_by_transaction(self, once: Once, step: list[Tally]) -> Op[None]:
        watched, done = yield Ask(command_bytes("WATCH", once.key) + command_bytes("GET", once.key), 2, session=True)
        if watched != b"OK":
            raise unexpected(watched)
        if type(done) is bytes and _NUMBER.fullmatch(text := done.decode("latin-1")) and int(text) >= once.number:
            yield Ask(command_bytes("UNWATCH"), 1, session=True)
            return
        remember = command_bytes("SET", once.key, once.number, "PX", once.ttl_ms)
        payload = b"".join((command_bytes("MULTI"), remember, *(_tally(one)[0] for one in step), command_bytes("EXEC")))
        *queued, done = yield Ask(payload, 3 + sum(_tally(one)[1] for one in step), session=True)
        for reply in queued:
            if isinstance(reply, ReplyError):
                raise reply
        # nil: the step was taken meanwhile, by an earlier attempt that arrived late
        if done is not None and not isinstance(done, list):
            raise unexpected(done)
        wrong = {one.key for one, reply in zip(step, _firsts(step, done or [0]), strict=False) if _wrong_type(reply)}
        yield from self._count([one for one in step if one.key in wrong])

    def _count(self, tallies: Sequence[Tally]) -> Op[None]:
        if not tallies:
            return
        packed = [_tally(one) for one in tallies]
        replies = yield Ask(b"".join(words for words, _ in packed), sum(count for _, count in packed))
        again: list[tuple[bytes, int]] = []
        at = 0
        for one, (words, count) in zip(tallies, packed, strict=True):
            if _wrong_type(replies[at]):
                again.append((command_bytes("UNLINK", one.key) + words, count + 1))
            else:
                for reply in replies[at : at + count]:
                    int_reply(reply)
            at += count
        if again:
            replies = yield Ask(b"".join(words for words, _ in again), sum(count for _, count in again))
            for reply in replies:
                int_reply(reply)

    def counts(self, keys: Sequence[str]) -> Op[list[dict[str, int]]]:
        """HGETALL each; a key of another type has no counters, and fields that are not numbers are left out."""
        if not keys:
            return []
        replies = yield Ask(b"".join(command_bytes("HGETALL", key) for key in keys), len(keys))
        return [_counters(reply) for reply in replies]

    def facts(self) -> Op[BackendFacts]:
        """INFO; memory, expiries and evictions are those of the whole server, not of one prefix."""
        replies = yield Ask(
            command_bytes("INFO", "server") + command_bytes("INFO", "memory") + command_bytes("INFO", "stats"),
            3,
            harmless=True,
        )
        info = _info(replies)
        name = "valkey" if "valkey_version" in info else "redis"
        sizes = (info.get(field, "") for field in ("used_memory", "expired_keys", "evicted_keys"))
        memory, expired, evicted = (int(text) if text.isdigit() else None for text in sizes)
        return BackendFacts(name, info.get(f"{name}_version"), memory, expired, evicted)

    def checkup(self) -> Op[tuple[dict[str, str], dict[str, str] | None, str | None, float | None]]:
        """INFO, CONFIG GET, ACL WHOAMI and TIME; None for what is refused. Clocks as seconds the server's is ahead."""
        sections = ("server", "clients", "memory", "stats", "replication")
        asked = [command_bytes("INFO", section) for section in sections]
        asked += [command_bytes("CONFIG", "GET", "maxmemory*"), command_bytes("ACL", "WHOAMI"), command_bytes("TIME")]
        begun = time.time()
        *infos, config, whoami, clock = yield Ask(b"".join(asked), len(asked), harmless=True)
        middle = (begun + time.time()) / 2
        settings = None
        if isinstance(config, list):
            words = [word or "" for word in _texts(config)]
            settings = dict(zip(words[::2], words[1::2], strict=False))
        ahead = None
        if isinstance(clock, list) and len(clock) == 2:
            ahead = int(clock[0]) + int(clock[1]) / 1e6 - middle
        return _info(infos), settings, _text(whoami) if isinstance(whoami, bytes) else None, ahead


def _info(replies: Sequence[Any]) -> dict[str, str]:
    """The fields of INFO's replies; refused sections have none."""
    info: dict[str, str] = {}
    for reply in replies:
        if type(reply) is bytes:
            lines = reply.decode("utf-8", "replace").splitlines()
            info.update((name, text) for name, _, text in (line.partition(":") for line in lines))
        elif not isinstance(reply, ReplyError):
            raise unexpected(reply)
    return info


def _tally(one: Tally) -> tuple[bytes, int]:
    """The commands of one tally, and how many they are."""
    words = [command_bytes("HINCRBY", one.key, name, amount) for name, amount in one.adds.items()]
    if one.sets:
        words.append(command_bytes("HSET", one.key, *(word for pair in one.sets.items() for word in pair)))
    if words and one.ttl_ms is not None:
        words.append(command_bytes("PEXPIRE", one.key, one.ttl_ms))
    return b"".join(words), len(words)


def _firsts(step: Sequence[Tally], replies: list[Any]) -> Iterator[Any]:
    """The first reply to each tally of a transaction, whose own first was to remembering it."""
    at = 1
    for one in step:
        yield from replies[at : at + 1]
        at += _tally(one)[1]


def _step_arguments(once: Once, step: Sequence[Tally]) -> list[str | int]:
    words: list[str | int] = [1 + len(step), once.key, *(one.key for one in step), once.number, once.ttl_ms]
    for one in step:
        words += [len(one.adds), len(one.sets), "" if one.ttl_ms is None else one.ttl_ms]
        words += [word for pair in (*one.adds.items(), *one.sets.items()) for word in pair]
    return words


def _counters(reply: Any) -> dict[str, int]:
    if _wrong_type(reply):
        return {}
    words = _texts(reply)
    pairs = zip(words[::2], words[1::2], strict=False)
    return {name: int(text) for name, text in pairs if name and text and re.fullmatch(r"-?[0-9]{1,19}", text)}


def _script_arguments(asked: Transaction) -> list[str | bytes | int]:
    guards, puts, deletes, members, publish = asked
    words: list[str | bytes | int] = [len(guards) + len(puts) + len(deletes) + len(members)]
    words += asked.keys()
    words += [len(guards), len(puts), len(deletes), len(members), publish or b""]
    words += [b"a" if guard.head is None else b"h" + guard.head for guard in guards]
    for put in puts:
        words += [put.value, b"" if put.ttl_ms is None else put.ttl_ms]
    words += [member for _, member in members]
    return words


def _unknown_script(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "NOSCRIPT"


def _scripts_refused(reply: Any) -> bool:
    """Whether the server will not let us run scripts at all (rather than this one, now)."""
    if not isinstance(reply, ReplyError):
        return False
    return reply.code == "UNKNOWN" or (reply.code == "NOPERM" and "eval" in reply.text.lower())


def _wrong_type(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and reply.code == "WRONGTYPE"


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _BATCH):
        yield keys[start : start + _BATCH]


def _texts(reply: Any) -> list[str | None]:
    """Decode an array of strings; None for what is not UTF-8, which none of ours is."""
    if not isinstance(reply, list):
        raise unexpected(reply)
    return [_text(word) for word in reply]


def _text(word: Any) -> str | None:
    if type(word) is not bytes:
        raise ProtocolError("a reply that does not belong to the command")
    try:
        return word.decode()
    except UnicodeDecodeError:
        return None
