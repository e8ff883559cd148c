"""The SQL files: found, read, and checked before anything uses them.

One statement a file, under a header of comment lines: the question that it answers, then `params:` and `returns:`.

    -- Which spans does a trace have?
    -- params: trace_id varchar, max_rows bigint = 1000
    -- returns: span_id varchar, name varchar,
    --   attributes map(varchar, varchar)

Both may be empty (or `none`); a line may be continued on further comment lines. A third, `driven by: pass_suspects, pass_twins`, names tables
without whose rows the answer has none, so that it need not be asked. The header ends at the first line that
is no comment. Values enter by named parameters (`$trace_id`) only, so no text is ever put together from data.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import duckdb

import traced
from traced.errors import NotFoundError, QueryError, StoreError
from traced.store.spill import spill_settings

_PARAMETER: Final = re.compile(r"^(?P<name>[a-z_][a-z0-9_]*) +(?P<type>[^=]+?)(?: *= *(?P<default>.+))?$")
_COLUMN: Final = re.compile(r"^(?P<name>[a-z_][a-z0-9_]*) +(?P<type>.+)$")
_TRUTHS: Final = {"true": True, "false": False}
_MAX_INT64: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter; `type` is the SQL type in lower case, `default` counts only where not `required`."""

    name: str
    type: str
    required: bool
    default: str | int | float | bool | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column; `type` is the SQL type in lower case."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One SQL file.

    Attributes:
        name: the file's stem.
        folder: its folder below `queries/`, e.g. `read` or `ddl/views`.
        question: what it answers, one or more sentences.
        params: what it takes.
        returns: the columns that it gives.
        sql: the whole text, header included.
        driven_by: tables; where none of them has a row, the answer has none. Without any, it is always asked.
    """

    name: str
    folder: str
    question: str
    params: tuple[Parameter, ...]
    returns: tuple[Column, ...]
    sql: str
    driven_by: tuple[str, ...] = ()

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check the given values against the declared parameters and fill in defaults; text is read as the declared type.

        Raises:
            QueryError: a parameter is unknown, missing or of a wrong type.
        """
        known = {parameter.name: parameter for parameter in self.params}
        for name in given:
            if name not in known:
                raise _bad_parameter(f"query {self.name!r} has no parameter {name!r}{_nearest(name, known)}", self)
        missing = [name for name, parameter in known.items() if parameter.required and name not in given]
        if missing:
            raise _bad_parameter(f"query {self.name!r} needs {', '.join(missing)}", self)
        return {name: self._value(parameter, given) for name, parameter in known.items()}

    def _value(self, parameter: Parameter, given: Mapping[str, Any]) -> Any:
        if parameter.name not in given:
            return parameter.default
        value = given[parameter.name]
        if value is None and not parameter.required and parameter.default is None:
            return None
        try:
            return _as_type(parameter.type, value)
        except ValueError as error:
            raise _bad_parameter(f"parameter {parameter.name!r} of query {self.name!r}: {error}", self) from None


@cache
def load_folder(folder: str) -> Mapping[str, NamedQuery]:
    """Read and check every SQL file of a folder, in the order of its `_order` file, else by name.

    Raises:
        StoreError: a file breaks a rule, or `_order` and the files differ.
    """
    directory = _root() / folder
    with duckdb.connect(":memory:", config={**spill_settings(None, "parser")}) as parser:
        queries = {path.stem: parse(path.stem, folder, path.read_text(encoding="utf-8"), parser) for path in sorted(directory.glob("*.sql"))}
    order = directory / "_order"
    if not order.exists():
        return queries
    lines = order.read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if sorted(names) != sorted(queries):
        differing = ", ".join(sorted(set(names) ^ set(queries))) or "a name stands twice"
        raise _broken(f"queries/{folder}/_order and the SQL files beside it differ: {differing}")
    return {name: queries[name] for name in names}


def find_query(name: str, folder: str = "read") -> NamedQuery:
    """Give one query by name.

    Raises:
        NotFoundError: there is none of that name.
    """
    queries = load_folder(folder)
    if name not in queries:
        raise NotFoundError(
            f"there is no query {name[:100]!r}{_nearest(name, queries)}",
            error_code="query_not_found",
            next_safe_actions=(f"Use one of: {', '.join(queries)}.",),
        )
    return queries[name]


