"""A backend with one drawer: every look-up of an entry finds the bytes that the fuzzer put there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memocache.backends.base import BaseBackend
from memocache.typing import Guard, Put

MARKER = b"fuzzmark"


class Drawer(BaseBackend):
    """`raw` is the entry, whatever its key; markers never change; the last entry put is kept in `stored`."""

    def __init__(self) -> None:
        self.raw: bytes | None = None
        self.stored = b""

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        return [MARKER if ":g:" in key else self.raw for key in keys]

    def transact(
        self,
        guards: Sequence[Guard],
        puts: Sequence[Put] = (),
        deletes: Sequence[str] = (),
        *,
        members: Sequence[tuple[str, str]] = (),
        publish: str | None = None,
        timeout: float | None = None,
    ) -> list[bytes | None] | None:
        self.stored = next((put.value for put in puts if ":k:" in put.key), self.stored)
        return None

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        return 0

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        return None, []

    def close(self) -> None:
        pass
