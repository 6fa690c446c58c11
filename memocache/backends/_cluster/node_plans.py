"""Plans of work on the nodes of a cluster, and how several are carried out together.

A *plan* is a generator without colour. It yields jobs (each an operation for one node, all to be carried out at the
same time) or a pause, and is told how they came out. `memocache.backends.cluster` has the two drivers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from memocache.backends._cluster.node import Node
from memocache.backends._redis.combinators import merged
from memocache.backends._redis.resp import Op
from memocache.backends.base import ReplyError

T = TypeVar("T")


class Job(NamedTuple):
    """An operation for a node."""

    node: Node
    op: Op[Any]


Plan: TypeAlias = Generator["list[Job] | float", Any, T]
"""Yields jobs, and is sent the list of their results (a failure as the exception that it is), or a pause in seconds,
and is sent how many are left after it (0: there was no time for it); returns its result."""


def at_once(plans: Sequence[Plan[Any]], around: Callable[[Op[Any]], Op[Any]] = lambda op: op) -> Plan[list[Any]]:
    """The results of plans that are carried out together; raises the first failure when all have ended.

    What they ask of one node leaves in one round trip, with `around` around it.
    """
    results: list[Any] = [None] * len(plans)
    wishes: dict[int, list[Job] | float] = {}

    def resume(index: int, reply: Any) -> None:
        wishes.pop(index, None)
        try:
            wishes[index] = plans[index].send(reply)
        except StopIteration as stop:
            results[index] = stop.value
        except Exception as failure:
            results[index] = failure

    for index in range(len(plans)):
        resume(index, None)
    while wishes:
        jobs = {index: wish for index, wish in wishes.items() if isinstance(wish, list)}
        if jobs:
            outcomes = iter((yield from _by_node([job for wish in jobs.values() for job in wish], around)))
            for index, wish in jobs.items():
                resume(index, [next(outcomes) for _ in wish])
        else:
            left = yield max(wish for wish in wishes.values() if not isinstance(wish, list))
            for index in list(wishes):
                resume(index, left)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def _by_node(jobs: Sequence[Job], around: Callable[[Op[Any]], Op[Any]]) -> Plan[list[Any]]:
    """The outcomes of jobs, those for one node in one."""
    groups: dict[Node, list[int]] = {}
    for index, job in enumerate(jobs):
        groups.setdefault(job.node, []).append(index)
    outcomes: list[Any] = [None] * len(jobs)
    boxes = {node: [_UNDONE] * len(indexes) for node, indexes in groups.items()}
    asked = []
    for node, indexes in groups.items():
        alone = len(indexes) == 1
        op = jobs[indexes[0]].op if alone else merged([jobs[index].op for index in indexes], boxes[node])
        asked.append(Job(node, around(op)))
    for (node, indexes), outcome in zip(groups.items(), (yield asked), strict=True):
        box = boxes[node] if len(indexes) > 1 else [outcome]
        for index, one in zip(indexes, box, strict=True):
            # a reply that is an error of all of it is one of `around`
            outcomes[index] = outcome if one is _UNDONE or isinstance(outcome, ReplyError) else one
    return outcomes


_UNDONE: Any = object()
