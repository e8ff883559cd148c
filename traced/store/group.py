"""A commit group: several batches as rows of a segment's tables, their numbers shifted behind what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.model.batch import NO_FINGERPRINT, Batch, Fingerprint, Receipt, Signal
from traced.model.schema import COMPACT_LOGS, COMPACT_SPANS, REPEATS
from traced.store.log_batches import LogLookup, log_keys, sift_logs
from traced.store.recent_keys import Keys, RecentKeys
from traced.store.repeats import Lookup, Sifted, sift


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored, so that it is recognised when it comes again: keys find candidates, which are then looked for.

    Attributes:
        spans: keys of the newest spans.
        find_spans: finds the stored rows of candidates.
        logs: keys of the newest batches of log records.
        find_logs: finds those of the candidates that are stored.
    """

    spans: RecentKeys
    find_spans: Lookup
    logs: RecentKeys
    find_logs: LogLookup

    def add(self, group: Group) -> None:
        """Remember what a group stored, or may have."""
        self.spans.add(group.keys)
        self.logs.add(group.log_keys)


@dataclass(slots=True)
class Bases:
    """The next free number of each dictionary of a segment."""

    attribute: int = 0
    resource: int = 0
    scope: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """What one commit writes.

    Attributes:
        dictionaries: rows by table name; they may be committed before the rest.
        tables: rows by table name that are committed together.
        bases: the next free numbers once it is committed.
        receipts: one a batch.
        numbers: the first and the last sequence number.
        arrival: of all its rows (ns).
        keys: of the spans stored.
        log_keys: of the batches of log records stored.
        spans: how many.
        logs: log records.
        repeated: spans that were stored before, by whether they are `equal` or `conflicting`.
        repeated_logs: log records that were stored before.
    """

    dictionaries: dict[str, pa.Table]
    tables: dict[str, pa.Table]
    bases: Bases
    receipts: list[Receipt]
    numbers: tuple[int, int]
    arrival: int
    keys: Keys
    log_keys: Keys
    spans: int
    logs: int
    repeated: Counter[str]
    repeated_logs: int

    @property
    def rows(self) -> int:
        """Count spans, log records and repeats."""
        return self.spans + self.logs + self.repeated.total()


def lay_out(batches: Sequence[Batch], bases: Bases, last_number: int, arrival: int, known: Known) -> Group:
    """Give the rows of some batches, without the spans and the batches of log records that are stored already; changes nothing.

    Args:
        batches: in the order of their acceptance.
        bases: the next free numbers of the segment.
        last_number: the last sequence number given before.
        arrival: of all rows (ns).
        known: what is stored.
    """
    sifted = iter(sift([b for b in batches if b.signal is Signal.TRACES], known.spans, known.find_spans))
    again = iter(sift_logs([b for b in batches if b.signal is Signal.LOGS], known.logs, known.find_logs))
    bases = replace(bases)
    dictionaries, starts = dictionary_rows(batches, bases)
    items: dict[Signal, list[pa.Table]] = {Signal.TRACES: [], Signal.LOGS: []}
    repeats: list[dict[str, Any]] = []
    keys: list[Keys] = [np.zeros(0, np.uint64)]
    logs_stored: list[Fingerprint] = []
    repeated_logs = 0
    receipts: list[Receipt] = []
    for batch, start in zip(batches, starts, strict=True):
        if batch.signal is Signal.TRACES:
            one: Sifted = next(sifted)
            rows = item_rows(batch, start, one.kept, arrival)
            repeats.extend(r | {"arrival_time_unix_nano": arrival} for r in one.repeats)
            keys.append(one.keys[one.kept])
        else:
            is_stored = next(again)
            rows = item_rows(batch, start, np.full(batch.items.num_rows, not is_stored), arrival)
            repeated_logs += batch.items.num_rows if is_stored else 0
            logs_stored += [] if is_stored or batch.fingerprint == NO_FINGERPRINT else [batch.fingerprint]
        items[batch.signal].append(rows)
        receipts.append(Receipt(rows.num_rows, batch.items.num_rows - rows.num_rows, arrival))
    tables = {"repeated_span": pa.Table.from_pylist(repeats, schema=REPEATS), "batch": _batch_rows(batches, receipts, last_number + 1)}
    tables |= {name: pa.concat_tables(parts) for name, parts in (("span", items[Signal.TRACES]), ("log_record", items[Signal.LOGS])) if parts}
    return Group(
        dictionaries,
        tables,
        bases,
        receipts,
        (last_number + 1, last_number + len(batches)),
        arrival,
        np.concatenate(keys),
        log_keys(logs_stored),
        sum(rows.num_rows for rows in items[Signal.TRACES]),
        sum(rows.num_rows for rows in items[Signal.LOGS]),
        Counter("conflicting" if r["conflicting"] else "equal" for r in repeats),
        repeated_logs,
    )


