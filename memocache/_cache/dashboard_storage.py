"""Small texts that a dashboard keeps in the backend by name, so that its history outlives it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from memocache._cache.scan import Scanner
from memocache._cache.stats_reporter import StatsReporter
from memocache._runtime.effects import Effect
from memocache.typing import Put


class Notes:
    """Texts that a dashboard keeps in the backend by name; without one nothing is kept."""

    def __init__(self, scanner: Scanner, reporter: StatsReporter | None) -> None:
        self._ask = scanner.resolver.ask
        self._reporter = reporter

    def read(self, names: Sequence[str]) -> Generator[Effect, Any, dict[str, bytes]]:
        """Those texts that are there. Raises `BackendError`."""
        if self._reporter is None:
            return {}
        found = yield self._ask("read", [self._reporter.keys.note(name) for name in names])
        return {name: bytes(text) for name, text in zip(names, found, strict=True) if text is not None}

    def write(self, texts: Mapping[str, bytes], seconds: float) -> Generator[Effect, Any, None]:
        """Keep texts for so long. Raises `BackendError`."""
        if self._reporter is not None:
            life = int(seconds * 1000)
            yield self._ask(
                "transact", (), [Put(self._reporter.keys.note(name), text, life) for name, text in texts.items()]
            )
