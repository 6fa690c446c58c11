#!/usr/bin/env bash
# Most would guess: a frame that Arrow accepts comes back from to_pandas() with the values it had; what it
#   cannot hold, it refuses.
# What is true: dicts in a column come back with the union of all keys, None in the gaps and ints made floats;
#   Decimals with the longest scale; keys and tuples in attrs as texts and lists; a set as a list. Nothing is
#   refused, nothing warned of.
# Why it matters to a cache: Parquet and Feather are taken for faithful stores of results; the second caller
#   of a cached function gets other rows than the first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
from decimal import Decimal
import pandas as pd
import pyarrow as pa

print("pandas", pd.__version__, "pyarrow", pa.__version__)
frame = pd.DataFrame({"d": [{"a": 1}, {"b": 2}], "n": [Decimal("1.0"), Decimal("1.125")]})
frame.attrs = {1: (2, 3)}
back = pa.Table.from_pandas(frame).to_pandas()
print("guess:", frame.d.tolist(), frame.n.tolist(), frame.attrs)
print("seen: ", back.d.tolist(), back.n.tolist(), back.attrs)
assert back.d.tolist() == [{"a": 1.0, "b": None}, {"a": None, "b": 2.0}]
assert [str(n) for n in back.n] == ["1.000", "1.125"]
assert back.attrs == {"1": [2, 3]}
PY
