"""A module that cannot be imported, by a mistake of its author."""

f = 1 / 0
