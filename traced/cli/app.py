"""The command line as a whole: its commands, and what becomes of an error.

Commands import what they need when they run, so that `traced --help` and shell completion answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import weakref
from collections.abc import Callable
from itertools import pairwise
from types import FrameType
from typing import Annotated, Final

import typer

from traced import __version__
from traced.cli import analyze, demo, explain, findings, graph, migration, query, send, serve
from traced.cli.output import OutputClosedError, say, write_json
from traced.errors import ConfigurationError, InputUnreadableError, OutputUnwritableError, PortTakenError, StoreError, TracedError, UnreachableError

USAGE: Final = 2
UNREADABLE: Final = 3
UNREACHABLE: Final = 4
DEFECT: Final = 70
"""A fault of `traced` itself (EX_SOFTWARE): must not look like exit code 1, `the answer is no`."""
READER_GONE: Final = 128 + signal.SIGPIPE
_SWALLOWED_AFTER_SECONDS: Final = 0.1
_NOT_INSTALLED: Final = frozenset({"demo_extra_missing"})

app = typer.Typer(
    name="traced",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain when piped, where drawing boxes would only cost time.
    rich_markup_mode="rich" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("analyze")(analyze.analyze)
app.command("send")(send.send)
app.command("findings")(findings.findings)
app.command("explain")(explain.explain)
app.command("graph")(graph.graph)
app.command("query")(query.query)
app.add_typer(migration.migration, name="migration")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        sys.stdout.write(f"traced {__version__}\n")
        raise typer.Exit


@app.callback()
def _traced(
    *,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")] = False,
) -> None:
    """Say which spans are missing from OpenTelemetry traces, and why."""


def exit_code_of(error: TracedError) -> int:
    """Choose the exit code: 2 usage or configuration, 3 input unreadable or output unwritable, 4 daemon or store not reached."""
    if isinstance(error, InputUnreadableError | OutputUnwritableError):
        return UNREADABLE
    if isinstance(error, StoreError | UnreachableError):
        return UNREACHABLE
    if isinstance(error, ConfigurationError | PortTakenError) or error.error_code in _NOT_INSTALLED or error.status < 500:
        return USAGE
    return UNREACHABLE


def main() -> None:
    """Run the command line and leave with its exit code."""
    ended = _Ended()
    code = _run(ended)
    ended.stand_down()
    sys.exit(code if ended.code is None else ended.code)


def _run(ended: _Ended) -> int | str | None:
    try:
        app(prog_name="traced")
    except TracedError as error:
        # a library that was interrupted may report that as an error of its own
        return _report(error) if ended.code is None else ended.code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OutputClosedError:
        _forget_output()
        return READER_GONE
    except SystemExit as done:
        return done.code
    except Exception:  # noqa: BLE001 - the root of the main thread
        if ended.code is None:
            traceback.print_exc()
            say("This is a defect of traced; the lines above say where.")
        return DEFECT
    return 0


class _Ending(SystemExit):
    """Unwinds the command."""


class _Ended:
    """Ends the command at SIGINT and SIGTERM; what was opened is closed on the way out.

    A library may swallow what a signal handler raises (as native code does that tries whether a module can be imported): then nothing
    unwinds, the exception is gone, and it is raised again.

    Attributes:
        code: the exit code where a signal came, else None.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self._unwinds: Callable[[], _Ending | None] = lambda: None
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGALRM, self._end_again)

    def stand_down(self) -> None:
        """Nothing is left to be unwound."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        # that a daemon is told to end is no failure, also while it starts
        self.code = 0 if sys.argv[1:2] == ["serve"] else 128 + number
        signal.setitimer(signal.ITIMER_REAL, _SWALLOWED_AFTER_SECONDS, _SWALLOWED_AFTER_SECONDS)
        self._raise()

    def _end_again(self, _number: int, _frame: FrameType | None) -> None:
        if self._unwinds() is None:
            self._raise()

    def _raise(self) -> None:
        ending = _Ending(self.code)
        self._unwinds = weakref.ref(ending)
        try:
            raise ending
        finally:
            # a name in the frame that the traceback holds would keep the exception for ever
            del ending


def _forget_output() -> None:
    """Give what Python flushes once more at exit somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error: TracedError) -> int:
    code = exit_code_of(error)
    if isinstance(error, OutputUnwritableError):
        _forget_output()
    elif _asks_for_json(sys.argv[1:]):
        try:
            write_json(error.as_dict())
        except OutputClosedError:
            return code
        return code
    say(f"traced: {error.message}")
    for action in error.next_safe_actions:
        say(f"  → {action}")
    return code


def _asks_for_json(arguments: list[str]) -> bool:
    """Tell whether `--format json` was given, also where the command failed before it could be told."""
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)
