"""``python -m benchmarks``; see `benchmarks._app` for the commands."""

import sys

from benchmarks._app import main

sys.exit(main())
