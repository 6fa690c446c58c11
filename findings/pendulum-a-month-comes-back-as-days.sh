#!/usr/bin/env bash
# Most would guess: a pickled pendulum duration of a month is a month when it comes back: it compares equal,
#   after all.
# What is true: it comes back as 30 days, equal to the original (and to timedelta(30)) and with another
#   meaning: added to 31 January it gives another date.
# Why it matters to a cache: equality cannot be the test of a faithful round trip: a store by pickle passes it
#   and changes due dates.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pendulum==3.3.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import pickle
import pendulum

print("pendulum", pendulum.__version__)
month = pendulum.duration(months=1)
back = pickle.loads(pickle.dumps(month))
start = pendulum.date(2026, 3, 1)
print("guess: equal, and", start + month, "both times")
print("seen:  equal" if month == back else "seen:  unequal", "and", start + month, "before,", start + back, "after")
assert month == back and (start + month, start + back) == (pendulum.date(2026, 4, 1), pendulum.date(2026, 3, 31))
PY
