"""A user's own SQL: what it gives, what it can never reach, and that it ends within its limits."""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest
from stored_rows import TRACE_HEX, shop

from traced.config import QuerySettings
from traced.errors import QueryError
from traced.store.queries import find_query
from traced.store.sandbox import MAX_SQL_BYTES, Sandbox, SandboxFiles

SECRET = "canary-3f9a"  # noqa: S105 - planted to see that it never comes out
NOTHING = SandboxFiles()
_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE, _IN_DELETE = 0x1, 0x2, 0x20, 0x100, 0x200


def run(sql, params=None, files=NOTHING, **limits: float):
    return Sandbox(QuerySettings(**limits)).run(sql, params or {}, files)


def scalar(sql, params=None, files=NOTHING):
    result = run(sql, params, files)
    assert not result.truncated
    return result.rows[0][0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    spans, logs, findings = shop(tmp_path_factory.mktemp("shop"))
    return SandboxFiles((spans,), (logs,), findings)


# --- what it gives ---------------------------------------------------------------------------------------------------


def test_the_views_answer_over_the_given_files(files):
    result = run("SELECT name, attributes['http.route'] AS route FROM spans WHERE service_name = $s ORDER BY name", {"s": "cart"}, files)
    assert result.as_dict() == {"columns": ["name", "route"], "rows": [["GET /cart", "/cart"], ["lost", None]], "truncated": False}


def test_findings_come_from_json_lines_with_exact_times_and_parsed_context(files):
    result = run("SELECT id, peer, count, first_seen, last_seen, examples, context FROM findings", {}, files)
    first, last = "2023-11-14T22:13:20.000000001", None  # the last second of int64 nanoseconds stands for a clamped clock
    assert result.rows == [["orphan_span", None, 1, first, last, [{"trace_id": TRACE_HEX, "span_id": f"{4:016x}"}], {"a": [1, "b"]}]]


def test_a_named_query_runs_in_the_sandbox_as_it_is(files):
    query = find_query("orphan_spans")
    result = run(query.sql, query.bind({}), files)
    assert result.columns == [column.name for column in query.returns]
    assert [row[1:3] for row in result.rows] == [[f"{4:016x}", "000000000000dead"]]


def test_without_files_every_view_is_there_and_empty():
    counts = "(SELECT count(*) FROM spans), (SELECT count(*) FROM span_links), (SELECT count(*) FROM span_events)"
    assert run(f"SELECT {counts}, (SELECT count(*) FROM logs), (SELECT count(*) FROM findings)").rows == [[0] * 5]  # noqa: S608


def test_views_and_columns_can_be_looked_up():
    tables = [row[0] for row in run("SHOW TABLES").rows]
    assert {"spans", "span_links", "span_events", "logs", "findings"} <= set(tables)
    assert ["trace_id", "VARCHAR"] in [row[:2] for row in run("DESCRIBE spans").rows]


VALUES = [
    ("NULL", None),
    ("true", True),
    ("9223372036854775807", 2**63 - 1),
    ("18446744073709551615::UBIGINT", 2**64 - 1),
    ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
    ("1.5", 1.5),
    ("1.123456789123456789", "1.123456789123456789"),
    ("'NaN'::DOUBLE", "NaN"),
    ("'-Infinity'::DOUBLE", "-Infinity"),
    ("'\\xAA\\x00'::BLOB", "aa00"),
    ("'a' || chr(0) || 'ü'", "a\0ü"),
    ("make_timestamp_ns(1700000000123456789)", "2023-11-14T22:13:20.123456789"),
    ("TIMESTAMPTZ '2024-01-31 10:00:00+02'", "2024-01-31T08:00:00+00"),
    ("TIMESTAMP '290000-01-01'", "290000-01-01T00:00:00"),
    ("TIMESTAMP 'infinity'", "infinity"),
    ("DATE '2024-02-29'", "2024-02-29"),
    ("TIME '12:00:01'", "12:00:01"),
    ("INTERVAL '1 month 2 days 3 hours'", "1 month 2 days 03:00:00"),
    ("UUID '00000000-0000-0000-0000-00000000000a'", "00000000-0000-0000-0000-00000000000a"),
    ("[1, NULL, 3]", [1, None, 3]),
    ("{'a': 1, 'b': ['x']}", {"a": 1, "b": ["x"]}),
    ("MAP {'k': 'v'}", {"k": "v"}),
    ("MAP {1: 'v'}", {"1": "v"}),
    ("[TIMESTAMP '2024-01-01 00:00:00']", ["2024-01-01 00:00:00"]),
    ("'{\"a\": [1, null]}'::JSON", {"a": [1, None]}),
]


def test_a_value_is_given_as_json_holds_it():
    row = run("SELECT " + ", ".join(expression for expression, _ in VALUES)).rows[0]
    assert dict(zip([e for e, _ in VALUES], row, strict=True)) == dict(VALUES)
    assert [type(value) for value in row] == [type(value) for _, value in VALUES]


def test_every_type_of_the_engine_can_be_written_as_json():
    result = run("FROM test_all_types()")
    assert len(result.rows) == 3
    json.dumps(result.as_dict(), allow_nan=False)


def test_parameters_are_values_never_text():
    hostile = "x' OR 1=1; DROP VIEW spans; --"
    assert run("SELECT $a, $b, $c, $d, $e", {"a": hostile, "b": 2**70, "c": None, "d": [1, 2], "e": 1.5}).rows == [[hostile, str(2**70), None, [1, 2], 1.5]]


@pytest.mark.parametrize("ending", ["", ";", " ; ;", " -- done", "; -- done;", "\n/* ; */ ;"])
def test_a_closing_semicolon_or_comment_changes_nothing(ending):
    assert scalar("SELECT ';ä' AS a" + ending) == ";ä"


def test_the_order_of_rows_is_kept_and_repeated_columns_are_told_apart():
    result = run("SELECT range AS a, -range AS a FROM range(20000) ORDER BY hash(range), range LIMIT 5000", max_rows=5000)
    with duckdb.connect() as connection:
        expected = connection.execute("SELECT range FROM range(20000) ORDER BY hash(range), range LIMIT 5000").fetchall()
    assert [row[0] for row in result.rows] == [row[0] for row in expected]
    assert len(set(result.columns)) == 2


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("available", "truncated"), [(49, False), (50, False), (51, True), (10**12, True)])
def test_rows_over_the_limit_are_cut_and_the_answer_says_so(available, truncated):
    result = run("SELECT * FROM range($n)", {"n": available}, max_rows=50)
    assert (len(result.rows), result.truncated) == (min(available, 50), truncated)