def parse(name: str, folder: str, text: str, parser: duckdb.DuckDBPyConnection) -> NamedQuery:
    """Read one SQL file's text; `parser` parses only, nothing is executed.

    Raises:
        StoreError: not exactly one statement, no header, or the parameters used are not those declared.
    """
    where = f"queries/{folder}/{name}.sql"
    question, sections = _header(text)
    absent = [part for part in ("params", "returns") if part not in sections]
    if not question or absent:
        raise _broken(f"{where}: the header needs {'a question' if not question else ' and '.join(f'`-- {part}:`' for part in absent)}")
    params = tuple(_parameter(item, where) for item in _items(sections["params"]))
    returns = tuple(_column(item, where) for item in _items(sections["returns"]))
    used = _parameters_of_one_statement(text, where, parser)
    if used != {parameter.name for parameter in params}:
        differing = ", ".join(sorted(used ^ {parameter.name for parameter in params}))
        raise _broken(f"{where}: parameters declared and used differ: {differing}")
    driven_by = tuple(_items(sections.get("driven by", "")))
    return NamedQuery(name, folder, question, params, returns, text, driven_by)


def _root() -> Path:
    """Find the SQL files: in the installed package, else in the checkout beside it."""
    package = Path(traced.__file__).resolve().parent
    for root in (package / "queries", package.parent / "queries"):
        if root.is_dir():
            return root
    raise _broken(f"no SQL files in {package / 'queries'} nor in {package.parent / 'queries'}")


def _header(text: str) -> tuple[str, dict[str, str]]:
    question: list[str] = []
    sections: dict[str, list[str]] = {}
    current = question
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        content = line.removeprefix("--").strip()
        key, separator, rest = content.partition(":")
        if separator and key in {"params", "returns", "driven by"}:
            current = sections.setdefault(key, [])
            content = rest.strip()
        if content:
            current.append(content)
    return " ".join(question), {key: " ".join(lines) for key, lines in sections.items()}


def _items(declarations: str) -> Iterator[str]:
    """Split at commas that stand outside parentheses and quotes."""
    if declarations in {"", "none"}:
        return
    depth, quoted, start = 0, False, 0
    for position, character in enumerate(declarations):
        quoted ^= character == "'"
        depth += 0 if quoted else (character == "(") - (character == ")")
        if character == "," and depth == 0 and not quoted:
            yield declarations[start:position].strip()
            start = position + 1
    yield declarations[start:].strip()


def _parameter(item: str, where: str) -> Parameter:
    match = _PARAMETER.match(item)
    if match is None:
        raise _broken(f"{where}: {item!r} is not `name type` nor `name type = default`")
    kind, default = match["type"].lower(), match["default"]
    if default is None:
        return Parameter(match["name"], kind, required=True)
    if default.lower() == "null":
        return Parameter(match["name"], kind, required=False)
    try:
        return Parameter(match["name"], kind, required=False, default=_as_type(kind, default.strip("'")))
    except ValueError as error:
        raise _broken(f"{where}: default of {match['name']}: {error}") from None


def _column(item: str, where: str) -> Column:
    match = _COLUMN.match(item)
    if match is None:
        raise _broken(f"{where}: {item!r} is not `column type`")
    return Column(match["name"], match["type"].lower())


def _parameters_of_one_statement(text: str, where: str, parser: duckdb.DuckDBPyConnection) -> set[str]:
    try:
        statements = parser.extract_statements(text)
    except duckdb.Error as error:
        raise _broken(f"{where}: {error}") from None
    if len(statements) != 1:
        raise _broken(f"{where}: one statement a file, here are {len(statements)}")
    return set(statements[0].named_parameters)


def _as_type(kind: str, value: Any) -> Any:
    """Read a value as a SQL type; text is parsed, so that a command line can give it.

    Raises:
        ValueError: it does not fit; the text says what was expected.
    """
    expected = ValueError(f"{str(value)[:100]!r} is not of type {kind}")
    if kind == "varchar":
        if isinstance(value, str):
            return value
        raise expected
    if kind == "boolean":
        truth = value if isinstance(value, bool) else _TRUTHS.get(str(value).lower())
        if truth is None:
            raise expected
        return truth
    if kind in {"bigint", "double"}:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or (kind == "bigint" and isinstance(value, float)):
            raise expected
        try:
            number = int(value) if kind == "bigint" else float(value)
        except (ValueError, OverflowError):
            raise expected from None
        if kind == "bigint" and not -_MAX_INT64 <= number <= _MAX_INT64:
            raise expected
        return number
    return value


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _bad_parameter(message: str, query: NamedQuery) -> QueryError:
    takes = ", ".join(f"{p.name} ({p.type}{'' if p.required else ', optional'})" for p in query.params) or "no parameters"
    return QueryError(message, error_code="query_parameter_invalid", next_safe_actions=(f"Query {query.name!r} takes {takes}.",))


def _broken(message: str) -> StoreError:
    return StoreError(message, error_code="query_file_invalid", next_safe_actions=("Install traced again: its SQL files are not as they were built.",))
