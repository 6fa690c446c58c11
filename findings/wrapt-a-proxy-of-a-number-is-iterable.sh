#!/usr/bin/env bash
# Most would guess: a transparent proxy has the methods of what it wraps: one around an int has no __iter__.
# What is true: wrapt 2's ObjectProxy always has one, so isinstance(proxy, Iterable) is True and iter(proxy)
#   fails; BaseObjectProxy has none.
# Why it matters to a cache: code that sorts results into containers and scalars by abstract base classes
#   takes a wrapped number for something that can be used up.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check wrapt==2.5.2
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
from collections.abc import Iterable
from importlib.metadata import version
import wrapt

print("wrapt", version("wrapt"))
proxy = wrapt.ObjectProxy(1)
print("guess: isinstance(proxy, int) True, isinstance(proxy, Iterable) False")
seen = isinstance(proxy, int), isinstance(proxy, Iterable)
print("seen:  isinstance(proxy, int)", seen[0], "isinstance(proxy, Iterable)", seen[1])
try:
    iter(proxy)
except TypeError as error:
    print("iter(proxy):", error)
else:
    raise SystemExit("iter() works now")
base = isinstance(wrapt.BaseObjectProxy(1), Iterable)
print("BaseObjectProxy:", base)
assert seen == (True, True) and not base
PY