def _batch_rows(batches: Sequence[Batch], receipts: Sequence[Receipt], first_number: int) -> pa.Table:
    # where a batch is not stored again, its row must not say that it is here
    fingerprints = [b.fingerprint if b.signal is Signal.LOGS and not r.repeated else NO_FINGERPRINT for b, r in zip(batches, receipts, strict=True)]
    columns = {
        "sequence": pa.array(range(first_number, first_number + len(batches)), pa.uint64()),
        "arrival_time_unix_nano": pa.array([r.arrival_time_unix_nano for r in receipts], pa.int64()),
        "signal": pa.array([str(b.signal) for b in batches]),
        "items": pa.array([r.stored for r in receipts], pa.uint32()),
        "repeated": pa.array([r.repeated for r in receipts], pa.uint32()),
        "fingerprint_high": pa.array([high for high, _ in fingerprints], pa.uint64()),
        "fingerprint_low": pa.array([low for _, low in fingerprints], pa.uint64()),
    }
    return pa.table(columns)


def dictionary_rows(batches: Sequence[Batch], bases: Bases) -> tuple[dict[str, pa.Table], list[Bases]]:
    """Give the rows for `attribute`, `resource` and `scope`, and where each batch's numbers begin; moves `bases` on."""
    starts: list[Bases] = []
    tables: dict[str, list[pa.Table]] = {"attribute": [], "resource": [], "scope": []}
    for batch in batches:
        start = replace(bases)
        starts.append(start)
        tables["attribute"].append(_numbered(batch.attributes, start.attribute))
        tables["resource"].append(_numbered(_shift_lists(batch.resources, start.attribute), start.resource))
        tables["scope"].append(_numbered(_shift_lists(batch.scopes, start.attribute), start.scope))
        bases.attribute += batch.attributes.num_rows
        bases.resource += batch.resources.num_rows
        bases.scope += batch.scopes.num_rows
    return {name: pa.concat_tables(parts) for name, parts in tables.items()}, starts


def item_rows(batch: Batch, start: Bases, kept: npt.NDArray[np.bool_] | None, arrival: int) -> pa.Table:
    """Give a batch's rows for `span` or `log_record` (those kept; None: all), numbers shifted, with their arrival."""
    items = batch.items if kept is None or kept.all() else batch.items.filter(pa.array(kept))
    schema = COMPACT_SPANS if batch.signal is Signal.TRACES else COMPACT_LOGS
    columns: list[Any] = []
    for field in schema:
        column = items.column(field.name)
        if field.name == "resource_id":
            column = _shift(column, start.resource)
        elif field.name == "scope_id":
            column = _shift(column, start.scope)
        elif field.name == "attribute_ids":
            column = _shift_list(column, start.attribute)
        elif field.name in ("events", "links") and column.null_count < len(column):
            column = _shift_nested(column, start.attribute)
        columns.append(column)
    columns.append(pa.array(np.full(items.num_rows, arrival, np.int64)))
    return pa.table(columns, names=[*schema.names, "arrival_time_unix_nano"])


def _numbered(rows: pa.RecordBatch, first: int) -> pa.Table:
    numbers = pa.array(np.arange(first, first + rows.num_rows, dtype=np.uint32))
    return pa.table([numbers, *rows.columns], names=["number", *rows.schema.names])


def _shift(column: pa.Array, base: int) -> pa.Array:
    return pc.add(column, pa.scalar(base, pa.uint32())) if base else column


def _shift_list(lists: pa.ListArray, base: int) -> pa.ListArray:
    if not base:
        return lists
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), _shift(lists.flatten(), base))


def _shift_lists(rows: pa.RecordBatch, base: int) -> pa.RecordBatch:
    place = rows.schema.get_field_index("attribute_ids")
    return rows.set_column(place, "attribute_ids", _shift_list(rows.column(place), base))


def _shift_nested(lists: pa.ListArray, base: int) -> pa.ListArray:
    structs = lists.flatten()
    parts = [_shift_list(part, base) if field.name == "attribute_ids" else part for field, part in zip(structs.type, structs.flatten(), strict=True)]
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(parts, fields=list(structs.type)))