def test_bytes_over_the_limit_are_cut_and_the_answer_says_so():
    result = run("SELECT repeat('ü', 1000) FROM range(1000)", max_result_bytes=20_000)
    assert result.truncated
    assert 1 <= len(result.rows) < 10
    assert len(json.dumps(result.as_dict(), ensure_ascii=False).encode()) < 22_000
    assert run("SELECT repeat('a', 100000)", max_result_bytes=2000).as_dict()["rows"] == []


SURE = {
    **dict.fromkeys(["levenshtein of long texts", "endless recursion", "cross join of 10^12 rows"], "query_time_limit"),
    **dict.fromkeys(["one enormous text", "a list of everything"], "query_memory_limit"),
}
"""Which limit stops it; for the other hogs it depends on the machine which one comes first."""

HOGS = {
    "levenshtein of long texts": "SELECT sum(levenshtein(repeat('a', 60000 + range), repeat('b', 60000))) FROM range(100)",
    "endless recursion": "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r) SELECT count(*) FROM r",
    "cross join of 10^12 rows": "SELECT sum(hash(a.range + b.range)) FROM range(1000000) a, range(1000000) b",
    "cross join of 10^24 rows": "SELECT count(*) FROM range(1000000000000) a, range(1000000000000) b WHERE a.range + b.range = -1",
    "deeper JSON as VARIANT": "SELECT CAST((repeat('[', 100000) || repeat(']', 100000))::JSON AS VARIANT)",
    "tree of deep JSON": "SELECT count(*) FROM json_tree(repeat('[', 100000) || repeat(']', 100000))",
    "lists in lists": "SELECT " + "[" * 990 + "1" + "]" * 990,
    "subqueries in subqueries": "SELECT " + "(SELECT " * 20_000 + "1" + ")" * 20_000,
    "one enormous text": "SELECT length(repeat('a', 1500000000))",
    "one enormous row": "SELECT repeat('a', 300000000)",
    "a list of everything": "SELECT list(range) FROM range(10000000000)",
    "a sort of everything": "SELECT range FROM range(10000000000) ORDER BY hash(range)",
    "doubling text": "WITH RECURSIVE r AS (SELECT 'aaaaaaaa' AS t UNION ALL SELECT t || t FROM r) SELECT max(length(t)) FROM r",
}


