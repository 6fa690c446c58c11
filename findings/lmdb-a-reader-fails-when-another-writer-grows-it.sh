#!/usr/bin/env bash
# Most would guess: map_size is a limit of the writer; a process that only reads sees what others committed,
#   however large the file has become.
# What is true: once another process that opened with a larger map_size has written past mine, my next read
#   transaction raises MapResizedError, until set_mapsize(0).
# Why it matters to a cache: during a rolling deploy that raises the limit, the processes of the old release
#   fail on reads, not on writes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check lmdb==3.0.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import subprocess
import sys
import lmdb

print("py-lmdb", lmdb.__version__, "LMDB", ".".join(map(str, lmdb.version())))
WRITER = (
    "import lmdb\n"
    "env = lmdb.open('store', map_size=1 << 25)\n"
    "with env.begin(write=True) as t:\n"
    "    for i in range(300):\n"
    "        t.put(b'k%d' % i, bytes(10_000))\n"
    "env.close()\n"
)
env = lmdb.open("store", map_size=1 << 20)
with env.begin(write=True) as t:
    t.put(b"mine", b"1")
subprocess.run([sys.executable, "-c", WRITER], check=True)
print("guess: b'1'")
try:
    with env.begin() as t:
        seen = t.get(b"mine")
except lmdb.MapResizedError as error:
    seen = type(error).__name__
print("seen: ", seen)
env.set_mapsize(0)
with env.begin() as t:
    print("after set_mapsize(0):", t.get(b"mine"))
    assert seen == "MapResizedError" and t.get(b"mine") == b"1"
env.close()
PY
