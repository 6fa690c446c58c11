#!/usr/bin/env bash
# Most would guess: with strict_types=True msgpack writes exactly its own types and asks `default` about
#   everything else, so about Python 3.15's frozendict too.
# What is true: a frozendict is written as a map and `default` is never asked; a subclass of it is asked
#   about. It comes back as a dict, so a set that held one cannot be read again.
# Why it matters to a cache: strict_types is what stores use to be told of every value that would come back as
#   something else.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! command -v "${PYTHON:-python3.15}" >/dev/null; then
    echo "needs Python 3.15 (PYTHON=... names it)" >&2
    exit 2
fi
"${PYTHON:-python3.15}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check msgpack==1.2.4
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import msgpack

print("msgpack", ".".join(map(str, msgpack.version)))
asked = []
def default(value):
    asked.append(type(value).__name__)
    return "asked"
class Own(frozendict):
    pass
pack = msgpack.Packer(strict_types=True, default=default).pack
seen = [msgpack.unpackb(pack(value)) for value in (frozendict(a=1), Own(a=1), (1,))]
print("guess: ['asked', 'asked', 'asked']")
print("seen: ", seen, "asked about:", asked)
assert seen == [{"a": 1}, "asked", "asked"] and asked == ["Own", "tuple"]
PY
