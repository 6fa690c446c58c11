"""numpy arrays of the types that ml_dtypes brings: as values, as arguments, and where the library is not loaded."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from memocache._calls.keys.canonical import canonical
from memocache.codecs import Codec
from memocache.codecs.arrays import NARROW_TYPES
from memocache.exceptions import DecodeError

np: Any = pytest.importorskip("numpy")
ml_dtypes: Any = pytest.importorskip("ml_dtypes")
TYPES = sorted(name for name in NARROW_TYPES if hasattr(ml_dtypes, name))


@pytest.mark.parametrize("name", TYPES)
def test_an_array_comes_back(name: str) -> None:
    """Equal, of the same type and of the same bytes: plain, transposed, as a field, as a dtype."""
    dtype, codec = np.dtype(getattr(ml_dtypes, name)), Codec()
    plain = np.array([[1, 1], [0, 1]], dtype)
    for value in (plain, plain.T, plain[:0], np.zeros(2, [("a", dtype), ("b", "<i4")])):
        again: Any = codec.decode(codec.encode(value))
        assert again.dtype == value.dtype
        assert again.shape == value.shape
        assert again.tobytes() == value.tobytes()
    assert codec.decode(codec.encode(dtype)) == dtype


def test_arrays_are_arguments() -> None:
    """Known by type, shape and content."""
    made = [np.array([1, 1], getattr(ml_dtypes, name)) for name in TYPES]
    made += [np.array([1, 0], ml_dtypes.bfloat16), np.array([[1, 1]], ml_dtypes.bfloat16), np.array([1, 1], "<u2")]
    keys = [canonical(value) for value in made]
    assert len(set(keys)) == len(keys)
    assert keys == [canonical(value.copy()) for value in made]


def test_nothing_is_imported_for_a_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the program has not imported ml_dtypes its arrays are misses; names out of the table are so always."""
    payload = Codec().encode(np.array([1], ml_dtypes.bfloat16))
    with pytest.raises(DecodeError):
        Codec().decode(payload.replace(b"bfloat16", b"finfo_16"))
    monkeypatch.delitem(sys.modules, "ml_dtypes")
    with pytest.raises(DecodeError, match="not loaded"):
        Codec().decode(payload)
    assert "ml_dtypes" not in sys.modules
