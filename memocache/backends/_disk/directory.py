"""Where a store on disk may live: a directory of a local file system that this user may write.

`Unusable` says why another place will not do. It also tells one run of the machine from the next.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from memocache.exceptions import BackendError, ConfigurationError

_MOUNTS = "/proc/self/mountinfo"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_OCTAL = re.compile(r"\\([0-7]{3})")
_NETWORK = frozenset(
    (
        "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs",
        "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "panfs", "smb3", "smbfs",
    )
)  # fmt: skip
"""File systems whose locks or shared maps do not hold between machines; the names are the kernel's."""


class Unusable(ConfigurationError, BackendError):
    """The directory cannot hold a store. For direct calls a mistake to correct; decorated calls compute."""


def check_local(path: str) -> None:
    """Raise `Unusable` if `path` (absolute) lies on a network file system, as far as the mount table tells."""
    kind = _file_system(path, _mount_table())
    if kind in _NETWORK:
        raise Unusable(
            f"disk:// needs a local file system and {path} is on {kind}, where the locks and maps of several "
            "processes do not hold; choose a local directory, or redis:// to share between machines"
        )


def _mount_table() -> str:
    try:
        return Path(_MOUNTS).read_text(errors="surrogateescape")
    except OSError:
        return ""  # another system: there is no table to ask


def _file_system(path: str, table: str) -> str | None:
    """The type of the file system that `path` is on: that of the longest mount point above it, the last one mounted."""
    best, kind = "", None
    for line in table.splitlines():
        front, _, back = line.partition(" - ")
        fields = front.split(" ")
        if len(fields) < 5 or not back:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, back.split(" ")[0]
    return kind


@cache
def boot_id() -> bytes:
    """What tells this run of the machine from the one before a power cut, at most 36 bytes.

    Raises `Unusable` on systems that do not tell.
    """
    try:
        if sys.platform == "darwin":
            asked = subprocess.run(["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=True, timeout=5)
            return asked.stdout.strip()[:36]
        return Path(_BOOT_ID).read_bytes().strip()[:36]
    except (OSError, subprocess.SubprocessError):
        raise Unusable("disk:// needs Linux or macOS: this system does not tell one start from the next") from None


def make_directory(path: str) -> str:
    """Make the directory of a store, for this user only, and return its real path; raises `Unusable`."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except FileExistsError:
        raise Unusable(f"disk:// takes a directory, and {path} is something else") from None
    except OSError as error:
        raise unusable(path, error) from None
    real = os.path.realpath(path)
    check_local(real)
    if not os.access(real, os.W_OK | os.X_OK):
        raise unusable(path, OSError(errno.EACCES, "it is read-only for this process"))
    return real


def unusable(path: str, error: OSError) -> Unusable:
    """The error that says why nothing can be written below `path`."""
    return Unusable(f"disk:// cannot write in {path}: {error.strerror}; choose a directory that this user may write")
