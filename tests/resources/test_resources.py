"""What stays behind, in short (`python -m tests.resources`): more of the same leaves no more of anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache.testing.servers import Server
from tests.promises.flight.conftest import patient, valkey  # noqa: F401  # fixtures are found by name
from tests.resources.growth import SLACK, growth, more
from tests.resources.scenes import SCENES
from tests.worlds import COLOURS

FEW = {"keys": 600, "functions": 400, "names": 60, "caches": 40, "loops": 40}
ROOM = SLACK._replace(megabytes=1e9, descriptors=8, references=60, objects=1_200)
"""Of so few turns: one reference more for each would be seen; memory, in steps of the allocator, would not. A disk
store that is open has six descriptors; after the end of a turn it is seen open at times, and closed at others."""
pytestmark = [
    pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(params=["memory", "disk", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    """The URL of a small store of each kind, and a client of its server, where it has one."""
    if request.param == "server":
        server: Server = request.getfixturevalue("valkey")
        return server.url, server.client()
    return ("memory://?maxsize=20" if request.param == "memory" else f"disk://{tmp_path}"), None


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("scene", SCENES)
def test_more_of_the_same_leaves_no_more(scene: str, colour: str, place: tuple[str, Any]) -> None:
    """Descriptors, threads, tasks, references, objects, and keys that never expire: flat from the half on."""
    url, client = place
    if scene == "functions" and not url.startswith("memory"):
        pytest.xfail("beside a backend each closure of another value leaves a table in the process")
    turns = SCENES[scene][0](url, colour)
    turns(FEW[scene])  # what each process, and each recent function, has once
    before, middle, after = growth(turns, FEW[scene], client, ROOM)
    assert more(middle, after, ROOM) == [], (before, middle, after)


def test_a_leak_is_seen() -> None:
    """Caches that somebody keeps are not flat: their threads, objects and references are named."""
    kept = []

    def turns(count: int) -> None:
        for _ in range(count):
            kept.append(Cache())
            kept[-1].set("k", 1)

    told = more(*growth(turns, 200, None, ROOM)[1:], ROOM)
    assert {"references", "objects"} <= set(told)
