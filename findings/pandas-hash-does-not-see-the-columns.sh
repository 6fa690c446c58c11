#!/usr/bin/env bash
# Most would guess: pandas.util.hash_pandas_object of a frame is a fingerprint of the frame.
# What is true: names of columns take no part, nor do most types: {a: 1} and {b: 1}, True and 1, "1" and the
#   object 1 all agree.
# Why it matters to a cache: it is the digest that recipes for caching functions of frames recommend; two
#   frames with swapped column names are one key.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import pandas as pd
from pandas.util import hash_pandas_object as digest

print("pandas", pd.__version__)
pairs = {
    "columns a, b / b, a": (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [1], "a": [2]})),
    "True, False / 1, 0": (pd.Series([True, False]), pd.Series([1, 0])),
    "text 1 / object 1": (pd.Series(["1"]), pd.Series([1], dtype=object)),
    "1, 2 / 1.0, 2.0": (pd.Series([1, 2]), pd.Series([1.0, 2.0])),
}
seen = []
for name, (left, right) in pairs.items():
    seen.append(digest(left).tolist() == digest(right).tolist())
    print(f"{name:22} guess: apart   seen: {'the same' if seen[-1] else 'apart'}")
assert seen == [True, True, True, False]
PY
