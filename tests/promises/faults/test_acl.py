"""A user who has exactly the rights that docs/security.md lists: everything works, nothing is refused, none is idle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memocache import BackendError
from memocache.backends.redis import RedisBackend
from memocache.testing.servers import Server
from memocache.typing import Guard, Put
from tests.promises.faults.rig import Rig, until
from tests.promises.faults.surface import ARGUMENT, VALUE, Surface

DOCUMENT = Path(__file__).parents[3] / "docs" / "security.md"
LINES = re.findall(r"^ACL SETUSER (memocache .*)$", DOCUMENT.read_text(encoding="utf-8"), re.M)
PASSWORD = "a-password-of-the-test"


def test_both_lines_are_there() -> None:
    """The page has one line with scripts and one without, each limited to the prefix's keys and channels."""
    assert [("+eval " in line, "+evalsha " in line, "+watch " in line) for line in LINES] == [
        (True, True, False),
        (False, False, True),
    ]
    for line in LINES:
        assert re.fullmatch(r"memocache reset on >PASSWORD ~memo:\* &memo:\*( \+[a-z|]+)+", line)


@pytest.fixture(params=LINES, ids=["scripts", "no scripts"])
def limited(request: pytest.FixtureRequest, victim: Server) -> Iterator[tuple[str, str, Any]]:
    """The URL of a user made by the page's line, the line, and an administrator's client."""
    line = request.param.replace("PASSWORD", PASSWORD)
    with victim.client() as admin:
        admin.execute_command("ACL", "SETUSER", *line.split())
        admin.execute_command("ACL", "LOG", "RESET")
        admin.config_resetstat()
        yield f"redis://memocache:{PASSWORD}@127.0.0.1:{victim.port}/0", line, admin


def denied(admin: Any) -> list[str]:
    """What the server has refused, as its log has it."""
    return [f"{entry['reason']} {entry['object']}" for entry in admin.acl_log()]


def test_exactly_these_rights(rig: Rig, limited: tuple[str, str, Any], leisure: Callable[[str], str]) -> None:
    """Every public operation in both colours, pub/sub included: the server logs no refusal (but the one by which
    memocache learns that it may run no scripts), and every command of the line was used.
    """
    url, line, admin = limited
    surface = Surface(rig, leisure(url))
    surface.drive()
    hear_and_publish(url, admin)
    surface.ask("close")
    scripts = "+eval " in line
    refused = denied(admin)
    assert set(refused) == (set() if scripts else {"command evalsha"}), refused
    granted = {word[1:] for word in line.split() if word.startswith("+")}
    used = {name.removeprefix("cmdstat_") for name in admin.info("commandstats")}
    assert granted - used == set()


def hear_and_publish(url: str, admin: Any) -> None:
    """Wait on a channel of the prefix and be woken by a store, as one process is by another; come too late to store."""
    backend = RedisBackend.from_url(url)
    woken: list[int] = []
    stop = backend.subscribe("memo:c:f:0", lambda: woken.append(1))
    assert stop is not None
    until(lambda: woken)
    backend.transact([], [Put("memo:e:f:0", b"", 1000)], publish="memo:c:f:0")
    until(lambda: len(woken) > 1)
    # what another process changed meanwhile: nothing is stored, and the keys are watched no longer
    assert backend.transact([Guard("memo:e:f:0", b"another")], [Put("memo:e:f:0", b"late", 1000)]) == [b""]
    stop()
    until(lambda: "cmdstat_unsubscribe" in admin.info("commandstats"))  # sent by the listener's thread
    backend.delete(["memo:e:f:0"])
    backend.close()


def test_nothing_beyond(limited: tuple[str, str, Any], victim: Server) -> None:
    """The user reaches no other prefix, not even one that begins alike, no other channel, and no command that is not in
    the line.
    """
    from redis.exceptions import NoPermissionError, ResponseError

    _, line, admin = limited
    for key in ("memory:e:f:0", "other", "memo"):
        admin.set(key, VALUE)
    granted = {word[1:] for word in line.split() if word.startswith("+")}
    with victim.client(username="memocache", password=PASSWORD) as user:
        assert user.ping()
        for words in (
            ("MGET", "memory:e:f:0"), ("MGET", "memo:e:f:0", "other"), ("SET", "other", ARGUMENT), ("UNLINK", "memo"),
            ("PUBLISH", "memory:c:f", ""), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("KEYS", "*"),
            ("ACL", "LIST"), ("MONITOR",), ("SCRIPT", "FLUSH"), ("CLIENT", "LIST"),
        ):  # fmt: skip
            with pytest.raises(NoPermissionError):
                user.execute_command(*words)
        if "eval" in granted:
            for script in ("return redis.call('GET', 'other')", "return redis.call('FLUSHALL')"):
                with pytest.raises(ResponseError):
                    user.execute_command("EVAL", script, 0)
    assert admin.get("other") == VALUE.encode()


@pytest.mark.parametrize("limited", LINES[:1], indirect=True, ids=["scripts"])
@pytest.mark.parametrize("missing", ["scan", "info", "publish", "subscribe"])
def test_what_may_be_left_out(
    rig: Rig, limited: tuple[str, str, Any], leisure: Callable[[str], str], missing: str
) -> None:
    """What the page says of a user without SCAN, INFO, PUBLISH or SUBSCRIBE: decorated calls and invalidation go on."""
    url, _, admin = limited
    admin.execute_command("ACL", "SETUSER", "memocache", f"-{missing}")
    surface = Surface(rig, leisure(url))
    f = surface.function(surface.cache, "f", tags=["t"])
    for _ in range(2):
        rig.call(f, 1)
    assert f.cache_info()[:2] == (1, 1)
    surface.act(f, "invalidate", 1)
    surface.ask("invalidate", tag="t")
    assert surface.ask("health").ok
    if missing == "scan":
        for operation, arguments in (("purge", ()), ("invalidate", ("f*",))):
            surface.refused(BackendError, lambda name=operation, args=arguments: surface.ask(name, *args))
        surface.refused(BackendError, lambda: next(iter(surface.cache.keys())))
        stats = surface.ask("stats")
        assert stats.total_keys is None
        assert stats.misses == 1
    else:
        surface.ask("invalidate", "f*")
        stats = surface.ask("stats")
        assert (stats.memory_usage_bytes is None) is (missing == "info")
        surface.ask("purge")
