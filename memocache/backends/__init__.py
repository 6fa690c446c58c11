"""Where bytes are kept: `base.BaseBackend` to build on, `memory`, `redis` and `null`, and `_urls` to choose by URL."""
