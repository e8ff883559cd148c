"""The child process of the sandbox: runs one SELECT in a cage and writes one JSON answer.

It is started by path, not as a module, and imports nothing of traced: every import is paid by every query. For the same
reason it imports duckdb's native module; the package around it costs 0.2 s more and adds nothing that is used here.

The cage, from the outside in: an empty environment and an empty working directory (the parent), limits of the operating
system on time, memory and file size, DuckDB's locked configuration, one statement of type SELECT, a READ ONLY transaction.
DuckDB's own limits come first and give clear messages; those of the operating system hold whatever the engine does.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import signal
import sys
import time
from decimal import Decimal
from typing import Any

import _duckdb as duckdb

THREADS = 2
_FETCH_ROWS = 100
_MAX_MESSAGE = 2000
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "threads": THREADS,
    "async_threads": 1,
}

_STORED = {
    "span_files": (
        "CREATE VIEW stored_spans AS FROM empty_spans()",
        "CREATE VIEW stored_spans AS FROM empty_spans() UNION ALL BY NAME FROM read_parquet(getvariable('span_files'), union_by_name => true)",
    ),
    "log_files": (
        "CREATE VIEW stored_logs AS FROM empty_logs()",
        "CREATE VIEW stored_logs AS FROM empty_logs() UNION ALL BY NAME FROM read_parquet(getvariable('log_files'), union_by_name => true)",
    ),
    "message_files": (
        "CREATE VIEW stored_messages AS FROM empty_messages()",
        "CREATE VIEW stored_messages AS FROM empty_messages() UNION ALL BY NAME FROM read_parquet(getvariable('message_files'), union_by_name => true)",
    ),
    "message_flow_files": (
        "CREATE VIEW stored_message_flows AS FROM empty_message_flows()",
        """CREATE VIEW stored_message_flows AS FROM empty_message_flows() UNION ALL BY NAME FROM read_parquet(
            getvariable('message_flow_files'), union_by_name => true)""",
    ),
    "findings_files": (
        "CREATE VIEW stored_findings AS FROM empty_findings()",
        """CREATE VIEW stored_findings AS FROM empty_findings() UNION ALL BY NAME FROM read_json(
            getvariable('findings_files'), format => 'newline_delimited', columns => {
                id: 'VARCHAR', level: 'VARCHAR', cause: 'VARCHAR', fingerprint: 'VARCHAR', service: 'VARCHAR', peer: 'VARCHAR',
                signal_type: 'VARCHAR', signal_name: 'VARCHAR', count: 'BIGINT', confidence: 'DOUBLE', first_seen: 'VARCHAR',
                last_seen: 'VARCHAR', message: 'VARCHAR', how_to_fix: 'VARCHAR',
                examples: 'STRUCT(trace_id VARCHAR, span_id VARCHAR)[]', context: 'JSON'})""",
    ),
}
"""Variable that lists the files, to the relation without and with files. Of a name no SQL text is made: it is a value."""

_NOT_FINITE = {math.inf: "Infinity", -math.inf: "-Infinity"}

# Types that Python cannot hold exactly (nanoseconds, years past 9999, months) or needs a module for: fetched as text.
_TEXT_TYPES = ("TIMESTAMP", "DATE", "TIME", "INTERVAL", "UUID")
_NESTED_MARKS = ("[", "STRUCT(", "MAP(", "UNION(")


class RefusedError(Exception):
    """The query is not one that may run; `kind` tells the parent why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def answer_to(job: dict[str, Any]) -> bytes:
    """Run the job's query and give the answer as JSON: columns, rows, truncated; or error and message."""
    connection = None
    try:
        connection = prepare(job)
        return run(connection, job)
    except RefusedError as error:
        return _failure(error.kind, str(error))
    except (MemoryError, duckdb.OutOfMemoryException):
        del connection
        return _failure("memory_limit", "")
    except RecursionError:
        return _failure("failed", "a value is nested too deep to be written as JSON")
    except duckdb.Error as error:
        kind = _kind(error)
        return _failure(kind, "" if kind == "time_limit" else str(error))


