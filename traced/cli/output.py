"""Everything the command prints goes through here: results to stdout, words to stderr, nothing that a terminal would obey.

Names in telemetry come from strangers, so text for people loses its control characters and escape sequences first; JSON
needs none of that, because it is printed in ASCII with everything else escaped.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from traced.errors import OutputUnwritableError

_ESCAPES: Final = re.compile(
    r"\x1b\][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # operating system commands: titles, links, clipboards
    r"|\x9d[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # control sequences: colours, cursor
    r"|\x1b[@-Z\\-_]?",
)
_BLANKS: Final = re.compile(r"[\t\n\r\v\f\x85\u2028\u2029]+")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_CELL_CHARACTERS: Final = 2_000


class OutputClosedError(Exception):
    """Whoever read our stdout (`head`, a pager) has gone."""


def clean(value: object) -> str:
    """Give text that is safe to print on one line of a terminal: no C0, C1, bidirectional controls or escape sequences."""
    text = _ESCAPES.sub("", str(value)[: 4 * MAX_CELL_CHARACTERS])
    text = _CONTROLS.sub("", _BLANKS.sub(" ", text))
    return text if len(text) <= MAX_CELL_CHARACTERS else text[: MAX_CELL_CHARACTERS - 1] + "…"


def write_lines(lines: Iterable[str]) -> None:
    """Print lines to stdout.

    Raises:
        OutputClosedError: the reader has gone.
        OutputUnwritableError: it cannot be written.
    """
    try:
        for line in lines:
            sys.stdout.write(_encodable(line) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosedError from None
    except OSError as error:
        raise OutputUnwritableError(
            f"the result could not be written: {error.strerror}",
            next_safe_actions=("Free space on the disk, or send the output elsewhere.",),
        ) from None


def _encodable(line: str) -> str:
    """Replace what stdout's encoding cannot say (a C locale, a lone surrogate)."""
    encoding = sys.stdout.encoding or "utf-8"
    return line.encode(encoding, "replace").decode(encoding)


def write_json(value: object) -> None:
    """Print one JSON document to stdout, in ASCII."""
    write_lines([json.dumps(value, indent=2)])


def say(message: str) -> None:
    """Print words to stderr, cleaned line by line."""
    try:
        for line in message.split("\n"):
            sys.stderr.write(clean(line).encode(sys.stderr.encoding or "utf-8", "replace").decode(sys.stderr.encoding or "utf-8") + "\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # Nobody listens to the words; the result may still be read.
        return


def write_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", right: frozenset[str] = frozenset()) -> None:
    """Print a table: drawn on a terminal, plain columns when piped.

    Args:
        columns: headings.
        rows: one value per column, of any kind; None is left empty.
        title: a line above the table.
        right: headings of columns to align on the right.
    """
    cells = [["" if value is None else clean(value) for value in row] for row in rows]
    if title:
        write_lines([title])
    if sys.stdout.isatty():
        write_lines(_drawn(columns, cells, right))
    else:
        write_lines(_plain(columns, cells, right))


def _plain(columns: Sequence[str], cells: list[list[str]], right: frozenset[str]) -> Iterator[str]:
    """Align with spaces, all of every cell on one line, so that `grep` and `awk` can use it."""
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in [list(columns), *cells]:
        padded = (text.rjust(width) if name in right else text.ljust(width) for text, width, name in zip(row, widths, columns, strict=True))
        yield "  ".join(padded).rstrip()


def _drawn(columns: Sequence[str], cells: list[list[str]], right: frozenset[str]) -> list[str]:
    from rich import box  # noqa: PLC0415 - rich is needed on a terminal only
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(text) for text in row))
    console = Console(markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n").split("\n")


def csv_cell(value: Any) -> str:
    """Give a value for a CSV cell; text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return str(value)
    text = clean(json.dumps(value) if isinstance(value, dict | list) else value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def write_text(text: str) -> None:
    """Print text of several lines to stdout, each cleaned."""
    write_lines(clean(line) if line.strip() else "" for line in text.split("\n"))
