"""Values to payload bytes and back: `Codec`, and `copier` for the tier that stays in the process."""

from __future__ import annotations

from memocache.codecs.codec import Codec
from memocache.codecs.copying import copier

__all__ = ["Codec", "copier"]
