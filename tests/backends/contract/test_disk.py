"""The contract on a directory of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from memocache.backends.disk import DiskBackend
from memocache.testing.contract import BackendContract
from memocache.typing import Backend, Put
from tests.scratch import scratch


class TestDiskBackend(BackendContract):
    """A store in an empty directory."""

    @pytest.fixture(autouse=True)
    def _directory(self) -> Iterator[None]:
        self.directory = scratch()
        yield
        shutil.rmtree(self.directory)

    def make_backend(self) -> Backend:
        return DiskBackend(self.directory)

    @pytest.mark.parametrize("length", [127, 128, 500, 511, 512, 3000])
    def test_long_keys(self, talk: object, length: int) -> None:
        """A key of any length is read, scanned and deleted under its own name, beside another that begins alike."""
        for key in ("l" * length, "é" * length):
            talk.transact([], [Put(key, b"1"), Put(key + "2", b"2" * 50)])  # type: ignore[attr-defined]
            assert talk.read([key, key + "2", key + "3"]) == [b"1", b"2" * 50, None]  # type: ignore[attr-defined]
            assert self._scan(talk, key) == {key, key + "2"}
            assert talk.delete([key, key + "2"]) == 2  # type: ignore[attr-defined]
