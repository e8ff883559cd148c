"""Named queries and a user's own SQL: both run in the sandbox, over a snapshot of everything stored."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb

from traced.config import QuerySettings
from traced.errors import OverloadedError
from traced.model.query_result import QueryResult
from traced.store.queries import find_query, load_folder
from traced.store.sandbox import Sandbox, SandboxFiles
from traced.store.store import Store


class UserQueries:
    """What `traced query` and `/api/v1/query` ask (QueryView)."""

    def __init__(self, store: Store, settings: QuerySettings, findings: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Run over a store and the findings of the moment."""
        self._store = store
        self._sandbox = Sandbox(settings)
        self._findings = findings

    def run(self, name_or_sql: str, params: dict[str, Any], is_name: bool) -> QueryResult:  # noqa: FBT001 (the protocol's shape)
        """Run a named query, or SQL.

        Raises:
            QueryError: unknown name, refused or failed SQL, or a limit that ended it.
            OverloadedError: the disk has no room for the snapshot that a query reads, or the daemon stops.
        """
        self._sandbox.refuse_if_closed()
        sql = name_or_sql
        if is_name:
            query = find_query(name_or_sql)
            sql, params = query.sql, query.bind(params)
        try:
            return self._on_snapshot(sql, params)
        except (OSError, duckdb.Error) as error:
            if "No space left" not in str(error):
                raise
            raise OverloadedError("the disk is full: there is no room for the copy that queries read", retry_after_seconds=10, reason="disk_full") from None

    def _on_snapshot(self, sql: str, params: dict[str, Any]) -> QueryResult:
        with ExitStack() as stack:
            spans, logs = stack.enter_context(self._store.snapshot())
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="findings-", dir=self._store.settings.data_dir)))
            logged = stack.enter_context(self._store.message_log.snapshot(directory))
            findings = directory / "findings.jsonl"
            findings.write_text("".join(json.dumps(f) + "\n" for f in self._findings()), encoding="utf-8")
            files = SandboxFiles(spans, logs, findings, logged["messages"], logged["flows"])
            return self._sandbox.run(sql, params, files)

    def close(self) -> None:
        """End what runs, and refuse what comes: the daemon stops."""
        self._sandbox.close()

    def names(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Give (name, question, parameter names) of every named query."""
        return [(q.name, q.question, tuple(p.name for p in q.params)) for q in load_folder("read").values()]
