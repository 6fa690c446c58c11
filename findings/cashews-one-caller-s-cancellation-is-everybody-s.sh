#!/usr/bin/env bash
# Most would guess: with lock=True one caller computes and the others wait; when the first is cancelled,
#   another takes over or computes for itself.
# What is true: in cashews 7.6.0 the second caller, whom nobody cancelled, gets CancelledError as well.
# Why it matters to a cache: one client that hangs up takes down every request that waits for the same value.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check cashews==7.6.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import asyncio
from importlib.metadata import version
from cashews import cache

print("cashews", version("cashews"))
cache.setup("mem://")
calls = []

@cache(ttl="1m", lock=True)
async def slow(x):
    calls.append(x)
    await asyncio.sleep(0.3)
    return x

async def main():
    first, second = asyncio.create_task(slow(1)), asyncio.create_task(slow(1))
    await asyncio.sleep(0.1)
    first.cancel()
    done, _ = await asyncio.wait([second], timeout=5)
    assert done
    return "CancelledError" if second.cancelled() else second.result()

seen = asyncio.run(main())
print("guess: the second caller gets 1")
print("seen:  the second caller gets", seen, "after", len(calls), "call(s) of the function")
assert seen == "CancelledError"
PY
