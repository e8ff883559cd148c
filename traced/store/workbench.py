"""A private, empty DuckDB to run named queries over Arrow tables: what the analysis works at.

It holds no data of its own, may not reach files or the network, and dies with the analysis. What does not fit into its memory goes where it is told to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa

from traced.errors import QueryError
from traced.store.queries import NamedQuery
from traced.store.spill import Spill, spill_settings

_ONE_PIECE: Final = 2**24
"""Rows a chunk of an answer: what is worked at by columns should not be in pieces."""


class Workbench:
    """Runs named queries over registered tables; for one thread."""

    def __init__(self, threads: int = 1, memory_limit_bytes: int = 256 * 2**20, spill: Spill | None = None) -> None:
        """Open the instance; without `spill` a query that needs more than the memory fails."""
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_limit_bytes}B",
                **spill_settings(spill, "analysis"),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_persistent_secrets": False,
                "python_enable_replacements": False,
            },
        )
        self._sizes: dict[str, int] = {}
        self._empty_answers: dict[str, pa.Schema] = {}

    def close(self) -> None:
        """Close the instance."""
        self._connection.close()

    def register(self, tables: Mapping[str, pa.Table]) -> None:
        """Make tables known by name, replacing what had the name."""
        for name, table in tables.items():
            if table.num_rows or self._sizes.get(name) != 0:
                self._connection.register(name, table)
                self._sizes[name] = table.num_rows

    def _idle(self, query: NamedQuery) -> bool:
        """Say whether no table that drives a query has a row: planning it takes milliseconds, and most detectors have nothing to look at mostly."""
        return bool(query.driven_by) and not any(self._sizes.get(name, 1) for name in query.driven_by)

    def rows(self, query: NamedQuery) -> list[dict[str, Any]]:
        """Run a named query without parameters and give its rows; cheaper than `run` where there are few.

        Raises:
            QueryError: the query failed; the message is the database's.
        """
        if self._idle(query):
            return []
        try:
            answer = self._connection.execute(query.sql)
            names = [column[0] for column in answer.description or ()]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
        except duckdb.Error as error:
            raise _failed(query, error) from error

    def run(self, query: NamedQuery, params: Mapping[str, Any] | None = None) -> pa.Table:
        """Run a named query.

        Raises:
            QueryError: the query failed; the message is the database's.
        """
        if query.sql in self._empty_answers and self._idle(query):
            return self._empty_answers[query.sql].empty_table()
        try:
            answer = self._connection.sql(query.sql, params=dict(params) if params else None).to_arrow_table(_ONE_PIECE)
        except duckdb.Error as error:
            raise _failed(query, error) from error
        if query.driven_by:
            self._empty_answers[query.sql] = answer.schema
        return answer


def _failed(query: NamedQuery, error: duckdb.Error) -> QueryError:
    return QueryError(f"query {query.name}: {error}", next_safe_actions=("Report this: a shipped query must not fail.",))
