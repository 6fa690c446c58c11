"""Room that a store on disk keeps back, so that something can be removed from it when the disk is full.

LMDB writes a page anew before it frees the old one, so removing takes a few pages. They are those of a file that is
removed then; nothing is stored any more until there is room for it again. It knows nothing of what is removed.
"""

from __future__ import annotations

import os
from typing import Final

LEAST_BYTES: Final = 48 * 1024
MOST_BYTES: Final = 128 * 1024
_SHARE = 32


class SpareRoom:
    """The file at `path`; to be used by the one who may write to the store."""

    def __init__(self, path: str) -> None:
        self._path = path

    def there(self, max_bytes: int) -> bool:
        """Whether the room is there, for a store of up to so many bytes; it is made if the disk has it."""
        try:
            if os.stat(self._path).st_size:
                return True
        except OSError:
            pass
        size = max(LEAST_BYTES, min(MOST_BYTES, max_bytes // _SHARE))
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, size)
            else:
                os.pwrite(file, bytes(size), 0)
        except OSError:
            os.ftruncate(file, 0)
            return False
        finally:
            os.close(file)
        return True

    def give(self) -> bool:
        """Give the room back to the disk; whether there was any."""
        try:
            size = os.stat(self._path).st_size
            os.truncate(self._path, 0)
        except OSError:
            return False
        return size > 0
