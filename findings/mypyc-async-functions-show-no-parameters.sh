#!/usr/bin/env bash
# Most would guess: inspect.signature says of a function compiled by mypyc what it says of the Python
#   function.
# What is true: it does for def; a compiled async def shows (), though it takes its arguments and fails
#   without them.
# Why it matters to a cache: a decorator that binds calls by the shown signature refuses every call of the
#   compiled function, or keys all calls alike.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mypy==2.4.1 setuptools==80.9.0
cd "$work"
"$work/venv/bin/python" -I - <<'PY'
import asyncio
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

print("mypy", version("mypy"))
Path("compiled.py").write_text(
    "def plain(x: int) -> int:\n    return x\nasync def later(x: int) -> int:\n    return x\n"
)
subprocess.run([sys.executable, "-m", "mypyc", "compiled.py"], check=True, capture_output=True)
sys.path.insert(0, ".")
import compiled

seen = str(inspect.signature(compiled.plain)), str(inspect.signature(compiled.later))
print("guess: (x) and (x)")
print("seen: ", *seen, " - and later(1) gives", asyncio.run(compiled.later(1)))
assert seen == ("(x)", "()") and compiled.__file__.endswith(".so")
PY
