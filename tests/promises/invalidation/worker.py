"""A process that invalidates: ``python -m tests.promises.invalidation.worker URL``; a line of JSON in, a line of JSON
out.

It never imports the functions that it makes others forget.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from memocache import Cache


def main() -> None:
    caches: dict[str, Cache] = {}
    for line in sys.stdin:
        command: dict[str, Any] = json.loads(line)
        cache = caches.setdefault(command["prefix"], Cache(sys.argv[1], prefix=command["prefix"]))
        getattr(cache, command["do"])(*command.get("args", ()), **command.get("kwargs", {}))
        print(json.dumps("done"), flush=True)
    for cache in caches.values():
        cache.close()


if __name__ == "__main__":
    main()
