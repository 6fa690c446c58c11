"""The application: its commands, and what each way of ending is to the shell."""

from __future__ import annotations

import codecs
import io
import logging
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from memocache.cli import dashboard, demo, doctor, explain, invalidate, keys_and_inspect, ping, stats_and_top
from memocache.cli._common import Failure, printable
from memocache.exceptions import MemocacheError

_SPELLED = "memocache.spelled"
_ASCII = {"█": "#", "░": ".", "µ": "u", "…": "..."}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command("demo")(demo.demo)
app.command("ping")(ping.ping)
app.command("stats")(stats_and_top.stats)
app.command("top")(stats_and_top.top)
app.command("keys")(keys_and_inspect.keys)
app.command("inspect")(keys_and_inspect.inspect)
app.command("invalidate")(invalidate.invalidate)
app.command("clear")(invalidate.clear)
app.command("purge")(invalidate.purge)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.command("dashboard")(dashboard.dashboard)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    """See, check and manage what memocache holds."""
    if show_version:
        typer.echo(f"memocache {version('memocache')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command named by `arguments` and return its exit status: 2 for misuse, 1 for failure, 130 for Ctrl-C."""
    logging.getLogger("memocache").addHandler(logging.NullHandler())  # what goes wrong is told once, by us
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_SPELLED)
    try:
        with warnings.catch_warnings(record=True) as warned:
            words = None if arguments is None else list(arguments)
            status = app(args=words, prog_name="memocache", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        help_ = f"; see {context.command_path} --help" if context is not None else ""
        return _fail(error.format_message().rstrip(".") + help_, error.exit_code)
    except (Failure, MemocacheError, OSError) as error:
        return _fail(str(error) or type(error).__name__, 1)
    for warning in warned:  # of a command that failed they are not shown: its one line says why
        _fail(str(warning.message), 0)
    return status if isinstance(status, int) else 0


def _spelled(error: UnicodeError) -> tuple[str, int]:
    """What an encoding cannot say, in ASCII: a pipe on Windows has no bars, and a terminal of the C locale no µ."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(one, "?") for one in error.object[error.start : error.end]), error.end


codecs.register_error(_SPELLED, _spelled)


def _fail(message: str, status: int) -> int:
    print(f"memocache: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status
