"""``python -m memocache.cli`` is the `memocache` command."""

import sys

from memocache.cli import main

if __name__ == "__main__":
    sys.exit(main())
