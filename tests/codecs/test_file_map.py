"""What lies in a file is validated once, and what lies anywhere else each time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from memocache.backends._disk.blob_files import BlobFiles, Filed
from memocache.codecs.codec import Codec
from memocache.exceptions import DecodeError

pytest.importorskip("numpy")
pa = pytest.importorskip("pyarrow")
TEXTS = [f"text {number:05}" for number in range(20_000)]
VALUES: dict[str, Any] = {
    "array": pa.array(TEXTS),
    "chunked array": pa.chunked_array([TEXTS]),
    "batch": pa.record_batch({"a": TEXTS}),
    "table": pa.table({"a": TEXTS}),
    "struct": pa.array([{"a": text} for text in TEXTS]),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "beside others": [1, {"a": pa.table({"a": TEXTS})}],
}


def filed(files: BlobFiles, value: Any) -> Filed:
    """A value in a file."""
    return files.write([memoryview(piece) for piece in Codec().encode_pieces(value)])


def spoilt(files: BlobFiles, where: Filed) -> memoryview:
    """A new map of the file, and in this map alone one text that is not UTF-8."""
    view = files.map(where)
    assert view is not None
    view[bytes(view).index(b"text 00007")] = 0xFF
    return view


@pytest.mark.parametrize("name", VALUES)
def test_a_file_is_validated_once(name: str, tmp_path: Path) -> None:
    """Arrow's data from a file is validated when it is first decoded, and not again while the file is the same."""
    files, codec = BlobFiles(tmp_path), Codec()
    where = filed(files, VALUES[name])
    with pytest.raises(DecodeError):
        codec.decode(spoilt(files, where))
    view = files.map(where)
    assert view is not None
    assert codec.decode(view) == VALUES[name]
    codec.decode(spoilt(files, where))
    path = tmp_path / where.name
    os.utime(path, ns=(0, 0))
    with pytest.raises(DecodeError):
        codec.decode(spoilt(files, where))


def test_what_was_refused_is_validated_again(tmp_path: Path) -> None:
    """A file from which nothing could be decoded is validated on each read, and so is what lies in memory."""
    files, codec = BlobFiles(tmp_path), Codec()
    pieces = [bytes(piece) for piece in codec.encode_pieces(VALUES["table"])]
    bad = b"".join(pieces).replace(b"text 00007", b"\xffext 00007")
    where = files.write([memoryview(bad)])
    for _ in range(3):
        view = files.map(where)
        assert view is not None
        with pytest.raises(DecodeError):
            codec.decode(view)
        with pytest.raises(DecodeError):
            codec.decode(bad)
