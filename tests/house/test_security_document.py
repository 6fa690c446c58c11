"""SECURITY.md and docs/security.md say what is so: named tests exist, each threat has one, figures are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memocache._cache.cache import COMPRESS_ABOVE
from memocache._stores.remote.envelope import Envelope, close, pack
from memocache._stores.remote.signing import Signed
from memocache.backends._settings import _TLS_OPTIONS

ROOT = Path(__file__).parents[2]
MODEL = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
FOES = ("writes", "reads", "chooses", "tenant", "network", "dashboard")
ROWS = [
    [cell.strip() for cell in row.strip("| ").split(" | ")]
    for row in MODEL.splitlines()
    if row.startswith("| ") and not row.startswith(("| threat", "| ---"))
]


def test_every_threat_has_a_control_and_a_test() -> None:
    """Each row has a threat, a control, and tests by file and name; each kind of foe has a table."""
    assert len(ROWS) > 25
    for row in ROWS:
        assert len(row) == 3, row
        assert re.fullmatch(r"(`[a-z_/]+\.py::test_\w+`(, )?)+", row[2]), row[0]
    foes = re.findall(r"^### (.*)$", MODEL, re.M)
    assert len(foes) == len(FOES)
    assert all(word in foe for word, foe in zip(FOES, foes, strict=True))


def test_every_named_test_exists() -> None:
    """Each `file::test` is a function of that file."""
    named = re.findall(r"`([a-z_/]+\.py)::(\w+)`", MODEL)
    assert len(named) > 50
    for file, test in named:
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {test}\(", text, re.M), f"{file} has no {test}"


def test_the_guide_names_every_tls_option_and_the_threshold() -> None:
    """Every option of ``rediss://`` stands in the guide's table, and the threshold of compression is the real one."""
    table = GUIDE[GUIDE.index("| URL option") : GUIDE.index("## ACL")]
    assert set(re.findall(r"`(ssl_\w+)`", table)) == set(_TLS_OPTIONS)
    assert f"`compress_above` bytes ({COMPRESS_ABOVE:,})" in GUIDE


def test_the_guides_sizes_are_right() -> None:
    """What signing and encryption add to an entry is what the guide says."""
    encryption = pytest.importorskip("memocache._stores.remote.encryption")
    pytest.importorskip("cryptography")
    envelope = Envelope("k", 0.0, 1.0, 1.0, 0.0, b"", b"payload")
    plain = len(close(pack(envelope), b""))
    sealers = Signed([b"secret"]), encryption.Encrypted([b"secret"])
    added = [len(sealer.write(envelope)) - plain for sealer in sealers]
    said = re.search(r"^\| bytes added to an entry \| 0 \| (\d+) \| (\d+) \|$", GUIDE, re.M)
    assert said is not None
    assert [int(said[1]), int(said[2])] == added
