"""Values to payload bytes and back: `Codec`, and `copier` for the tier that stays in the process."""

from __future__ import annotations

from memocache.codecs.copying import copier
from memocache.codecs.msgpack import Codec

__all__ = ["Codec", "copier"]
