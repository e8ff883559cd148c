"""Runs a user's own SELECT in a child process that can be killed, over files that nobody writes any more.

An engine has no limit that holds inside one function call (`repeat`, `levenshtein`, a 100,000-deep cast), so the limits
that count are the operating system's: the child is killed when its time is over, and cannot grow beyond its memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from traced.config import QuerySettings
from traced.errors import OverloadedError, QueryError
from traced.model.query_result import QueryResult
from traced.store.queries import load_folder

MAX_SQL_BYTES: Final = 2**18
"""Longest text of a query, with its parameters, in bytes: ten times what people write; the parser cannot be interrupted."""

_CHILD: Final = Path(__file__).with_name("sandbox_child.py")
_GRACE_SECONDS: Final = 0.25
"""How long after its time the child may still deliver its own, clearer error before it is killed."""
_ANSWER_OVERHEAD_BYTES: Final = 2**16
_MAX_STDERR_BYTES: Final = 4096

_SMALLER: Final = "Narrow it down: filter by trace_id, service_name or start_time, aggregate, or add LIMIT."
_LOOK: Final = "Read the views spans, span_links, span_events, logs, findings, messages and message_flows; `DESCRIBE spans` lists the columns."
_ONLY_SELECT: Final = "Send one SELECT over the views spans, span_links, span_events, logs, findings, messages and message_flows."


@dataclass(frozen=True, slots=True)
class _Problem:
    """How one kind of failure is told: status, error_code, start of the message, what to do next."""

    status: int
    error_code: str
    message: str
    next_safe_action: str


_PROBLEMS: Final[dict[str, _Problem]] = {
    "syntax": _Problem(400, "query_syntax_error", "the query cannot be parsed", "Correct the SQL (DuckDB's dialect)."),
    "invalid": _Problem(400, "query_invalid", "the query names something that is not there", _LOOK),
    "refused": _Problem(403, "query_refused", "the query was refused", _ONLY_SELECT),
    "parameters": _Problem(400, "query_parameter_invalid", "the parameters do not fit the query", "Give exactly the $names that stand in the SQL."),
    "time_limit": _Problem(408, "query_time_limit", "the query was stopped at its time limit", _SMALLER),
    "memory_limit": _Problem(413, "query_memory_limit", "the query was stopped at its memory limit", _SMALLER),
    "files": _Problem(
        503, "query_files_changed", "a data file could not be read", "Run the same query again: retention or a merge may have replaced the file."
    ),
    "failed": _Problem(400, "query_failed", "the query failed", "Correct the SQL (DuckDB's dialect)."),
    "crashed": _Problem(400, "query_crashed", "the query's process ended early", _SMALLER),
    "busy": _Problem(503, "query_busy", "too many queries are running", "Run the same query again in a second."),
}


@dataclass(frozen=True, slots=True)
class SandboxFiles:
    """What one query may read; nobody may write to these files meanwhile.

    Attributes:
        spans: Parquet files of the schema SPANS.
        logs: Parquet files of the schema LOGS.
        findings: JSON lines of `Finding.as_dict()`, or None.
        messages: Parquet files of the schema MESSAGES.
        message_flows: Parquet files of the schema FLOWS.
        extra_directories: directories whose files the SQL may name itself.
    """

    spans: tuple[Path, ...] = ()
    logs: tuple[Path, ...] = ()
    findings: Path | None = None
    messages: tuple[Path, ...] = ()
    message_flows: tuple[Path, ...] = ()
    extra_directories: tuple[Path, ...] = ()


class Sandbox:
    """Starts one child a query, at most `max_running` at once.

    Attributes:
        settings: limits of time, memory, rows and bytes.
    """

    def __init__(self, settings: QuerySettings, max_running: int = 2) -> None:
        self.settings = settings
        self._slots = threading.BoundedSemaphore(max_running)
        self._children: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Kill the children; queries that run or come end with an error that says to come back."""
        with self._guard:
            self._closed = True
            for child in self._children:
                _kill(child)

    def refuse_if_closed(self) -> None:
        """Spare a query the work that comes before its child.

        Raises:
            OverloadedError: the daemon stops.
        """
        if self._closed:
            raise _shutting_down()

    def run(self, sql: str, params: Mapping[str, Any], files: SandboxFiles) -> QueryResult:
        """Run one SELECT over the views, with named parameters, and give its rows.

        Args:
            sql: one statement; `$name` stands for a parameter.
            params: name to a text, number, truth, None, or a list of these.
            files: what may be read.

        Raises:
            QueryError: it was refused, failed, or was stopped at a limit; the daemon is unharmed in each case.
            OverloadedError: the daemon stops.
        """
        self.refuse_if_closed()
        _check(sql, params)
        if not self._slots.acquire(blocking=False):
            raise _error("busy", "")
        try:
            return self._answer(sql, dict(params), files)
        finally:
            self._slots.release()

    def _answer(self, sql: str, params: dict[str, Any], files: SandboxFiles) -> QueryResult:
        deadline = time.monotonic() + self.settings.timeout_seconds
        job = {
            "sql": sql,
            "params": params,
            "macros": [query.sql for query in load_folder("ddl/macros").values()],
            "views": [query.sql for query in load_folder("ddl/views").values()],
            "span_files": _absolute(files.spans),
            "log_files": _absolute(files.logs),
            "message_files": _absolute(files.messages),
            "message_flow_files": _absolute(files.message_flows),
            "findings_files": _absolute((files.findings,) if files.findings else ()),
            "directories": _absolute(files.extra_directories),
            "deadline_monotonic": deadline,
            "parent_pid": os.getpid(),
            "max_memory_bytes": self.settings.max_memory_bytes,
            "max_rows": self.settings.max_rows,
            "max_result_bytes": self.settings.max_result_bytes,
        }
        answer = self._run_child(json.dumps(job).encode(), deadline, self.settings.max_result_bytes + _ANSWER_OVERHEAD_BYTES)
        if "error" in answer:
            if self._closed:
                raise _shutting_down()
            raise _error(answer["error"], answer["message"])
        return QueryResult(answer["columns"], answer["rows"], answer["truncated"])

    def _run_child(self, job: bytes, deadline: float, max_answer_bytes: int) -> dict[str, Any]:
        """Start the child, hand it the job, read its answer; at the end no process and no directory of it is left."""
        with tempfile.TemporaryDirectory(prefix="traced-query-") as directory, _started(directory) as child:
            timer = threading.Timer(max(0.0, deadline - time.monotonic()) + _GRACE_SECONDS, _kill, [child])
            timer.start()
            try:
                self._watch(child)
                raw, complaint = _exchange(child, job, max_answer_bytes)
            finally:
                _kill(child)
                timer.cancel()
                timer.join()  # it must not kill by number after the child is reaped
                with self._guard:
                    self._children.discard(child)
                child.wait()
            if raw and len(raw) <= max_answer_bytes:
                with contextlib.suppress(ValueError):
                    return dict(json.loads(raw))
            if time.monotonic() >= deadline or child.returncode in {-signal.SIGXCPU, -signal.SIGALRM}:
                return {"error": "time_limit", "message": ""}
            return {"error": "crashed", "message": complaint or f"exit status {child.returncode}"}

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        """Let `close` kill the child; where that was called already, now."""
        with self._guard:
            self._children.add(child)
            if self._closed:
                _kill(child)


