"""Names of the keys under which figures are added up in a backend.

Each function has counters, details and settings in one bucket; a day has its hottest keys, and an entry its accesses.
Pure: a layout goes in, a key comes out.
"""

from __future__ import annotations

from memocache._stores.remote.keyspace import Layout, escape

DAY = 86_400
"""Seconds of a day, for which the hottest keys are added up."""
LAST_CALL = "last"
"""What the time of a function's last counted calls is called among its counters, epoch milliseconds."""


class StatsKeys:
    """The keys of one prefix."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def function(self, name: str) -> str:
        """Where the counters of a function name are added up."""
        return self._of_function(name, "f")

    def details(self, name: str) -> str:
        """Where times and miss reasons of a function name are added up, beside its counters."""
        return self._of_function(name, "d")

    def settings(self, name: str) -> str:
        """Where the settings of a function are, as some process last told them."""
        return self._of_function(name, "p")

    def all_of(self, name: str) -> list[str]:
        """Every key that belongs to a function name alone."""
        return [self.function(name), self.details(name), self.settings(name)]

    def _of_function(self, name: str, letter: str) -> str:
        """A key in the bucket of the function's counters."""
        escaped = escape(name)
        return self._layout.key("s", self._layout.bucket(f"f:{escaped}"), f"{letter}:{escaped}")

    def operations(self) -> str:
        """Where what was asked of the backend is added up."""
        return self._layout.key("s", self._layout.bucket("o"), "o")

    def hot(self, day: int) -> str:
        """Where a day's hottest keys are added up."""
        rest = f"h:{day}"
        return self._layout.key("s", self._layout.bucket(rest), rest)

    def processes(self, hour: int) -> str:
        """Where the processes of an hour are told."""
        rest = f"w:{hour}"
        return self._layout.key("s", self._layout.bucket(rest), rest)

    def note(self, name: str) -> str:
        """Where a note of a dashboard is: a part of its history."""
        return self._layout.key("s", self._layout.bucket("n"), f"n:{name}")

    def access(self, entry: str) -> str:
        """Where the accesses of an entry's key are counted."""
        parsed = self._layout.parse(entry)
        if parsed is None:
            raise ValueError("not an entry's key")
        kind, bucket, rest = parsed
        return self._layout.key("a", bucket, kind + rest)

    def sender(self, bucket: str, name: str) -> str:
        """Where a bucket remembers the number of the last flush of a sender."""
        return self._layout.key("s", bucket, f"u:{name}")

    def bucket_of(self, key: str) -> str:
        """The bucket that a key of this prefix is in."""
        _, bucket, _ = self._layout.parse(key) or ("", "", "")
        return bucket