def prepare(job: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """Open an empty database, create the views, then close every door: files, settings, memory."""
    limit_process(job)
    connection = duckdb.connect(":memory:", config={**_CONFIGURATION, "memory_limit": f"{job['max_memory_bytes'] * 4 // 5}B"})
    # each view, and then the query, reads every file's footer: once is enough, since the files do not change
    connection.execute("SET parquet_metadata_cache = true")
    for statement in job["macros"]:
        connection.execute(statement)
    for variable, (without_files, with_files) in _STORED.items():
        if job[variable]:
            # the variable's name is one of those above
            connection.execute(f"SET VARIABLE {variable} = $files", {"files": job[variable]})
        connection.execute(with_files if job[variable] else without_files)
    for statement in job["views"]:
        connection.execute(statement)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET allowed_paths = $files", {"files": [path for variable in _STORED for path in job[variable]]})
    connection.execute("SET allowed_directories = $directories", {"directories": job["directories"]})
    remaining_seconds = max(0.001, job["deadline_monotonic"] - time.monotonic())
    connection.execute("SET max_execution_time = $ms", {"ms": max(1, int(remaining_seconds * 1000))})
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    limit_memory(job["max_memory_bytes"])
    return connection


def limit_process(job: dict[str, Any]) -> None:
    """Take away the environment, writing to files, and time: these hold even if the parent dies meanwhile."""
    end_with(job["parent_pid"])
    os.environ.clear()
    remaining_seconds = max(1.0, job["deadline_monotonic"] - time.monotonic() + 1.0)
    cpu_seconds = math.ceil(remaining_seconds * THREADS)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, remaining_seconds)


def end_with(parent_pid: int) -> None:
    """Let the kernel kill this process when its parent ends, however that ends; where it cannot, the alarm does so later.

    It is the thread which started this process whose end counts; that thread waits for the answer, so it lives as long.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - a Python that was built without it runs queries all the same

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent_pid:  # it ended before the kernel was told
        os._exit(1)


def limit_memory(max_bytes: int) -> None:
    """Let the address space grow by at most `max_bytes`; imports, threads and their stacks are there already."""
    if sys.platform != "linux":  # elsewhere RLIMIT_AS is not enforced, and DuckDB's memory_limit is all there is
        return
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - pathlib is 10 ms of import
        pages = int(statm.read().split()[0])
    limit = pages * resource.getpagesize() + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def run(connection: duckdb.DuckDBPyConnection, job: dict[str, Any]) -> bytes:
    """Execute the one statement in a read-only transaction and encode its rows until a limit is reached."""
    text = only_select(connection, job["sql"], job["params"])
    values = job["params"] or None
    connection.execute("BEGIN TRANSACTION READ ONLY")
    described = connection.execute(f"DESCRIBE SELECT * FROM (\n{text}\n)", values).fetchall()  # noqa: S608 - see below
    columns = [str(column[0]) for column in described]
    plans = [plan_of(str(column[1])) for column in described]
    outputs = ", ".join(_OUTPUTS[plan].format(number) for number, plan in enumerate(plans, start=1))
    # what runs is the user's one SELECT as a subquery; text that parses alone cannot close a parenthesis opened before it
    connection.execute(f"SELECT {outputs} FROM (\n{text}\n)", values)  # noqa: S608
    return _encode(connection, columns, plans, job)


def only_select(connection: duckdb.DuckDBPyConnection, sql: str, params: dict[str, Any]) -> str:
    """Give the text of the single SELECT without closing semicolons.

    Raises:
        RefusedError: no or several statements, another type of statement, or parameters that do not fit.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise RefusedError("refused", f"exactly one statement is run at a time, here are {len(statements)}")
    statement = statements[0]
    if _type_of(statement) != "SELECT":
        raise RefusedError("refused", f"only SELECT is run, this statement is of type {_type_of(statement)}")
    wanted = set(statement.named_parameters)
    if any(name.isdigit() for name in wanted):
        raise RefusedError("parameters", "parameters are named: write $name")
    if wanted != set(params):
        missing, unknown = ", ".join(sorted(wanted - set(params))), ", ".join(sorted(set(params) - wanted))
        raise RefusedError("parameters", "; ".join([f"missing parameter {missing}"] * bool(missing) + [f"unknown parameter {unknown}"] * bool(unknown)))
    raw = sql.encode()
    for offset, kind in duckdb.tokenize(sql):
        if kind == duckdb.token_type.operator and raw[offset : offset + 1] == b";":
            return raw[:offset].decode()
    return sql


