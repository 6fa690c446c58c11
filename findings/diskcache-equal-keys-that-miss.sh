#!/usr/bin/env bash
# Most would guess: a tuple is found again by an equal tuple.
# What is true: keys are pickled, and a pickle says which parts are one object: (s, s) and (s, an equal s) are
#   two keys.
# Why it matters to a cache: the same call misses or hits depending on whether its strings happen to be
#   interned, that is on where they came from.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check diskcache==5.6.3
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import tempfile
import diskcache

print("diskcache", diskcache.__version__)
with diskcache.Cache(tempfile.mkdtemp(dir=".")) as cache:
    text, same = "a b", "".join(["a", " b"])
    assert (text, text) == (text, same) and hash((text, text)) == hash((text, same))
    cache[(text, text)] = "value"
    seen = cache.get((text, text)), cache.get((text, same))
print("guess: ('value', 'value')")
print("seen: ", seen)
assert seen == ("value", None)
PY