@pytest.mark.parametrize("hog", HOGS)
def test_whatever_a_query_does_it_ends_within_its_limits_with_a_clear_error(hog, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started = []
    original = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: started.append(original(*args, **kwargs)) or started[-1])
    before = time.monotonic()
    with pytest.raises(QueryError) as caught:
        run(HOGS[hog], timeout_seconds=1.0, max_memory_bytes=256 * 2**20)
    assert time.monotonic() - before < 2.0
    either = {"query_time_limit", "query_memory_limit", "query_crashed", "query_syntax_error", "query_invalid", "query_failed"}
    assert caught.value.error_code in ({SURE[hog]} if hog in SURE else either)
    assert len(caught.value.message) < 3000
    assert caught.value.next_safe_actions
    assert [child.poll() is not None for child in started] == [True]
    assert list(tmp_path.iterdir()) == []


def test_queries_beyond_those_that_may_run_at_once_are_told_to_come_back():
    sandbox = Sandbox(QuerySettings(timeout_seconds=2.0))
    endless = HOGS["endless recursion"]

    def error_code(sql: str) -> str:
        with pytest.raises(QueryError) as caught:
            sandbox.run(sql, {}, NOTHING)
        return caught.value.error_code

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(error_code, endless) for _ in range(2)]
        time.sleep(0.5)
        assert error_code("SELECT 1") == "query_busy"
        assert [r.result() for r in running] == ["query_time_limit"] * 2
    assert sandbox.run("SELECT 1", {}, NOTHING).rows == [[1]]


