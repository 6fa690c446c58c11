#!/usr/bin/env bash
# Most would guess: model_copy(update=...) makes a model of the new fields; what a cached_property computed
#   from the old ones is not in it.
# What is true: the copy carries the computed value along: total of 2 pieces is still that of 1. The copy
#   compares equal to a model that computes the right one.
# Why it matters to a cache: a cached result that a caller adapts with model_copy answers for the entry it
#   came from, only if somebody had looked at the property before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
from functools import cached_property
import pydantic

print("pydantic", pydantic.VERSION)

class Order(pydantic.BaseModel, frozen=True):
    pieces: int

    @cached_property
    def total(self) -> int:
        return self.pieces * 10

one = Order(pieces=1)
untouched = one.model_copy(update={"pieces": 2}).total
one.total
touched = one.model_copy(update={"pieces": 2})
print("guess: 20 and 20")
print("seen: ", untouched, "and", touched.total, "- equal to a new Order(pieces=2):", touched == Order(pieces=2))
assert (untouched, touched.total, touched == Order(pieces=2)) == (20, 10, True)
PY
