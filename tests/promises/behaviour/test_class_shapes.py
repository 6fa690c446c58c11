"""Objects of classes as people write them, on every backend: a call returns what the function would have returned."""

from __future__ import annotations

import pytest

from memocache import UnstableKeyError
from tests.calls.class_shapes import every, made, read
from tests.promises.behaviour.world import World

SHAPES = list(every())[::31]
STEPS = [(0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, 0, 0, 0)]


@pytest.mark.parametrize("nested", [False, True], ids=["alone", "in a list"])
def test_no_instance_gives_the_answer_of_an_unequal_one(world: World, nested: bool) -> None:
    """Alone and inside containers, as an argument of classes of every kind; a refusal is an answer, too."""
    refused = 0
    for number, shape in enumerate(SHAPES):
        build = made(shape)
        f = world.cached(lambda value: read(value[0] if type(value) is list else value), name=f"read.{number}")
        values = [build(*step) for step in STEPS]
        for value in values:
            try:
                got = world.call(f, [value] if nested else value)
            except UnstableKeyError:
                refused += 1
                assert shape.kind == "plain"
                continue
            equal = [read(other) for other in values if other == value]
            assert got in equal or got == read(value), shape
    assert refused < len(SHAPES) * len(STEPS) / 2
