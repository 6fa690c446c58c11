"""Every error and warning memocache raises.

::

    MemocacheError
    ├── ConfigurationError (ValueError)      a setting, URL, template or name that cannot work
    ├── UnstableKeyError (TypeError)         an argument without a value identity
    ├── EncodeError (TypeError)              a result that cannot be stored faithfully (strict=True)
    ├── DecodeError (ValueError)             stored bytes that are not what we wrote
    ├── BackendError (ConnectionError)       the backend could not be reached or refused
    └── ComputeTimeout (TimeoutError)        the function is slower than hard_timeout

    UncacheableWarning (UserWarning)         a result was returned uncached
    UnsharedWarning (UserWarning)            entries stay in this process
    DuplicateNameWarning (UserWarning)       two functions of one name= share entries

Messages name parameters, functions and settings, and never an argument, a value or a stored byte.
"""

from __future__ import annotations


class MemocacheError(Exception):
    """Root of every error of memocache."""


class ConfigurationError(MemocacheError, ValueError):
    """A setting, URL, template or name that cannot work."""


class UnstableKeyError(MemocacheError, TypeError):
    """An argument has no value identity, so no key can name the call."""


class EncodeError(MemocacheError, TypeError):
    """A value cannot be stored faithfully; the message holds the path to the offending part."""


class DecodeError(MemocacheError, ValueError):
    """Stored bytes are not an envelope or payload that this cache may read."""


class BackendError(MemocacheError, ConnectionError):
    """The backend could not be reached, timed out, or refused the command."""


class ComputeTimeout(MemocacheError, TimeoutError):
    """The function did not finish within ``hard_timeout``; it still finishes and stores."""


class UncacheableWarning(UserWarning):
    """A result cannot be stored faithfully and was returned uncached."""


class UnsharedWarning(UserWarning):
    """Entries cannot be named across processes and stay in this one."""


class DuplicateNameWarning(UserWarning):
    """Two different functions were given one ``name=``: each is served the other's entries."""
