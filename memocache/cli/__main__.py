"""``python -m memocache.cli``: the `memocache` command, where no script of that name is on the PATH."""

import sys

from memocache.cli import main

if __name__ == "__main__":
    sys.exit(main())
