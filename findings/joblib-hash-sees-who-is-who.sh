#!/usr/bin/env bash
# Most would guess: joblib.hash is of the content: equal lists have one hash.
# What is true: [x, x] and [[1], [1]] are equal and hash apart, since the pickle below notes that a part
#   occurs twice; equal strings are treated so that this does not show, so tests with strings pass.
# Why it matters to a cache: a memoized function recomputes when its caller builds the same rows in another
#   way.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check joblib==1.6.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import joblib

print("joblib", joblib.__version__)
row = [1]
twice, apart = [row, row], [[1], [1]]
assert twice == apart
text, same = "a b", "".join(["a", " b"])
print("guess: True True")
seen = joblib.hash(twice) == joblib.hash(apart), joblib.hash([text, text]) == joblib.hash([text, same])
print("seen: ", *seen, " (lists, strings)")
assert seen == (False, True)
PY
