"""Arrays and frames of 10 MB as arguments: at what speed a hit tells which of them it was given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from hashlib import blake2b, sha256
from typing import Any

from benchmarks._loops import contender
from benchmarks._measure import Bench, Contender, Panel, Sample, Suite
from benchmarks._units import SPEED

FRAMES = "frames of 10 MB"
BASE = "SHA-256 of bytes"
_COLUMNS = 10
_TEXTS = 5_000


def _size(value: Any) -> int:
    """Bytes of a value; those of a frame are of its Arrow table."""
    if not hasattr(value, "columns"):
        return int(value.nbytes)
    import pyarrow as pa

    if type(value).__module__.startswith("polars"):
        value = value.to_arrow()
    elif type(value).__module__.startswith("pandas"):
        value = pa.Table.from_pandas(value, preserve_index=False)
    return int(value.nbytes)


def _numbers(cells: int) -> Any:
    import numpy as np

    return np.random.default_rng(1).random(cells)


def _texts(rows: int) -> Any:
    import numpy as np

    words = np.array([f"word {number:06d}" for number in range(_TEXTS)], object)
    return words[np.random.default_rng(2).integers(0, _TEXTS, rows)]


def _pandas_numbers(size: int, columns: int = _COLUMNS) -> Any:
    import pandas as pd

    return pd.DataFrame(_numbers(size // 8).reshape(columns, -1).T)


def _pandas_nulls(size: int) -> Any:
    import pandas as pd

    numbers = pd.array((_numbers(size // 8) * 100).astype("i8"), dtype="Int64")
    numbers[::10] = pd.NA
    return pd.DataFrame({"number": numbers})


def _pandas_texts(size: int, dtype: str = "str") -> Any:
    import pandas as pd

    return pd.DataFrame({"word": pd.Series(_texts(size // 20), dtype=dtype)})


def _pandas_mixed(size: int) -> Any:
    import pandas as pd

    rows = size // 44
    numbers, words = _numbers(2 * rows).reshape(2, -1), pd.Series(_texts(rows), dtype="str")
    whole = (numbers[0] * 100).astype("i8")
    days = pd.date_range("2026", periods=rows, freq="s")
    return pd.DataFrame({"a": numbers[0], "b": whole, "day": days, "word": words, "yes": numbers[1] > 0.5})


def _polars(make: Callable[[int], Any]) -> Callable[[int], Any]:
    def made(size: int) -> Any:
        import polars as pl

        return pl.from_pandas(make(size).rename(columns=str))

    return made


def _arrow(make: Callable[[int], Any]) -> Callable[[int], Any]:
    def made(size: int) -> Any:
        import pyarrow as pa

        return pa.Table.from_pandas(make(size).rename(columns=str), preserve_index=False)

    return made


def _tensor(size: int) -> Any:
    import torch

    return torch.from_numpy(_numbers(size // 8).astype("f4").repeat(2))


def _speed(name: str, make: Callable[[int], Any], hashed: Callable[[Any], object] | None, *, peer: bool) -> Contender:
    """How many bytes a second `hashed` goes through, or a hit in the process where there is no such function."""

    @contender(name, peer=peer)
    def setup(bench: Bench) -> Iterator[Sample]:
        from memocache import Cache

        value = make(bench.effort.pick(full=10_000_000, quick=10_000_000, tiny=1_000_000))
        with Cache("memory://") as cache:
            function: Any = hashed or cache.cached(lambda argument: 1, name=name)
            size = len(value) if type(value) is bytes else _size(value)
            function(value)

            def sample(number: int) -> float:
                # of the process: libraries have threads of their own, and waiting for a turn is not work
                start = time.process_time()
                for _ in range(number):
                    function(value)
                return number * size / (time.process_time() - start)

            yield sample

    return setup


def _ours(name: str, make: Callable[[int], Any]) -> Contender:
    return _speed(name, make, None, peer=False)


def _joblib(name: str, make: Callable[[int], Any]) -> Contender:
    def hashed(value: Any) -> object:
        import joblib

        return joblib.hash(value)

    return _speed(f"joblib.hash, {name}", make, hashed, peer=True)


def _panels(bench: Bench) -> Iterator[Panel]:
    base = _speed(BASE, bytes, lambda value: sha256(value).digest(), peer=False)
    yield Panel(
        "arrays of 10 MB",
        base=BASE,
        contenders=(
            base,
            _speed("BLAKE2b of bytes", bytes, lambda value: blake2b(value).digest(), peer=False),
            _ours("numpy", lambda size: _numbers(size // 8)),
            _ours("numpy, transposed", lambda size: _numbers(size // 8).reshape(_COLUMNS, -1).T),
            _ours("torch", _tensor),
            _joblib("numpy", lambda size: _numbers(size // 8)),
        ),
        unit=SPEED,
    )
    yield Panel(
        FRAMES,
        base=BASE,
        contenders=(
            base,
            _ours("pandas, numbers", _pandas_numbers),
            _ours("pandas, 1,000 columns", lambda size: _pandas_numbers(size, 1_000)),
            _ours("pandas, Int64 with nulls", _pandas_nulls),
            _ours("pandas, texts", _pandas_texts),
            _ours("pandas, mixed", _pandas_mixed),
            _ours("polars, numbers", _polars(_pandas_numbers)),
            _ours("polars, nulls", _polars(_pandas_nulls)),
            _ours("polars, texts", _polars(_pandas_texts)),
            _ours("polars, mixed", _polars(_pandas_mixed)),
            _ours("Arrow, numbers", _arrow(_pandas_numbers)),
            _ours("Arrow, nulls", _arrow(_pandas_nulls)),
            _ours("Arrow, texts", _arrow(_pandas_texts)),
            _ours("Arrow, mixed", _arrow(_pandas_mixed)),
            _joblib("pandas, mixed", _pandas_mixed),
        ),
        unit=SPEED,
    )
    yield Panel(
        "texts as Python objects, 10 MB",
        base=BASE,
        contenders=(base, _ours("pandas, object", lambda size: _pandas_texts(size, "object"))),
        unit=SPEED,
    )


SUITE = Suite(
    name="arguments",
    about="arrays and frames of 10 MB as arguments of a hit in the process",
    counted="bytes of the argument (of a frame, of its Arrow table) by processor time of a hit",
    panels=_panels,
)
