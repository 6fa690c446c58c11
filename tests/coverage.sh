#!/usr/bin/env bash
# Branch coverage of what decides which value is served: prints what is not reached and fails under 100 %.
# `tests/coverage.sh [pytest's arguments]`; PYTHON names the interpreter (default: python3). Configured in pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export COVERAGE_FILE="$scratch/data" MEMOCACHE_WORLDS=all
python=${PYTHON:-python3}

if [[ $# -eq 0 ]]; then
    set -- tests/runtime tests/calls tests/stores tests/codecs tests/backends tests/house tests/promises/{behaviour,flight,invalidation,bulk,statistics,near,faults}
fi
# Left out: tests that raise from a signal handler between any two bytecodes, for one of those may be coverage's own and
# leave its lock held for ever; one that asks what an interpreter has imported, which coverage adds to; type checkers.
"$python" -m coverage run -m pytest -q -p no:cacheprovider "$@" \
    --ignore tests/promises/flight/test_interrupts.py \
    --ignore tests/house/test_typing.py \
    --deselect tests/backends/contract/test_redis_transport.py::test_interrupted_calls_spoil_nothing \
    --deselect tests/codecs/test_codec.py::test_nothing_optional_is_imported
"$python" -m coverage combine -q
"$python" -m coverage report
