"""Large values, each a file of its own beside the map.

A value comes back whole or not at all; it does not know which entry a file belongs to.

1. A file is written under a temporary name, renamed when it is whole, and never changed afterwards; its name is random
   and used once. What it must contain stands in the map: length and digest (XXH3, 128 bits).
2. Reading checks length and digest; a file is checked again when its inode, its length or its time of change are other
   than when this process checked it last. Until then all maps of it share what decoders found out about it.
3. The largest piece of a value begins on a page of the file, so that arrays in it are aligned when it is mapped.
4. A file whose entry went is removed after the transaction; those of killed processes when they are `STRAY_SECONDS`
   old.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from xxhash import xxh3_128, xxh3_128_digest

from memocache.codecs.file_map import FileMap, Sighting

STRAY_SECONDS = 60.0
UNFINISHED_SECONDS = 3600.0
_ALIGN = 4096
_CHUNK = 16 * 2**20
"""Bytes written at once: what is written in larger pieces lies in larger pages, and a map of it is read faster."""
_REMEMBERED = 10_000
_UNFINISHED = ".tmp"
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}


_Marks: TypeAlias = tuple[int, int, int]


class Filed(NamedTuple):
    """Where a value is: the file's name, the offset and the length of the value in it, and its digest."""

    name: str
    offset: int
    size: int
    digest: bytes


class _Checked(NamedTuple):
    """What a file was like when its digest was right, and what decoders found out about it since."""

    marks: _Marks
    sighting: Sighting


class BlobFiles:
    """The files of one store."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._checked: dict[str, _Checked] = {}

    def write(self, pieces: Sequence[bytes | memoryview]) -> Filed:
        """Write a value, given in pieces, to a new file. Raises OSError, and leaves nothing behind then."""
        views = [memoryview(piece).cast("B") for piece in pieces]
        largest = max(range(len(views)), key=lambda index: len(views[index]))
        offset = -sum(map(len, views[:largest])) % _ALIGN
        name = os.urandom(16).hex()
        unfinished = self._directory / (name + _UNFINISHED)
        digest = xxh3_128()
        self._directory.mkdir(mode=0o700, exist_ok=True)
        try:
            with open(unfinished, "xb", buffering=0, opener=_private) as file:
                _write_all(file.write, memoryview(bytes(offset)))
                for view in views:
                    for start in range(0, len(view), _CHUNK):
                        chunk = view[start : start + _CHUNK]
                        digest.update(chunk)
                        _write_all(file.write, chunk)
                self._remember(name, os.fstat(file.fileno()))
            os.rename(unfinished, self._directory / name)
        except BaseException:
            self._checked.pop(name, None)
            _remove(unfinished)
            raise
        return Filed(name, offset, sum(map(len, views)), digest.digest())

    def map(self, filed: Filed) -> memoryview | None:
        """The value as a private map that its holder may write to and nobody else sees; None if it is not whole."""
        try:
            file = os.open(self._directory / filed.name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None  # removed since its record was read
        try:
            found = os.fstat(file)
            if found.st_size != filed.offset + filed.size:
                return None  # a map of more than there is would kill the process that reads on
            whole = FileMap(file, found.st_size, access=mmap.ACCESS_COPY, **_UNTRACKED)
        except OSError:
            return None
        finally:
            os.close(file)
        view = memoryview(whole)[filed.offset :]
        checked = self._checked.get(filed.name)
        if checked is None or checked.marks != _marks(found):
            if xxh3_128_digest(view) != filed.digest:
                return None
            checked = self._remember(filed.name, found)
        whole.sighting = checked.sighting
        return view

    def remove(self, names: Iterable[str]) -> None:
        """Remove files whose entries went; those that map them keep what they map."""
        for name in names:
            self._checked.pop(name, None)
            _remove(self._directory / name)

    def remove_strays(self, known: Callable[[str], bool], now: float | None = None) -> int:
        """Remove what no entry knows and nobody can be writing any more; how many there were."""
        now = time.time() if now is None else now
        removed = 0
        try:
            with os.scandir(self._directory) as found:
                names = [one.name for one in found]
        except OSError:
            return 0
        for name in names:
            path = self._directory / name
            try:
                age = now - path.stat().st_mtime
            except OSError:
                continue
            if age > (UNFINISHED_SECONDS if name.endswith(_UNFINISHED) else STRAY_SECONDS) and not known(name):
                _remove(path)
                removed += 1
        return removed

    def _remember(self, name: str, found: os.stat_result) -> _Checked:
        if len(self._checked) >= _REMEMBERED:
            self._checked.clear()
        checked = self._checked[name] = _Checked(_marks(found), Sighting())
        return checked


def _marks(found: os.stat_result) -> _Marks:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _write_all(write: Callable[[memoryview], int | None], chunk: memoryview) -> None:
    while len(chunk):
        chunk = chunk[write(chunk) or 0 :]


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass  # gone already, or not ours to remove: it is a stray then
