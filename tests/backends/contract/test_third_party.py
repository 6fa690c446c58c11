"""The contract on a backend as somebody else would write one: sqlite3, five methods over `BaseBackend`."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memocache.backends.base import BaseBackend, holds, with_member
from memocache.testing.contract import BackendContract
from memocache.typing import Backend, Guard, Put


class SqliteBackend(BaseBackend):
    """One table in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None

    def _run(self, sql: str, *words: Any) -> sqlite3.Cursor:
        if self._db is None:
            self._db = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            self._db.execute("CREATE TABLE IF NOT EXISTS cells (key TEXT PRIMARY KEY, value BLOB, dies REAL)")
        return self._db.execute(sql, words)

    def read(self, keys: Sequence[str], *, timeout: float | None = None) -> list[bytes | None]:
        with self._lock:
            sql = "SELECT value FROM cells WHERE key = ? AND (dies IS NULL OR dies > ?)"
            rows = (self._run(sql, key, time.time()).fetchone() for key in keys)
            return [row and row[0] for row in rows]

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
        with self._lock:
            found = self.read([guard.key for guard in guards])
            if not all(map(holds, guards, found)):
                return found
            self._run("BEGIN IMMEDIATE")
            for put in puts:
                dies = put.ttl_ms and time.time() + put.ttl_ms / 1000
                self._run("REPLACE INTO cells VALUES (?, ?, ?)", put.key, put.value, dies)
            self.delete(deletes)
            for key, member in members:
                self._run("REPLACE INTO cells VALUES (?, ?, NULL)", key, with_member(self.read([key])[0], member))
            self._run("COMMIT")
            return None

    def delete(self, keys: Sequence[str], *, timeout: float | None = None) -> int:
        with self._lock:
            there = [key for key, value in zip(keys, self.read(keys), strict=True) if value is not None]
            return sum(self._run("DELETE FROM cells WHERE key = ?", key).rowcount for key in there)

    def scan(self, prefix: str, cursor: Any = None, *, timeout: float | None = None) -> tuple[Any, list[str]]:
        with self._lock:
            sql = "SELECT key FROM cells WHERE substr(key, 1, ?) = ? AND key > ? ORDER BY key LIMIT 100"
            keys = [key for (key,) in self._run(sql, len(prefix), prefix, cursor or "")]
            return (keys[-1] if len(keys) == 100 else None), keys

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


class TestSqliteBackend(BackendContract):
    """A third party's backend."""

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "cache.sqlite"

    def make_backend(self) -> Backend:
        return SqliteBackend(self.path)
