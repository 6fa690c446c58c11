"""Where bytes are kept: `memory`, `disk`, `redis`, `cluster`, `sentinel` and `null`, each a module with one backend.

`base.BaseBackend` is what an author of another one starts from. `_registry` knows which backend a URL names and
`_settings` what a URL says; the wings `_redis`, `_cluster` and `_disk` hold the parts. No backend knows what its bytes
mean.
"""
