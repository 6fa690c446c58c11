"""How a connection is opened: redis-py resolves the name, does TLS, authenticates and selects; then the socket is ours.

Whoever opens one waits in a helper thread, for name resolution has no timeout. It knows nothing of what is asked over
the socket; redis-py's work for each command is too dear for that.
"""

from __future__ import annotations

import _thread
import inspect
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from memocache.backends._redis.connection import Connection
from memocache.backends._redis.credentials import logging_in
from memocache.backends._settings import RedisSettings
from memocache.backends.base import NotAccepted, NotReached, ReplyError

Dial: TypeAlias = Callable[[], socket.socket]
"""Opens and authenticates a new socket; it blocks."""


def dialer(settings: RedisSettings, greet: Callable[[Any], None] | None = None) -> Dial:
    """Return what opens and authenticates a new socket for `settings`; it blocks, so call it in a thread of its own.

    `greet` may first talk to the server over redis-py's connection, and raises an OSError if it is the wrong one.
    """
    from redis import exceptions

    kind, options = _client(settings)
    # what redis-py makes of an error's first word, back again; its text has lost it
    codes: dict[type, str] = {
        exceptions.AuthenticationError: "WRONGPASS",
        exceptions.AuthenticationWrongNumberOfArgsError: "WRONGPASS",
        exceptions.BusyLoadingError: "LOADING",
        exceptions.NoPermissionError: "NOPERM",
    }

    def dial() -> socket.socket:
        connection: Any = kind(**options)
        try:
            connection.connect()
            if greet is not None:
                try:
                    greet(connection)
                except BaseException:
                    connection.disconnect()
                    raise
        except (exceptions.AuthenticationError, exceptions.BusyLoadingError, exceptions.ResponseError) as error:
            raise ReplyError(codes.get(type(error), "ERR"), str(error)) from None
        except exceptions.TimeoutError as error:
            raise NotAccepted("the server did not accept a connection in time") from error
        except exceptions.RedisError as error:
            raise NotReached("the server could not be reached") from error.__context__ or error
        sock: socket.socket = connection._sock
        connection._sock = None  # ours now: its destructor must not shut it down
        return sock

    return logging_in(dial, settings.credentials)


def connect_in_thread(dial: Dial, done: Callable[[Connection | None, Exception | None], None]) -> None:
    """Open a connection in a thread that exit does not wait for; in that thread `done` gets it, or the error.

    At exit, where Python starts no more threads, it is this one. Raises RuntimeError if none can be started otherwise.
    """

    def run() -> None:
        try:
            connection = Connection(dial())
        except Exception as error:
            done(None, error)
        else:
            done(connection, None)

    # Not threading.Thread: a signal handler's exception inside its start() would keep `done` alive for ever.
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        if threading.main_thread().is_alive():
            raise
        run()  # since Python 3.12 none starts at exit, when counters are sent; its connect_timeout bounds it


def _client(settings: RedisSettings) -> tuple[Any, dict[str, Any]]:
    """redis-py's class of connection for `settings`, and its arguments."""
    from redis.backoff import NoBackoff
    from redis.connection import AbstractConnection, SSLConnection, UnixDomainSocketConnection
    from redis.connection import Connection as PlainConnection
    from redis.retry import Retry

    options: dict[str, Any] = {
        "db": settings.db,
        "username": settings.username,
        "password": settings.password,
        "client_name": settings.client_name,
        "socket_timeout": settings.connect_timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    # CLIENT SETINFO would cost each connection two round trips; redis-py 8 names the setting anew.
    if "driver_info" in inspect.signature(AbstractConnection).parameters:
        options["driver_info"] = None
    else:
        options |= {"lib_name": None, "lib_version": None}
    if settings.credentials is not None:
        options["credential_provider"] = settings.credentials
    options |= dict(settings.tls_options)
    if settings.path is not None:
        return UnixDomainSocketConnection, options | {"path": settings.path}
    kind: Any = SSLConnection if settings.tls else PlainConnection
    if settings.tls_context is not None:
        wrap = partial(settings.tls_context.wrap_socket, server_hostname=settings.host)
        # redis-py makes a context of its own from options; this is where it uses it
        kind = type("ContextConnection", (SSLConnection,), {"_wrap_socket_with_ssl": lambda _, sock: wrap(sock)})
    return kind, options | {"host": settings.host, "port": settings.port}
