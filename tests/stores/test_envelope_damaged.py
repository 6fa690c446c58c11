"""Envelopes damaged where a hit does not look: found by fuzzing."""

from __future__ import annotations

from memocache import Cache
from memocache._stores.remote import envelope as _envelope
from memocache.testing import FakeClock
from tests.fuzz.drawer import Drawer


def test_an_entry_with_damaged_tags_is_not_there() -> None:
    """Where version and tags cannot be read a plain look-up misses, and `inspect` and `expire` find no entry."""
    drawer = Drawer()
    cache = Cache(drawer, clock=FakeClock())
    cache.set("key", "value")
    whole = drawer.stored
    about = b"\xc5\x00\x04\xc0\x90\xc4\x00"  # no version, no tags, no hashes
    assert whole.count(about) == 1
    drawer.raw = whole
    assert cache.get("key") == "value"
    assert cache.inspect("key") is not None
    drawer.raw = whole.replace(about, about.replace(b"\x90", b"\x05"))
    times = whole.index(b"\xcb", whole.index(b"memo:k:key"))  # the random store id may have such a byte too
    assert _envelope.read_front(drawer.raw, times) is not None
    assert cache.get("key", "nothing") == "nothing"
    assert cache.inspect("key") is None
    assert not cache.expire("key", 60)
