"""Observers that pass the events of a cache on: `logging` so far."""
