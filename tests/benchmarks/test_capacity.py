"""The model of a fleet, its simulation, and the page that the command fills."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest

from benchmarks import capacity
from benchmarks._coefficients import Checked
from benchmarks._fleet import Cost, Costs, Fleet, Rates, expected, nodes_of_keys, shares, simulated

pytest.importorskip("numpy")

PAGE = capacity.PAGE.read_text(encoding="utf-8")
COST = Cost(requests=1.0, commands=2.0, cpu_us=3.0, bytes_in=4.0, bytes_out=5.0)
COSTS = Costs(COST, COST, COST, COST, COST, COST, COST, {10: 200.0, 1_000: 1_300.0}, 120.0)
FLEETS = {
    "one process": Fleet(),
    "one process, copies": Fleet(local=10_000),
    "a hundred, copies of some keys": Fleet(processes=100, local=500, invalidations=300.0),
    "a hundred, stale": Fleet(processes=100, stale=30.0),
    "ten thousand, a hundred nodes": Fleet(processes=10_000, nodes=100, local=10_000),
}


@pytest.mark.parametrize("name", FLEETS)
def test_the_simulation_agrees_with_the_closed_form(name: str):
    """Each rate is within 6 percent of what the formula gives (drawn from a seed, so always the same)."""
    closed, drawn = expected(FLEETS[name]), simulated(FLEETS[name])
    for one in fields(Rates):
        assert getattr(drawn, one.name) == pytest.approx(getattr(closed, one.name), rel=0.06), one.name


def test_the_simulation_is_a_function_of_its_seed():
    """The same seed gives the same figures, another one others."""
    fleet = FLEETS["a hundred, copies of some keys"]
    assert simulated(fleet, 7) == simulated(fleet, 7) != simulated(fleet, 8)


def test_one_process_and_one_key():
    """The limits by hand: a key read 10 times a second with a ttl of 1 s is computed once in 1.1 s, and copies leave
    the server no hits.
    """
    one = Fleet(keys=1, reads=10.0, ttl=1.0, invalidations=0.0)
    rates = expected(one)
    assert rates.misses == pytest.approx(1 / 1.1)
    assert rates.hits == pytest.approx(10 - 1 / 1.1)
    assert (rates.copies, rates.messages, rates.pings) == (0, 0, 0)
    copied = expected(replace(one, local=1))
    assert (copied.hits, copied.misses) == pytest.approx((0.0, 1 / 1.1))
    assert copied.messages == pytest.approx(copied.misses)
    assert expected(replace(one, stale=1e9)).waiting == pytest.approx(0.0)


def test_what_cannot_grow_without_bound():
    """However many processes, a key is computed once a ttl at most, and a copy is fetched once by each."""
    fleet = Fleet(processes=10_000, keys=50, ttl=10.0, invalidations=0.0, local=50)
    rates = expected(fleet)
    assert rates.misses <= 50 / 10.0
    assert rates.hits <= rates.misses * 9_999
    assert rates.hits + rates.misses + rates.copies == pytest.approx(fleet.reads * fleet.processes)


def test_keys_are_spread_over_the_nodes():
    """Shares are of one whole; no node of three has above 40 percent of the keys."""
    assert shares(1_000, 0.9).sum() == pytest.approx(1.0)
    where = nodes_of_keys(30_000, 3).tolist()
    assert {*where} == {0, 1, 2}
    assert max(where.count(node) for node in range(3)) < 0.4 * len(where)


def test_costs_add_up():
    """A total is the rates times their costs; what is no operation, as entries, costs no time."""
    rates = Rates(hits=10.0, pings=2.0, entries=5.0)
    assert COSTS.total(rates, "commands") == 24.0
    assert COSTS.busy(rates) == pytest.approx(36e-6)


def _shape(table: str) -> list[str]:
    """A table without its figures, and without spaces that align."""
    return [re.sub(r"[\d,.]+", "#", line) for line in table.splitlines() if line.startswith("|")]


def test_the_page_is_what_the_command_writes():
    """Every place of the page is filled, with tables of the heads and rows that the command makes now."""
    others: dict[str, Cost] = dict.fromkeys(("invalidate a function", "invalidate a tag"), COST)
    sizes = dict.fromkeys((10, 100, 1_000, 10_000, 100_000), 200_000.0)
    found = [
        Checked(fleet, what, 1.0, 2.0)
        for fleet in ("on the server", "with copies")
        for what in ("computations a second", "commands a second")
    ]
    made = capacity.tables(replace(COSTS, entry_bytes=sizes), others, found, "valkey 9")
    filled = {match[2]: match[0] for match in capacity._BLOCK.finditer(capacity.fill(PAGE, made))}
    places = {match[2]: match[0] for match in capacity._BLOCK.finditer(PAGE)}
    assert {*places} == {*made}
    for name, place in places.items():
        ours, its = _shape(filled[name]), _shape(place)
        assert [line.split("|")[1] for line in ours] == [line.split("|")[1] for line in its], name
        assert [line.count("|") for line in ours] == [line.count("|") for line in its], name
        assert name == "machine" or len(its) > 3, name
        assert ours[:2] == its[:2], name


def test_a_page_with_an_unknown_place_is_refused():
    """A place of a name that the command does not know is an error that says which there are."""
    with pytest.raises(capacity.BadPage, match="rubbish; there are costs"):
        capacity.fill("<!-- capacity: rubbish -->\n<!-- end -->", {"costs": ""})


def test_the_picture_is_drawn():
    """The picture is an SVG, and the same again."""
    pytest.importorskip("matplotlib")
    drawn = capacity.draw(COSTS)
    assert drawn.startswith("<?xml")
    assert drawn == capacity.draw(COSTS)


def test_where_a_core_is_full() -> None:
    """Between two sizes of the fleet that were simulated it is on the straight line of the picture; who never needs a
    core, or always does, has no such place.
    """
    per_process = [processes / 2_000 for processes in capacity.PROCESSES]
    assert capacity.full_at(per_process) == "2,000"
    assert capacity.full_at([share / 10 for share in per_process]) is None
    assert capacity.full_at([1.0 + share for share in per_process]) is None
    assert capacity.full_at([0.0] * 8 + [5.0]) is None
