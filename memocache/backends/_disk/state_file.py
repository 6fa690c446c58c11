"""The state of a store on disk: 96 bytes that all its processes share, and that survive a power cut.

They tell whether the map beside them can be trusted. They know nothing of what stands in it.

::

    16 bytes   what this is
     8 bytes   the epoch, random: another one means that the map was set aside and begun anew
     1 byte    1 while the map may hold what is not on the disk yet
    36 bytes   in which run of the machine that was so
     3 bytes   zeros
    16 bytes   XXH3 over the map's file while the mark is 0; zeros: not taken

LMDB is told not to wait for the disk, so a power cut may leave pages of different moments in its file. They are never
read: the mark is on the disk before the first page of a spell of writing can be, and a store that bears the mark of an
earlier run of the machine is begun anew. A killed process leaves nothing torn, since the pages are the kernel's.
LMDB does not check what it reads; so the file of a store at rest, if it is not too large, is compared with its digest
before it is opened.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from xxhash import xxh3_128_digest

from memocache.backends._disk.directory import boot_id

_MAGIC: Final = b"memocache disk 1"
_SIZE: Final = 96
EPOCH: Final = slice(16, 24)
EPOCH_WORD: Final = 2  # in words of 8 bytes
_DIRTY = 24
_BOOT = slice(25, 61)
_DIGEST = slice(64, 80)
_UNKNOWN: Final = bytes(16)
DIGEST_BELOW: Final = 256 * 2**20


class StateFile:
    """The state of the store whose state file is `path`; made if there is none, which `fresh` tells.

    It is read from a map and written by `pwrite`: a map that is written to kills the process when the disk is full.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(self._file)
            self.inode = (found.st_dev, found.st_ino)
            self.fresh = os.pread(self._file, _SIZE + 1, 0)[:16] != _MAGIC or found.st_size != _SIZE
            if self.fresh:
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, _MAGIC.ljust(_SIZE, b"\x00"), 0)
            self.map = mmap.mmap(self._file, _SIZE, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(self._file)
            raise
        if self.fresh:
            self.renew()
        self.epoch = self.map[EPOCH]

    @property
    def current(self) -> bool:
        """Whether the store is still the one that was opened, and not closed by another thread meanwhile."""
        try:
            return self.map[EPOCH] == self.epoch
        except ValueError:
            return False

    @property
    def dirty(self) -> bool:
        """Whether the map may hold what is not on the disk."""
        return self.map[_DIRTY] != 0

    @property
    def torn(self) -> bool:
        """Whether the machine stopped while the map was dirty."""
        return self.dirty and self.map[_BOOT].rstrip(b"\x00") != boot_id()

    def soil(self) -> None:
        """Mark the map dirty, on the disk too, unless it is."""
        if not self.map[_DIRTY]:
            self._write(_DIRTY, b"\x01" + boot_id().ljust(36, b"\x00"))

    def clean(self, digest: bytes) -> None:
        """Note that everything is on the disk, and what `digest_of` gave for it."""
        self._write(_DIGEST.start, digest)
        self._write(_DIRTY, b"\x00")

    def forget_digest(self) -> None:
        """The file is about to change, though not in what it says."""
        self._write(_DIGEST.start, _UNKNOWN)

    def damaged(self, path: str) -> bool:
        """Whether the file of a store at rest is not as it was left."""
        digest = self.map[_DIGEST]
        return not self.dirty and digest != _UNKNOWN and digest_of(path) != digest

    def renew(self) -> None:
        """Begin another epoch: the others look again before they next read."""
        self._write(EPOCH.start, os.urandom(8) + bytes(_SIZE - EPOCH.stop))
        self.epoch = self.map[EPOCH]

    def _write(self, at: int, data: bytes) -> None:
        os.pwrite(self._file, data, at)
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        self.map.close()
        os.close(self._file)


def digest_of(path: str) -> bytes:
    """The digest of a file that is not too large, which nobody may be writing to."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not 0 < os.fstat(file).st_size <= DIGEST_BELOW:
            return _UNKNOWN
        with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
            return xxh3_128_digest(data)
    finally:
        os.close(file)
