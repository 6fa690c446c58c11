"""Generations in the process: a `Mark` for each tag, function and prefix, alive until it is invalidated.

A computation holds the marks that it read before it ran, and its outcome is void if one of them was killed meanwhile
(promise 3.3). Killing a tag's mark also raises the `epoch`: entries with an older stamp ask the marks of their tags
once, and are stamped anew. This module knows neither entries nor backends.
"""

from __future__ import annotations

import weakref


class Mark:
    """The in-process marker of a tag, a function or the prefix: alive until it is invalidated."""

    __slots__ = ("__weakref__", "alive")

    def __init__(self) -> None:
        self.alive = True


class Marks:
    """The marks of one cache. Every method runs under the owner's lock; `epoch` is read without."""

    __slots__ = ("_functions", "_prefix", "_tags", "epoch")

    def __init__(self) -> None:
        self.epoch = 0
        self._prefix = Mark()
        self._functions: dict[str, Mark] = {}
        self._tags: weakref.WeakValueDictionary[str, Mark] = weakref.WeakValueDictionary()

    def of(self, function: str, tags: tuple[str, ...] = ()) -> tuple[Mark, ...]:
        """The marks of the prefix, the function and the tags (by their hashes), in this order, made where there is
        none.
        """
        mark = self._functions.get(function)
        if mark is None:
            mark = self._functions[function] = Mark()
        return (self._prefix, mark, *map(self._of_tag, tags)) if tags else (self._prefix, mark)

    def find(self, tag: str) -> Mark | None:
        """The mark of a tag, if anybody has it."""
        return self._tags.get(tag)

    def add(self, tag: str, mark: Mark) -> None:
        """Let this be the mark of a tag, as long as anybody has it."""
        self._tags[tag] = mark

    def _of_tag(self, tag: str) -> Mark:
        mark = self._tags.get(tag)
        if mark is None:
            mark = self._tags[tag] = Mark()
        return mark

    def kill_tag(self, tag: str) -> None:
        """Void what has this tag."""
        mark = self._tags.pop(tag, None)
        if mark is not None:
            mark.alive = False
        # last: an entry stamped with the new epoch has seen the mark dead
        self.epoch += 1

    def kill_alone(self, tag: str) -> Mark | None:
        """Void what has this tag, without telling the entries: return its mark, whose owner does."""
        mark = self._tags.pop(tag, None)
        if mark is not None:
            mark.alive = False
        return mark

    def kill_function(self, name: str) -> None:
        """Void what is of this function name."""
        mark = self._functions.pop(name, None)
        if mark is not None:
            mark.alive = False

    def kill_prefix(self) -> None:
        """Void everything."""
        self._prefix.alive = False
        self._prefix = Mark()
