"""What a user's own SQL can never do: read other files, write, call out, see the environment or Python's variables."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import duckdb
import pytest
from stored_rows import attribute, shop, span, write

from traced.config import QuerySettings
from traced.errors import QueryError
from traced.model.schema import SPANS
from traced.store import sandbox_child
from traced.store.sandbox import Sandbox, SandboxFiles

SECRET = "canary-3f9a"  # noqa: S105 - planted to see that it never comes out
NOTHING = SandboxFiles()
_IN_ACCESS, _IN_MODIFY, _IN_OPEN, _IN_CREATE, _IN_DELETE = 0x1, 0x2, 0x20, 0x100, 0x200


def run(sql, files=NOTHING, **limits: float):
    return Sandbox(QuerySettings(**limits)).run(sql, {}, files)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    spans, logs, findings = shop(tmp_path_factory.mktemp("shop"))
    return SandboxFiles((spans,), (logs,), findings)


class Watch:
    """Counts every open, read, write, creation and deletion in a directory, as the kernel sees them."""

    def __init__(self, directory: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_NONBLOCK)
        mask = _IN_ACCESS | _IN_MODIFY | _IN_OPEN | _IN_CREATE | _IN_DELETE
        if self.fd < 0 or libc.inotify_add_watch(self.fd, bytes(directory), mask) < 0:
            pytest.skip("inotify is not there: file access cannot be observed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def events(self) -> list[str]:
        try:
            raw = os.read(self.fd, 65536)
        except BlockingIOError:
            return []
        found = []
        while raw:
            _, mask, _, length = struct.unpack_from("iIII", raw)
            found.append(f"{mask:#x} {raw[16 : 16 + length].rstrip(bytes(1)).decode()}")
            raw = raw[16 + length :]
        return found


class Yard:
    """What an escape would want: files of many formats with a secret in them, and a port that listens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        rows = f"a,b\n{SECRET},1\n"
        for name, content in (("s.csv", rows), ("s.txt", SECRET), ("s.json", json.dumps({"a": SECRET})), ("s.sql", f"SELECT '{SECRET}'")):
            (directory / name).write_text(content)
        write(directory / "s.parquet", SPANS, [span(name=SECRET)])
        with duckdb.connect(str(directory / "s.duckdb")) as database:
            database.execute(f"CREATE TABLE s AS SELECT '{SECRET}' AS a")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.content = self.snapshot()

    def snapshot(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def fill(self, sql: str) -> str:
        return sql.replace("@D", str(self.directory)).replace("@P", str(self.port))


@pytest.fixture(scope="module")
def yard(tmp_path_factory):
    place = Yard(tmp_path_factory.mktemp("yard"))
    yield place
    place.listener.close()


READERS = (
    *("read_csv", "read_csv_auto", "sniff_csv", "read_parquet", "parquet_scan", "parquet_metadata", "parquet_schema", "parquet_file_metadata"),
    *("parquet_kv_metadata", "parquet_full_metadata", "read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto", "read_json_objects"),
    *("read_json_objects_auto", "read_ndjson_objects", "read_text", "read_blob", "glob", "read_duckdb"),
)
EXTENSION = {"parquet": "parquet", "json": "json", "ndjson": "json", "csv": "csv", "duckdb": "duckdb"}


def _target(reader: str) -> str:
    return next((f"@D/s.{extension}" for mark, extension in EXTENSION.items() if mark in reader), "@D/s.txt")


ESCAPES = {
    "file reads": (
        *(f"SELECT * FROM {reader}('{_target(reader)}')" for reader in READERS),  # noqa: S608 - names from above
        "SELECT * FROM parquet_bloom_probe('@D/s.parquet', 'name', 'x')",
        "FROM '@D/s.csv'",
        "FROM '@D/s.parquet'",
        "FROM '@D/s.json'",
        "FROM '@D/*.csv'",
        'SELECT * FROM "@D/s.csv"',
        "SELECT * FROM glob('@D/*')",
        "SELECT * FROM read_text(['@D/s.txt', '@D/s.csv'])",
        "SELECT * FROM read_text('file:@D/s.txt')",
        "SELECT * FROM read_text('file://@D/s.txt')",
        "SELECT * FROM read_text('@D/../@D/s.txt')",
        "SELECT * FROM read_text('../s.txt')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM read_text('/proc/self/cmdline')",
        "SELECT * FROM read_blob('/dev/stdin')",
        "SELECT (SELECT content FROM read_text('@D/s.txt'))",
        "WITH t AS MATERIALIZED (SELECT * FROM read_text('@D/s.txt')) SELECT * FROM t",
        "SELECT * FROM spans WHERE name IN (SELECT content FROM read_text('@D/s.txt'))",
        "DESCRIBE FROM '@D/s.csv'",
        "SUMMARIZE FROM '@D/s.csv'",
        "SELECT * FROM query_table('@D/s.csv')",
        "SELECT * FROM query_table(['@D/s.csv', '@D/s.csv'])",
        "SELECT * FROM query('FROM ''@D/s.csv''')",
        "SELECT * FROM query('SELECT * FROM read_text(''@D/s.txt'')')",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''@D/s.txt'')'))",
        "PRAGMA json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''@D/s.txt'')'))",
    ),
    "writes": (
        "COPY (SELECT 1) TO '@D/out.csv'",
        "COPY spans TO '@D/out.parquet' (FORMAT parquet)",
        "COPY (SELECT 1) TO '/dev/stdout'",
        "COPY stored_spans FROM '@D/s.parquet'",
        "EXPORT DATABASE '@D/export'",
        "IMPORT DATABASE '@D'",
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '@D/log')",
        "CALL enable_logging('QueryLog', storage = 'file', storage_path = '@D/log')",
        "SELECT * FROM enable_profiling(format = 'json', save_location = '@D/profile.json')",
        "PRAGMA enable_profiling = 'json'",
    ),
    "other databases": (
        "ATTACH '@D/s.duckdb' AS s (READ_ONLY)",
        "ATTACH '@D/new.duckdb'",
        "ATTACH ':memory:' AS m",
        "ATTACH '' AS m",
        "DETACH memory",
        "USE system",
        "COPY FROM DATABASE memory TO system",
    ),
    "extensions": (
        "INSTALL httpfs",
        "INSTALL httpfs FROM community",
        "INSTALL '@D/x.duckdb_extension'",
        "LOAD httpfs",
        "LOAD '@D/x.duckdb_extension'",
        "FORCE INSTALL icu",
        "UPDATE EXTENSIONS",
        "SELECT * FROM duckdb_extension_repositories()",
        "SELECT ST_Read('@D/s.csv')",
    ),
    "settings": (
        "SET enable_external_access = true",
        "SET GLOBAL allowed_directories = ['/']",
        "SET allowed_paths = ['@D/s.txt']",
        "SET lock_configuration = false",
        "RESET lock_configuration",
        "SET SESSION search_path = 'system'",
        "SET max_execution_time = 0",
        "SET memory_limit = '100GB'",
        "SET VARIABLE span_files = ['@D/s.parquet']",
        "SET threads = 64",
        "PRAGMA memory_limit = '100GB'",
        "PRAGMA database_list",
        "PRAGMA disable_optimizer",
        "SELECT * FROM disable_logging()",
        "CALL pragma_version()",
    ),
    "Python's variables and objects": (
        "SELECT * FROM job",
        "SELECT * FROM connection",
        "SELECT * FROM plans",
        "SELECT * FROM sys",
        "SELECT * FROM python_arrow_scan()",
        "SELECT * FROM pandas_scan()",
        "SELECT * FROM arrow_scan(0::POINTER, 0::POINTER, 0::POINTER)",
        "SELECT * FROM python_map_function((SELECT 1))",
    ),
    "the environment": (
        "SELECT getenv('HOME')",
        "SELECT getenv('TRACED_TEST_SECRET')",
    ),
    "changes": (
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE OR REPLACE VIEW spans AS SELECT 1",
        "CREATE MACRO f(x) AS x",
        "CREATE SEQUENCE s",
        "CREATE SCHEMA s",
        "CREATE TYPE t AS ENUM ('a')",
        "CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "CREATE PERSISTENT SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')",
        "DROP VIEW spans",
        "DROP SCHEMA main CASCADE",
        "ALTER VIEW spans RENAME TO t",
        "INSERT INTO stored_spans SELECT * FROM stored_spans",
        "DELETE FROM stored_spans",
        "UPDATE stored_spans SET name = 'x'",
        "TRUNCATE stored_spans",
        "MERGE INTO stored_spans USING spans ON true WHEN MATCHED THEN DELETE",
        "WITH x AS (DELETE FROM stored_spans RETURNING name) SELECT * FROM x",
        "WITH x AS (INSERT INTO stored_findings SELECT * FROM stored_findings RETURNING id) SELECT * FROM x",
        "WITH x AS (UPDATE stored_spans SET name = 'x' RETURNING name) SELECT * FROM x",
        "VACUUM",
        "ANALYZE",
        "CHECKPOINT",
        "FORCE CHECKPOINT",
        "COMMENT ON VIEW spans IS 'x'",
    ),
    "several statements, transactions, prepared statements": (
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP VIEW spans",
        "COMMIT",
        "ROLLBACK",
        "BEGIN TRANSACTION",
        "COMMIT; CREATE TABLE t (a INTEGER)",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "SELECT 1) AS a; COPY (SELECT 1) TO '@D/out.csv'; SELECT * FROM (SELECT 1",
        "SELECT 1) UNION ALL (SELECT 2",
        "SELECT * FROM query('SELECT 1; SELECT 2')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''@D/out.csv''')",
        "SELECT * FROM query('DROP VIEW spans')",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN ANALYZE DELETE FROM stored_spans",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '@D/out.csv'",
        "PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
    ),
    "the network": (
        "SELECT * FROM read_csv('http://127.0.0.1:@P/x.csv')",
        "FROM 'http://127.0.0.1:@P/x.parquet'",
        "FROM 'https://127.0.0.1:@P/x.parquet'",
        "SELECT * FROM read_text('http://127.0.0.1:@P/x')",
        "SELECT * FROM read_parquet('s3://127.0.0.1:@P/x.parquet')",
        "SELECT * FROM read_parquet('hf://127.0.0.1:@P/x.parquet')",
        "ATTACH 'http://127.0.0.1:@P/x.duckdb'",
        "ATTACH 'host=127.0.0.1 port=@P' AS p (TYPE postgres)",
        "SELECT * FROM postgres_scan('host=127.0.0.1 port=@P', 'public', 't')",
    ),
}


