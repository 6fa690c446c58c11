#!/usr/bin/env bash
# Most would guess: a decorator that caches by arguments tells None from "" and 1 from "1".
# What is true: arguments are formatted into a text: 1 and "1" share an entry, and so do None and "".
# Why it matters to a cache: f("") answers what f(None) computed: no filter given is served as the empty
#   filter, or the other way round, by who came first.
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

@cache(ttl="1m")
async def shown(x):
    return repr(x)

async def main():
    return [await shown(x) for x in (None, "", 1, "1")]

seen = asyncio.run(main())
print("guess:", [repr(x) for x in (None, "", 1, "1")])
print("seen: ", seen)
assert seen == ["None", "None", "1", "1"]
PY
