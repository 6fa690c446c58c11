"""Exceptions of the program's signal handlers, told from those of the code that was interrupted.

A handler runs between two steps of whatever its thread does, also of a backend's code. What it raises (a time limit,
say) is meant for the program: it says nothing about the backend, and is never kept from the caller.
"""

from __future__ import annotations

import signal
from types import CodeType, TracebackType
from typing import Any


def of_signal_handler(error: BaseException) -> bool:
    """Whether `error` was raised in a signal handler that is installed now."""
    codes = {code for handler in map(_handler, signal.valid_signals()) if (code := _code(handler)) is not None}
    trace: TracebackType | None = error.__traceback__
    while codes and trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _handler(number: int) -> Any:
    try:
        return signal.getsignal(number)
    except ValueError:
        return None


def _code(handler: Any) -> CodeType | None:
    """The code of a handler that is written in Python."""
    if handler is None or isinstance(handler, int) or handler is signal.default_int_handler:
        return None
    handler = getattr(handler, "func", handler)  # a partial
    handler = getattr(handler, "__func__", handler)  # a method
    code = getattr(handler, "__code__", None)
    if code is None:
        code = getattr(type(handler).__call__, "__code__", None) if callable(handler) else None
    return code if isinstance(code, CodeType) else None
