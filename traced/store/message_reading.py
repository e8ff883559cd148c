"""Reading the message log by SQL, in an in-memory instance of its own that is opened when it is first asked; a cursor for each read."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from traced.model.message_reads import NO_ROWS, PAIRINGS, MessageFilter, MessageRows, Window
from traced.model.messages import FLOWS, MESSAGES
from traced.store.message_files import SCHEMAS, LogFile
from traced.store.queries import NamedQuery, load_folder
from traced.store.reading import conform
from traced.store.spill import Spill, spill_settings

MAX_ROWS: Final = 10_000
"""Rows of messages that are read at once."""
_LISTS: Final = ("destinations", "systems", "versions", "roles", "environments", "services", "groups")
_SIDE: Final = ("destinations", "systems", "versions")
_THREADS: Final = 2
_WHOLE_WINDOW: Final = 2**40
_END_OF_TIME: Final = 2**62


class LogUnreadableError(Exception):
    """Files of the log could not be read."""


@dataclass(frozen=True, slots=True)
class View:
    """The rows of the log at one moment; nobody removes the files while it is held.

    Attributes:
        directory: where the files are; None where there are none.
        files: by table, the oldest first.
        tails: rows that are in no file, by table.
    """

    directory: Path | None = None
    files: Mapping[str, tuple[LogFile, ...]] = field(default_factory=dict)
    tails: Mapping[str, pa.Table] = field(default_factory=dict)

    def paths(self, table: str) -> tuple[Path, ...]:
        """Give the paths of a table's files."""
        return tuple(self.directory / file.name for file in self.files.get(table, ())) if self.directory else ()


class MessageReader:
    """Answers questions over a View; safe to call from any thread. Every method raises LogUnreadableError where a file is damaged."""

    def __init__(self, memory_limit_bytes: int, spill: Spill | None) -> None:
        """Remember the limits of the instance; without `spill` a question that needs more than the memory fails."""
        self._memory_limit_bytes = memory_limit_bytes
        self._spill = spill
        self._guard = threading.Lock()
        self._opened: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Close the instance."""
        with self._guard:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def flows(self, view: View, window: Window, seconds: int, wanted: MessageFilter, *, histograms: bool = True) -> pa.Table:
        """Give the FLOWS of a window, added up by so many seconds (whole minutes); 0 puts all of it into one. `delay_buckets` is null where not asked for."""
        times = {"first_minute": math.floor(window.since / 60), "end_minute": math.ceil(window.until / 60), "minutes": math.ceil(seconds / 60) or _WHOLE_WINDOW}
        query = load_folder("migration")["flow_buckets" if histograms else "flow_counts"]
        return conform(self._ask(query, view, ("flows",), times | {name: list(getattr(wanted, name)) for name in _LISTS}), FLOWS)

    def messages(self, view: View, window: Window, wanted: MessageFilter, max_rows: int) -> MessageRows:
        """Give rows of messages of a window, the newest first."""
        params = _nanoseconds(window) | {name: list(getattr(wanted, name)) for name in _LISTS}
        params |= {"max_rows": max_rows + 1, "highs": [high for high, _ in wanted.trace_ids], "lows": [low for _, low in wanted.trace_ids]}
        newest = self._ask(load_folder("migration")["newest_arrival"], view, ("messages",), params)
        if not newest.num_rows:
            return NO_ROWS
        params["since"] = newest.column(0)[0].as_py()
        rows = conform(self._ask(load_folder("migration")["message_rows"], view, ("messages",), params), MESSAGES)
        return MessageRows(rows.slice(0, max_rows), rows.num_rows > max_rows)

    def pairings(self, view: View, window: Window, old: MessageFilter, new: MessageFilter, environments: tuple[str, ...]) -> pa.Table:
        """Give the PAIRINGS of a window; of `old` and `new` destinations, systems and versions count."""
        sides = {f"{side}_{name}": list(getattr(wanted, name)) for side, wanted in (("old", old), ("new", new)) for name in _SIDE}
        destinations = [*old.destinations, *new.destinations] if old.destinations and new.destinations else []
        params = _nanoseconds(window) | sides | {"environments": list(environments), "destinations": destinations}
        return conform(self._ask(load_folder("migration")["paired_publishing"], view, ("messages",), params), PAIRINGS)

    def flows_of_messages(self, view: View, since: int, until: int) -> pa.Table:
        """Give the FLOWS that rows of messages with since <= arrival <= until (ns) make."""
        return conform(self._ask(load_folder("store")["flows_of_messages"], view, ("messages",), {"since": since, "until": until}), FLOWS)

    def merged_flows(self, files: tuple[Path, ...]) -> pa.Table:
        """Give the FLOWS of some files, those of a kind and minute added up, in order."""
        nothing = View(tails={"flows": FLOWS.empty_table()})
        return conform(self._ask(load_folder("store")["merged_flows"], nothing, ("flows",), {"files": [str(path) for path in files]}), FLOWS)

    def _ask(self, query: NamedQuery, view: View, tables: tuple[str, ...], params: Mapping[str, Any]) -> pa.Table:
        cursor = self._cursor()
        try:
            for table in tables:
                _show(cursor, view, table)
            return cursor.sql(query.sql, params=dict(params)).to_arrow_table()
        except duckdb.OutOfMemoryException:
            raise  # says nothing of the files
        except duckdb.Error as error:
            raise LogUnreadableError(str(error)) from error
        finally:
            cursor.close()

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._guard:
            if self._opened is None:
                self._opened = duckdb.connect(
                    ":memory:",
                    config={
                        "threads": _THREADS,
                        "memory_limit": f"{self._memory_limit_bytes}B",
                        **spill_settings(self._spill, "messages"),
                        "autoinstall_known_extensions": False,
                        "autoload_known_extensions": False,
                        "allow_persistent_secrets": False,
                        "python_enable_replacements": False,
                    },
                )
                for macro in ("is_wanted", "is_wanted_trace"):
                    self._opened.execute(load_folder("ddl/log")[macro].sql)
            return self._opened.cursor()


def _show(cursor: duckdb.DuckDBPyConnection, view: View, table: str) -> None:
    """Let a cursor see a table of the log, as `logged_messages` or `logged_flows`; no other cursor does."""
    cursor.register(f"{table}_tail", view.tails.get(table, SCHEMAS[table].empty_table()))
    files = view.paths(table)
    if files:
        # the variable's name is one of two
        cursor.execute(f"SET VARIABLE {table}_files = $files", {"files": [str(path) for path in files]})
    cursor.execute(load_folder("ddl/log")[f"{table}_{'on_disk' if files else 'in_memory'}"].sql)


def _nanoseconds(window: Window) -> dict[str, int]:
    """Give a window in unix nanoseconds, within what a BIGINT holds."""
    return {name: max(0, min(_END_OF_TIME, round(getattr(window, name) * 1e9))) for name in ("since", "until")}
