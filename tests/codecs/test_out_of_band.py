"""Large arrays apart from the rest of a payload: what is put aside, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from memocache.codecs.codec import Codec
from memocache.codecs.out_of_band import LEAST_BYTES
from memocache.exceptions import DecodeError, EncodeError

np = pytest.importorskip("numpy")
LARGE = LEAST_BYTES // 8


def same(one: Any, other: Any) -> bool:
    """Equality that looks into arrays."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(np.all(one == other))


@pytest.mark.parametrize(
    ("value", "pieces"),
    [
        (None, 1),
        ("text" * LARGE, 1),
        ([1, 2, {"a": (3,)}], 1),
        ((1, 2), 2),
        ([np.arange(LARGE - 1)], 1),
        ([np.array([None, "x"] * LARGE, object)], 1),
        ([np.arange(LARGE)], 5),
        ({"a": np.arange(LARGE), "b": [np.arange(LARGE + 1), (np.arange(3),)]}, 7),
        ([np.arange(LARGE), np.arange(LARGE)], 5),
        (["\ud800", np.arange(LARGE)], 5),
        (np.arange(LARGE), 4),
    ],
)
def test_what_is_put_aside_comes_back(value: Any, pieces: int) -> None:
    """A value in pieces decodes to what it was; only large arrays inside others are put aside, equal ones once."""
    codec = Codec()
    made = codec.encode_pieces(value)
    assert len(made) == pieces
    assert same(codec.decode(b"".join(made)), value)


def test_arrays_live_in_a_writable_payload() -> None:
    """Read from a writable payload, which is the reader's own, arrays are not copied, but for the second of two equal
    ones; from bytes all are.
    """
    codec = Codec()
    array = np.arange(LARGE)
    payload = bytearray(b"".join(codec.encode_pieces([array, array.copy()])))
    held = np.frombuffer(payload, np.uint8)
    first, second = codec.decode(memoryview(payload))  # type: ignore[misc]  # a list
    assert np.shares_memory(first, held)
    assert not np.shares_memory(second, held)
    copied, _ = codec.decode(bytes(payload))  # type: ignore[misc]
    assert copied.flags.owndata
    copied[0] = first[0] = 7
    assert second[0] == 0


def test_missing_elements_are_refused() -> None:
    """A payload cut short, or whose arrays say that their elements lie elsewhere, is refused."""
    codec = Codec()
    made = list(codec.encode_pieces([np.arange(LARGE)]))
    with pytest.raises(DecodeError):
        codec.decode(b"".join(made)[:-100])
    shorter = [*made[:3], bytes(made[3])[:5000], *made[4:]]
    header = bytes(made[0])
    size = sum(map(len, shorter[1:]))
    with pytest.raises(DecodeError, match="elements are missing"):
        codec.decode(b"".join([header[:1] + size.to_bytes(4) + header[5:], *shorter[1:]]))
    with pytest.raises(DecodeError):
        codec.decode(codec.encode([np.arange(3)]).replace(b"\x30", b"\x32"))


def test_what_is_too_large_is_refused_in_pieces_too() -> None:
    """The bound in bytes holds for all pieces together, and what cannot be stored is refused as ever."""
    with pytest.raises(EncodeError, match="bytes"):
        Codec(max_bytes=LEAST_BYTES).encode_pieces([np.arange(LARGE), 1])
    with pytest.raises(EncodeError, match="cannot be stored"):
        Codec().encode_pieces([np.arange(LARGE), object()])


def test_nesting_is_bounded_where_arrays_stand_apart() -> None:
    """What a codec writes it reads, and a payload of more than `max_depth` levels around an array is refused."""
    deeper, codec = Codec(max_depth=40), Codec(max_depth=20)
    for levels, fits in ((18, True), (20, False)):
        value: Any = np.arange(LARGE)
        for _ in range(levels):
            value = (value,)
        payload = b"".join(deeper.encode_pieces(value))
        assert same(deeper.decode(payload), value)
        if fits:
            assert same(codec.decode(b"".join(codec.encode_pieces(value))), value)
        else:
            with pytest.raises(DecodeError, match="nested too deeply"):
                codec.decode(payload)