def _type_of(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # a type that the engine has and its Python names lack, such as UPDATE EXTENSIONS
        return "unknown"


_OUTPUTS = {"value": "#{0}", "time": "CAST(#{0} AS VARCHAR)", "json": "CAST(to_json(#{0}) AS VARCHAR)"}


def plan_of(sql_type: str) -> str:
    """Choose how a column is fetched: as a Python value, as text, or as JSON written by DuckDB."""
    if sql_type == "JSON":
        return "json"
    awkward = any(name in sql_type for name in _TEXT_TYPES)
    nested = any(mark in sql_type for mark in _NESTED_MARKS)
    if awkward and not sql_type.startswith("ENUM("):
        return "json" if nested else "time"
    return "value"


def _encode(connection: duckdb.DuckDBPyConnection, columns: list[str], plans: list[str], job: dict[str, Any]) -> bytes:
    head = json.dumps(columns, ensure_ascii=False).encode("utf-8", "replace")
    left_bytes = job["max_result_bytes"] - len(head)
    if left_bytes < 0:
        raise RefusedError("failed", f"the names of {len(columns)} columns alone are longer than {job['max_result_bytes']} bytes")
    encoded: list[bytes] = []
    truncated = False
    while not truncated:
        rows = connection.fetchmany(_FETCH_ROWS)
        if not rows:
            break
        for row in rows:
            line = json.dumps([_json_value(v, plan) for v, plan in zip(row, plans, strict=True)], ensure_ascii=False, allow_nan=False)
            raw = line.encode("utf-8", "replace")
            left_bytes -= len(raw) + 1
            if len(encoded) == job["max_rows"] or left_bytes < 0:
                truncated = True
                break
            encoded.append(raw)
    return b'{"columns":' + head + b',"rows":[' + b",".join(encoded) + b'],"truncated":' + (b"true" if truncated else b"false") + b"}"


def _json_value(value: Any, plan: str) -> Any:
    if value is None or plan == "value":
        return _safe(value)
    if plan == "json":
        return _safe(json.loads(value))
    # 2026-01-31 10:00:00.5 to 2026-01-31T10:00:00.5; an interval ("1 day 02:00:00") has no dash before its space
    date, space, clock = value.partition(" ")
    return f"{date}T{clock}" if space and "-" in date[1:] and ":" in clock else value


def _safe(value: Any) -> Any:
    """Give a value that JSON holds without loss; what it cannot hold becomes text."""
    match value:
        case None | bool() | str():
            safe: Any = value
        case int():
            safe = value if -(2**63) <= value < 2**64 else str(value)
        case float():
            safe = value if math.isfinite(value) else _NOT_FINITE.get(value, "NaN")
        case Decimal():
            safe = float(value) if value.is_finite() and Decimal(repr(float(value))) == value else str(value)
        case bytes() | bytearray() | memoryview():
            safe = bytes(value).hex()
        case list() | tuple():
            safe = [_safe(item) for item in value]
        case dict():
            safe = {key if isinstance(key, str) else json.dumps(_safe(key)): _safe(item) for key, item in value.items()}
        case _:
            safe = str(value)
    return safe


_KINDS: tuple[tuple[type[duckdb.Error], str], ...] = (
    (duckdb.InterruptException, "time_limit"),
    (duckdb.PermissionException, "refused"),
    (duckdb.ParserException, "syntax"),
    (duckdb.BinderException, "invalid"),
    (duckdb.CatalogException, "invalid"),
    (duckdb.IOException, "files"),
)


def _kind(error: duckdb.Error) -> str:
    text = str(error)
    if "read-only" in text or "configuration has been locked" in text:
        return "refused"
    return next((kind for exception, kind in _KINDS if isinstance(error, exception)), "failed")


def _failure(kind: str, message: str) -> bytes:
    return json.dumps({"error": kind, "message": message[:_MAX_MESSAGE]}).encode()


def main() -> None:
    """Read the job from standard input, write the answer to standard output."""
    answer = answer_to(json.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    # not sys.exit: taking the engine apart could outlast the limit, and nothing is left to save
    os._exit(0)


if __name__ == "__main__":
    main()
