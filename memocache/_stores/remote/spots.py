"""Where things are in a shared backend: the names of an entry, and of the markers, witness and lease beside it."""

from __future__ import annotations

from memocache._stores.remote.keyspace import Layout, entry_rest, function_marker


class Site:
    """The backend's names of everything that belongs to one function (name "" for plain keys), in one bucket."""

    __slots__ = ("_layout", "bucket", "entries", "kind", "markers", "members", "starts")

    def __init__(self, layout: Layout, name: str, bucket: str) -> None:
        self._layout = layout
        self.bucket = bucket
        self.kind = "e" if name else "k"
        # what comes before the digest (or the escaped plain key): of entries, and of what goes with them, by kind
        rest = entry_rest(name, "") if name else ""
        self.entries = layout.key(self.kind, bucket, rest)
        self.starts = {kind: layout.key(kind, bucket, self.kind + rest) for kind in "wlc"}
        self.markers = [layout.key("g", bucket, "p")]
        if name:
            self.markers.append(layout.key("g", bucket, function_marker(name)))
        self.members = [(layout.key("r", bucket, "names"), name)] if name else []

    def tag_marker(self, tag: str) -> str:
        """The marker of a tag's hash."""
        return self._layout.key("g", self.bucket, f"t:{tag}")


class Spot:
    """The backend's names of one address."""

    __slots__ = ("_last", "_site", "entry", "key", "markers")

    def __init__(self, site: Site, last: str, tags: tuple[str, ...]) -> None:
        self._site = site
        self._last = last
        self.entry = site.entries + last
        self.key = self.entry.encode()
        self.markers = site.markers if not tags else [*site.markers, *map(site.tag_marker, tags)]

    @property
    def bucket(self) -> str:
        """The bucket that all of these keys are in."""
        return self._site.bucket

    @property
    def members(self) -> list[tuple[str, str]]:
        """What to add to the registry of names."""
        return self._site.members

    @property
    def witness(self) -> str:
        """The key of the witness."""
        return self._site.starts["w"] + self._last

    @property
    def lease(self) -> str:
        """The key of the lease."""
        return self._site.starts["l"] + self._last

    @property
    def channel(self) -> str:
        """The channel that wakes waiters."""
        return self._site.starts["c"] + self._last
