#!/usr/bin/env bash
# Most would guess: dateutil.tz.UTC equals datetime.timezone.utc, and zones that are equal can be looked up in
#   a dict.
# What is true: it equals its own tzoffset of 0 under any name, and not the standard library's UTC; zones read
#   from files are equal and have no hash at all.
# Why it matters to a cache: a key made of the zone itself splits one UTC into two entries and raises
#   TypeError for Paris, while the datetimes that hold these zones compare equal and hash well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check python-dateutil==4.0.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
from datetime import datetime, timezone
from importlib.metadata import version
from dateutil import tz

print("python-dateutil", version("python-dateutil"))
seen = tz.UTC == timezone.utc, tz.UTC == tz.tzoffset("anything", 0)
print("guess: UTC == timezone.utc True, UTC == tzoffset('anything', 0) False")
print("seen: ", *seen)
try:
    hash(tz.gettz("Europe/Paris"))
    paris = "has a hash"
except TypeError as error:
    paris = str(error)
print("a zone of a file:", paris)
moments = datetime(2026, 1, 1, tzinfo=tz.UTC), datetime(2026, 1, 1, tzinfo=timezone.utc)
print("the moments are equal:", moments[0] == moments[1], "and have one hash:", hash(moments[0]) == hash(moments[1]))
assert seen == (False, True) and "unhashable" in paris
assert moments[0] == moments[1] and hash(moments[0]) == hash(moments[1])
PY