def _error_of(sql: str, files: SandboxFiles) -> tuple[str, str]:
    """Give error_code and text of the sandbox's error; `no error` and the answer where there is none."""
    try:
        result = run(sql, files)
    except QueryError as error:
        return error.error_code, json.dumps(error.as_dict())
    return "no error", json.dumps(result.as_dict())


@pytest.mark.parametrize("family", ESCAPES)
def test_no_escape_reads_writes_or_calls_anything(family, yard, files, monkeypatch):
    monkeypatch.setenv("TRACED_TEST_SECRET", SECRET)
    attempts = [yard.fill(sql) for sql in ESCAPES[family]]
    with Watch(yard.directory) as watch, ThreadPoolExecutor(2) as pool:
        answers = dict(zip(attempts, pool.map(lambda sql: _error_of(sql, files), attempts), strict=True))
        assert watch.events() == []
    wanted = {"query_refused", "query_invalid", "query_syntax_error", "query_failed"}
    assert {sql: answer for sql, answer in answers.items() if answer[0] not in wanted} == {}
    assert [sql for sql, answer in answers.items() if SECRET in answer[1]] == []
    assert yard.snapshot() == yard.content
    with pytest.raises(BlockingIOError):
        yard.listener.accept()


def test_reads_of_files_outside_are_refused_as_such(yard):
    """Not by chance, as a misspelt escape would be."""
    for sql in (
        "FROM '@D/s.parquet'",
        "SELECT * FROM read_text('@D/s.txt')",
        "SELECT * FROM glob('@D/*')",
        "SELECT * FROM read_csv('http://127.0.0.1:@P/x.csv')",
    ):
        with pytest.raises(QueryError, match=r"file system operations are disabled|Cannot access") as caught:
            run(yard.fill(sql))
        assert caught.value.error_code == "query_refused"


