"""`random`: the one source of chance in memocache.

It is the operating system's. The program's seeded generator is left alone, and a fork needs no care.
"""

from __future__ import annotations

from random import SystemRandom

random = SystemRandom()
