"""What a store says of itself to whoever only looks."""

from __future__ import annotations

from pathlib import Path

from memocache import Cache
from memocache.backends.disk import DiskBackend


def test_sizes_are_spelt(directory: str) -> None:
    """A checkup says what is used, what may be, and what is free in units that suit, not in bytes."""
    with Cache(f"disk://{directory}?max_bytes=2GiB") as cache:
        cache.set("key", "value")
        backend = cache.backend
        assert isinstance(backend, DiskBackend)
        found = {finding.what: finding.found for finding in backend.checkup()}
    assert " of 2.0 GiB used" in found["size"]
    assert "iB free in" in found["room"]


def test_a_store_is_missing_until_it_is_used(directory: str) -> None:
    """Neither an absent directory nor an empty one is a store, and asking makes none; a file in its place is another
    mistake, told at first use.
    """
    for path in (directory, f"{directory}/absent"):
        backend = DiskBackend(path)
        assert backend.missing is not None
        assert not list(Path(directory).iterdir())
    backend = DiskBackend(directory)
    assert backend.read(["a"]) == [None]
    assert backend.missing is None
    backend.close()
    file = Path(directory, "file")
    file.touch()
    assert DiskBackend(str(file)).missing is None
