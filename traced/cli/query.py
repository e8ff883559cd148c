"""`traced query`: named queries, or one's own SQL, read only and bounded by the daemon."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traced.cli.options import DAEMON_URL, UrlOption
from traced.cli.output import csv_cell, say, write_json, write_lines, write_table
from traced.errors import ConfigurationError, InputUnreadableError

if TYPE_CHECKING:
    from traced.cli.daemon_api import DaemonApi

MAX_SQL_BYTES = 1_000_000
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,14})")
_FRACTION = re.compile(r"-?(0|[1-9]\d{0,14})\.\d{1,15}")


class QueryFormat(StrEnum):
    """How rows are printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


_ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="KEY=VALUE", help="A parameter; numbers of up to 15 digits are numbers, KEY='\"1\"' is text all the same."),
]


def query(
    name: Annotated[str | None, typer.Argument(metavar="NAME|FILE.sql|-", help="A named query, a file with SQL, or - for SQL on standard input.")] = None,
    *,
    param: _ParamOption = None,
    url: UrlOption = DAEMON_URL,
    output: Annotated[QueryFormat, typer.Option("--format", help="text for people, json or csv for programs.")] = QueryFormat.TEXT,
) -> None:
    """Run a named query or your own SQL on a running daemon; without a name, list the named ones."""
    from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415 - loads urllib and ssl, which `traced --help` has no use for

    params = parameters(param or [])
    api = DaemonApi(url, timeout_seconds=620.0)  # the daemon's own limit ends a query before this
    if name is None:
        _list(api, output)
        return
    body: dict[str, Any] = {"params": params}
    if name == "-":
        body["sql"] = sys.stdin.read(MAX_SQL_BYTES)
    elif name.endswith(".sql"):
        body["sql"] = _sql_of(Path(name))
    else:
        body["name"] = name
    _print(api.post("query", body=body), output)


def parameters(given: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE: short numbers as numbers, true and false as booleans, JSON text without its quotes, the rest as it is.

    Sixteen digits and more stay text, because a span id may have no letters.

    Raises:
        ConfigurationError: a parameter is not of the form KEY=VALUE.
    """
    params: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise ConfigurationError(f"--param {text!r} is not KEY=VALUE", next_safe_actions=("Write it like --param service_name=cart.",))
        params[key] = _value(value)
    return params


def _value(text: str) -> Any:
    if _WHOLE.fullmatch(text):
        return int(text)
    if _FRACTION.fullmatch(text):
        return float(text)
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _sql_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_SQL_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise InputUnreadableError(f"{path} cannot be read: {error}", next_safe_actions=("Check the path.",)) from None


def _list(api: DaemonApi, output: QueryFormat) -> None:
    answer = api.get("queries")
    if output is QueryFormat.JSON:
        write_json(answer)
        return
    rows = [[one["name"], ", ".join(one["params"]), one["question"]] for one in answer["queries"]]
    _rows(("name", "params", "question"), rows, output)


def _print(answer: dict[str, Any], output: QueryFormat) -> None:
    if output is QueryFormat.JSON:
        write_json(answer)
        return
    _rows(answer["columns"], answer["rows"], output)
    if answer["truncated"]:
        say("a limit left rows out (settings query.max_rows and query.max_result_bytes of the daemon)")


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], output: QueryFormat) -> None:
    if output is QueryFormat.TEXT:
        numbers = {name for i, name in enumerate(columns) if rows and all(isinstance(row[i], int | float) for row in rows)}
        write_table(list(columns), rows, right=frozenset(numbers))
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([csv_cell(name) for name in columns])
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    write_lines([text.getvalue().removesuffix("\n")])
