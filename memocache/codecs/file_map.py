"""A private map of a file that never changes, and whether a value was decoded from that file before.

What a decoder must check of whole buffers (that texts are UTF-8, that offsets stay inside) need be checked once for a
file. Who maps files says which maps show the same one; it says nothing of what is in them.
"""

from __future__ import annotations

import mmap

from memocache.codecs.ext_types import Buffer


class Sighting:
    """What a process knows of one file: whether a whole value was decoded from it, and so passed every check."""

    __slots__ = ("decoded",)

    def __init__(self) -> None:
        self.decoded = False


class FileMap(mmap.mmap):
    """A map that leads to what is known of its file."""

    sighting: Sighting


def sighting_of(view: Buffer) -> Sighting | None:
    """What is known of the file that `view` shows; None if it shows memory."""
    held = view.obj if type(view) is memoryview else None
    return held.sighting if type(held) is FileMap else None