def test_the_parent_keeps_no_file_thread_or_directory_of_a_query(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    run("SELECT 1")
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for sql in ("SELECT 1", "SELECT", "SELECT length(repeat('a', 1500000000))", "DROP VIEW spans"):
        try:
            run(sql)
        except QueryError:
            continue
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
    assert list(tmp_path.iterdir()) == []


# --- clear errors ----------------------------------------------------------------------------------------------------


MISTAKES = [
    ("SELEC 1", {}, "query_syntax_error", "syntax error"),
    ("SELECT 'open", {}, "query_syntax_error", "unterminated"),
    ("", {}, "query_refused", "here are 0"),
    ("-- nothing", {}, "query_refused", "here are 0"),
    ("SELECT 1; SELECT 2", {}, "query_refused", "here are 2"),
    ("DROP VIEW spans", {}, "query_refused", "type DROP"),
    ("SELECT nme FROM spans", {}, "query_invalid", "nme"),
    ("SELECT 1 FROM spams", {}, "query_invalid", "spams"),
    ("SELECT CAST('x' AS INTEGER)", {}, "query_failed", "Could not convert"),
    ("SELECT $a", {}, "query_parameter_invalid", "missing parameter a"),
    ("SELECT $a", {"a": 1, "b": 2}, "query_parameter_invalid", "unknown parameter b"),
    ("SELECT 1", {"a": 1}, "query_parameter_invalid", "unknown parameter a"),
    ("SELECT ?", {"a": 1}, "query_parameter_invalid", "write $name"),
    ("SELECT $1", {"1": 1}, "query_parameter_invalid", "write $name"),
    ("SELECT $a", {"a": b"x"}, "query_parameter_invalid", "'a' is a bytes"),
    ("SELECT $a", {"a": {"x": 1}}, "query_parameter_invalid", "'a' is a dict"),
    ("SELECT $a", {"a": [[1]]}, "query_parameter_invalid", "'a' is a list"),
    ("SELECT $a::INTEGER", {"a": "x"}, "query_failed", "Could not convert"),
    ("SELECT '\ud800'", {}, "query_syntax_error", "no Unicode"),
    ("SELECT 1 -- " + "x" * MAX_SQL_BYTES, {}, "query_too_long", "bytes long"),
    ("SELECT error('made by ' || 'the query')", {}, "query_failed", "made by the query"),
]


def test_a_query_that_cannot_run_gets_an_error_that_says_why_and_what_to_do():
    def error_of(mistake: tuple[str, dict[str, Any], str, str]) -> QueryError:
        with pytest.raises(QueryError) as caught:
            run(mistake[0], mistake[1])
        return caught.value

    with ThreadPoolExecutor(2) as pool:
        errors = list(pool.map(error_of, MISTAKES))
    assert [e.error_code for e in errors] == [mistake[2] for mistake in MISTAKES]
    assert [(mistake[3], e.message) for e, mistake in zip(errors, MISTAKES, strict=True) if mistake[3] not in e.message] == []
    assert all(e.next_safe_actions for e in errors)


def test_a_file_that_is_gone_meanwhile_asks_to_run_the_query_again(tmp_path):
    with pytest.raises(QueryError, match="could not be read") as caught:
        run("SELECT 1 FROM spans", files=SandboxFiles(spans=(tmp_path / "gone.parquet",)))
    assert (caught.value.status, caught.value.error_code) == (503, "query_files_changed")


def test_a_process_that_cannot_start_is_an_error_to_come_back(monkeypatch):
    monkeypatch.setattr("traced.store.sandbox._CHILD", Path("/nowhere/child.py"))
    for length in (1, 200_000):  # a job that fits into the pipe, and one that does not
        with pytest.raises(QueryError, match=r"ended early.*nowhere"):
            run("SELECT $a", {"a": "x" * length})
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(QueryError, match="cannot be started"):
        run("SELECT 1")


def test_the_child_has_no_environment_and_an_empty_directory_of_its_own(monkeypatch, tmp_path):
    """Seen from outside, while a query runs."""
    monkeypatch.setenv("TRACED_TEST_SECRET", SECRET)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = {}
    original = subprocess.Popen

    def observed(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        child = original(*args, **kwargs)

        def look() -> None:
            time.sleep(0.7)
            process = Path(f"/proc/{child.pid}")
            seen["environment"] = (process / "environ").read_bytes()
            seen["directory"] = (process / "cwd").resolve()
            seen["files"] = list(seen["directory"].iterdir())
            seen["limits"] = (process / "limits").read_text()

        threading.Thread(target=look).start()
        return child

    monkeypatch.setattr(subprocess, "Popen", observed)
    with pytest.raises(QueryError, match="time limit"):
        run(HOGS["endless recursion"], timeout_seconds=1.5)
    assert SECRET.encode() not in seen["environment"]
    assert (seen["directory"].parent, seen["files"]) == (tmp_path, [])
    limits = {line[:25].strip(): line[25:].split()[0] for line in seen["limits"].splitlines()}
    assert limits["Max file size"] == "0"
    assert limits["Max core file size"] == "0"
    assert 2**30 < int(limits["Max address space"]) < 3 * 2**30
    assert int(limits["Max cpu time"]) <= math.ceil(2.5 * 2) + 1


def test_file_names_with_quotes_and_wildcards_are_only_names(tmp_path):
    place = tmp_path / "it's [a] *dir?"
    place.mkdir()
    spans, logs, findings = shop(place)
    assert scalar("SELECT count(*) FROM spans", files=SandboxFiles((spans,), (logs,), findings)) == 5
