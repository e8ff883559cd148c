"""How many messages of a kind there were in each minute: rows of MESSAGES summed to rows of FLOWS, and what changes when more is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints, Mask, combined
from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS, KIND

_MINUTE_NANOS: Final = 60 * 10**9
_BUCKETS: Final = [f"bucket_{place}" for place in range(len(DELAY_BUCKETS_SECONDS) + 1)]
_SUMS: Final = ["messages", "traces", "at_least", "delays", "delay_sum_seconds", *_BUCKETS]
_PLACE: Final = ["trace_id_high", "trace_id_low", "span_id"]
_UNIT: Final = ("role", "environment", "service_namespace", "service_name", "consumer_group", "destination", "message_schema_version")
"""Within one trace, what these say alike is one unit: it is counted in `traces` once."""
_NOTHING: Final = 1e-6
"""Seconds: a sum of delays that was taken away again may leave so much behind."""


def flows(rows: pa.Table) -> pa.Table:
    """Sum rows (with the columns of MESSAGES) by kind and minute of arrival."""
    if not rows.num_rows:
        return FLOWS.empty_table()
    rows = rows.take(pa.array(_order(rows)))
    delay = np.asarray(pc.fill_null(rows.column("delay_nano"), -1)) / 1e9
    known = (delay >= 0) & (np.asarray(rows.column("messages")) > 0)
    bucket = np.searchsorted(np.array(DELAY_BUCKETS_SECONDS), delay, side="left")
    arrival = np.asarray(rows.column("arrival_time_unix_nano"))
    columns: dict[str, Any] = {name: rows.column(name) for name in (*KIND, "messages", *_PLACE)}
    columns |= {
        "minute": arrival // _MINUTE_NANOS,
        "traces": _first_of_trace(rows).astype(np.int64),
        "at_least": np.asarray(rows.column("at_least")).astype(np.int64),
        "delays": known.astype(np.int64),
        "delay_sum_seconds": np.where(known, delay, 0.0),
        "first_time_unix_nano": rows.column("time_unix_nano"),
        "last_time_unix_nano": rows.column("time_unix_nano"),
    }
    columns |= {name: (known & (bucket == place)).astype(np.int64) for place, name in enumerate(_BUCKETS)}
    return _summed(pa.table(columns))


def total(*parts: pa.Table) -> pa.Table:
    """Add up flows; what comes to nothing is left out."""
    filled = [part for part in parts if part.num_rows]
    if not filled:
        return FLOWS.empty_table()
    return _summed(pa.concat_tables([_opened(part) for part in filled]))


def less(flows_: pa.Table) -> pa.Table:
    """Give flows that take away what others added."""
    for name in ("messages", "traces", "at_least", "delays", "delay_sum_seconds"):
        place = flows_.schema.get_field_index(name)
        flows_ = flows_.set_column(place, flows_.schema.field(place), pc.negate(flows_.column(name)))
    lists = flows_.column("delay_buckets")
    values = pc.negate(pc.list_flatten(lists))
    return flows_.set_column(flows_.schema.get_field_index("delay_buckets"), "delay_buckets", _listed(values))


def _opened(part: pa.Table) -> pa.Table:
    """Give the histogram's buckets as columns."""
    values = np.asarray(pc.list_flatten(part.column("delay_buckets"))).reshape(part.num_rows, len(_BUCKETS))
    for place, name in enumerate(_BUCKETS):
        part = part.append_column(name, pa.array(values[:, place]))
    return part.drop_columns(["delay_buckets"])


def _listed(values: Any) -> pa.Array:
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    flat = pa.concat_arrays(flat.chunks) if isinstance(flat, pa.ChunkedArray) else flat
    offsets = np.arange(0, len(flat) + 1, len(_BUCKETS)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _summed(table: pa.Table) -> pa.Table:
    keys = ["minute", *KIND]
    sums = [(name, "sum") for name in _SUMS]
    grouped = table.group_by(keys, use_threads=False).aggregate(
        [*sums, ("first_time_unix_nano", "min"), ("last_time_unix_nano", "max"), *((name, "first") for name in _PLACE)]
    )
    numbers = [np.asarray(grouped.column(f"{name}_sum")) for name in _SUMS]
    left: Mask = np.any([np.abs(values) > (_NOTHING if values.dtype.kind == "f" else 0) for values in numbers], axis=0)
    grouped = grouped.filter(pa.array(left))
    buckets = np.stack([np.asarray(grouped.column(f"{name}_sum")) for name in _BUCKETS], axis=1) if grouped.num_rows else np.zeros((0, len(_BUCKETS)), np.int64)
    columns = {name: grouped.column(name) for name in keys}
    columns |= {name: grouped.column(f"{name}_sum") for name in _SUMS if name not in _BUCKETS}
    columns["delay_buckets"] = _listed(pa.array(buckets.reshape(-1)))
    columns |= {"first_time_unix_nano": grouped.column("first_time_unix_nano_min"), "last_time_unix_nano": grouped.column("last_time_unix_nano_max")}
    columns |= {name: grouped.column(f"{name}_first") for name in _PLACE}
    return pa.table([columns[field.name] for field in FLOWS], schema=FLOWS)


def _order(rows: pa.Table) -> Ints:
    """Order rows by time, so that which comes first does not depend on the order of arrival."""
    return np.lexsort([np.asarray(rows.column(name)) for name in ("link_position", "span_id", "trace_id_low", "trace_id_high", "time_unix_nano")])


def _first_of_trace(rows: pa.Table) -> Mask:
    """Mark, of rows in the order of time, the first of each trace and unit, of those that stand for a message before others."""
    trace, _ = combined(*(np.unique(np.asarray(rows.column(name)), return_inverse=True)[1] for name in ("trace_id_high", "trace_id_low")))
    unit, _ = combined(trace, *(Codes.from_column(rows.column(name)).of for name in _UNIT))
    counts = np.asarray(rows.column("messages")) > 0
    order = np.lexsort((np.arange(len(unit)), ~counts, unit))
    ordered = unit[order]
    first = np.ones(len(order), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    marks = np.zeros(len(order), bool)
    marks[order[first]] = True
    return marks