def _started(directory: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and file
            # isolated: no user's site directory, no PYTHON* variables, no working directory on the path
            [sys.executable, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            # one malloc arena: each further one reserves 64 MiB of the address space that is limited
            env={"MALLOC_ARENA_MAX": "1"},
            start_new_session=True,
        )
    except OSError as error:
        raise QueryError(
            f"the query's process cannot be started: {error}",
            status=503,
            error_code="query_not_started",
            next_safe_actions=("Run the same query again in a second.",),
        ) from None


def _exchange(child: subprocess.Popen[bytes], job: bytes, max_answer_bytes: int) -> tuple[bytes, str]:
    """Write the job, read the answer and the last line of what the child complained about; a killed child ends both."""
    if child.stdin is None or child.stdout is None or child.stderr is None:
        raise ValueError("the child was started without pipes")
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(job)
    with contextlib.suppress(BrokenPipeError):  # closing writes what is left in the buffer
        child.stdin.close()
    raw = child.stdout.read(max_answer_bytes + 1)
    if raw:
        return raw, ""
    lines = child.stderr.read(_MAX_STDERR_BYTES).decode("utf-8", "replace").strip().splitlines()
    return raw, lines[-1] if lines else ""


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started (it leads its own process group); it is not reaped yet, so the number is its."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _check(sql: str, params: Mapping[str, Any]) -> None:
    for name, value in params.items():
        items = value if isinstance(value, list) else [value]
        wrong = next((item for item in items if item is not None and not isinstance(item, str | int | float | bool)), None)
        if wrong is not None:
            raise _error("parameters", f"parameter {name!r} is a {type(wrong).__name__}; a text, number, truth or null, or a list of these, is expected")
    try:
        size = len(json.dumps([sql, dict(params)], ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise _error("syntax", f"the text is no Unicode: {error}") from None
    if size > MAX_SQL_BYTES:
        raise QueryError(
            f"the query and its parameters are {size} bytes long, {MAX_SQL_BYTES} are allowed",
            status=413,
            error_code="query_too_long",
            next_safe_actions=("Send a shorter query.",),
        )


def _absolute(paths: tuple[Path, ...]) -> list[str]:
    return [str(path.resolve()) for path in paths]


def _shutting_down() -> OverloadedError:
    return OverloadedError("traced is shutting down and runs no more queries", retry_after_seconds=5, reason="shutting_down")


def _error(kind: str, detail: str) -> QueryError:
    problem = _PROBLEMS.get(kind, _PROBLEMS["failed"])
    return QueryError(
        f"{problem.message}: {detail}" if detail else problem.message,
        status=problem.status,
        error_code=problem.error_code,
        next_safe_actions=(problem.next_safe_action,),
    )