def test_the_watch_sees_a_file_that_is_read(yard):
    """The same yard with its gate open: what the tests above look for does show."""
    with Watch(yard.directory) as watch:
        result = run(yard.fill("SELECT content FROM read_text('@D/s.txt')"), files=SandboxFiles(extra_directories=(yard.directory,)))
        assert result.rows == [[SECRET]]
        assert any("s.txt" in event for event in watch.events())


CAGE = {
    "enable_external_access": "false",
    "lock_configuration": "true",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "allow_unsigned_extensions": "false",
    "temp_directory": "",
    "max_temp_directory_size": "0 bytes",
    "allowed_directories": "[]",
    "allowed_configs": "[]",
}


def test_every_lock_of_the_cage_is_closed_even_where_another_would_hold(files):
    settings = dict(run("SELECT name, value FROM duckdb_settings()", files, timeout_seconds=7.0).rows)
    assert {name: settings[name] for name in CAGE} == CAGE
    assert 0 < int(settings["max_execution_time"]) <= 7000
    assert sorted(settings["allowed_paths"].strip("[]").split(", ")) == sorted(str(path) for path in (*files.spans, *files.logs, files.findings))


@pytest.fixture
def writable():
    """A database of this process with something to write to; in the sandbox there is nothing."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        yield connection


@pytest.mark.parametrize("change", ["DELETE FROM t", "INSERT INTO t VALUES (2)", "UPDATE t SET a = 3"])
def test_a_writable_cte_is_refused_even_where_there_is_a_table_to_write_to(change, writable):
    job = {"sql": f"WITH x AS ({change} RETURNING a) SELECT * FROM x", "params": {}, "max_rows": 10, "max_result_bytes": 1000}  # noqa: S608
    with pytest.raises(duckdb.Error):
        sandbox_child.run(writable, job)
    writable.execute("ROLLBACK")
    assert writable.execute("FROM t").fetchall() == [(1,)]


def test_the_query_runs_in_a_transaction_that_cannot_write(writable):
    job = {"sql": "SELECT a FROM t", "params": {}, "max_rows": 10, "max_result_bytes": 1000}
    assert json.loads(sandbox_child.run(writable, job))["rows"] == [[1]]
    with pytest.raises(duckdb.Error, match="read-only"):
        writable.execute("DELETE FROM t")


def test_there_are_enough_different_attempts():
    attempts = [sql for family in ESCAPES.values() for sql in family]
    assert len(set(attempts)) == len(attempts) >= 60


def test_no_function_of_the_engine_that_takes_a_text_reads_a_file(yard, files):
    """Whatever a new version of the engine adds: each table function is called with the name of a file outside."""
    listed = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' AND list_contains(parameter_types, 'VARCHAR')"
    names = sorted({row[0] for row in run(listed).rows} - set(READERS))
    assert len(names) > 5
    with Watch(yard.directory) as watch, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: _error_of(yard.fill(f"SELECT * FROM {name}('@D/s.txt')"), files), names))  # noqa: S608
        assert watch.events() == []
    assert [name for name, answer in zip(names, answers, strict=True) if SECRET in answer[1]] == []
    assert yard.snapshot() == yard.content


@pytest.mark.parametrize(
    "sql",
    ["FROM duckdb_settings()", "FROM duckdb_secrets()", "FROM duckdb_variables()", "FROM duckdb_logs()", "FROM duckdb_databases()", "FROM pragma_version()"],
)
def test_what_the_engine_says_of_itself_holds_no_secret(sql, monkeypatch):
    for name in ("TRACED_TEST_SECRET", "AWS_SECRET_ACCESS_KEY", "http_proxy", "HOME", "PYTHONPATH"):
        monkeypatch.setenv(name, SECRET)
    assert SECRET not in json.dumps(run(sql).as_dict())


def test_only_the_directories_handed_over_can_be_named_and_only_read(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    for place in (inside, outside):
        write(place / "x.parquet", SPANS, [span(name=place.name, attributes=[attribute("a", "b")])])
    files = SandboxFiles(extra_directories=(inside,))
    assert run(f"SELECT name FROM '{inside}/x.parquet'", files).rows == [["in"]]  # noqa: S608
    for sql in (f"FROM '{outside}/x.parquet'", f"FROM '{inside}/../out/x.parquet'", f"COPY (SELECT 1) TO '{inside}/y.csv'", f"ATTACH '{inside}/y.duckdb'"):
        with pytest.raises(QueryError) as caught:
            run(sql, files)
        assert caught.value.error_code == "query_refused"
    assert [path.name for path in inside.iterdir()] == ["x.parquet"]
