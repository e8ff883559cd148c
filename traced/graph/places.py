"""Where some spans are, and whose: what every table of places for detectors begins with."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask, numbers
from traced.graph.forest import Forest
from traced.model.span import FLAGS_HAS_IS_REMOTE, FLAGS_IS_REMOTE, MAX_TIME_UNIX_NANO

PLACE: Final = (
    ("trace_id_high", pa.uint64()),
    ("trace_id_low", pa.uint64()),
    ("span_id", pa.uint64()),
    ("service", pa.string()),
    ("signal_name", pa.string()),
    ("time_unix_nano", pa.int64()),
)


def table(forest: Forest, rows: Ints, schema: pa.Schema, **facts: Any) -> pa.Table:
    """Give some spans as a table: PLACE, then the facts, in the order of the schema."""
    if not len(rows):
        return schema.empty_table()
    columns = ["trace_id_high", "trace_id_low", "span_id", "name", "start_time_unix_nano"]
    high, low, span_id, name, start = forest.spans.select(columns).take(pa.array(rows)).columns
    return pa.table([high, low, span_id, services(forest, rows), name, start, *(facts[field] for field in schema.names[len(PLACE) :])], schema=schema)


def services(forest: Forest, rows: Ints) -> pa.Array:
    """Name the services of some spans; the empty text for row -1."""
    texts = pa.array([*forest.service.texts, ""], pa.string())
    return texts.take(pa.array(np.where(rows < 0, len(forest.service.texts), forest.service.of[rows])))


def timed(forest: Forest, rows: Ints) -> Mask:
    """Mark the spans whose times can be believed: a start and a later end, none of them at the ends of what can be written."""
    start, end = forest.start[rows], forest.end[rows]
    marks: Mask = (start > 0) & (end > start) & (end < MAX_TIME_UNIX_NANO)
    return marks


def process(forest: Forest, rows: Ints) -> Ints:
    """Number the processes of some spans (service, host and instance); -1 where the resource names none."""
    # where a resource names no host, its instance stands for the host
    host, instance = forest.codes["host"], forest.codes["service_instance_id"]
    number = (forest.service.of[rows] * max(1, len(host.texts)) + host.of[rows]) * max(1, len(instance.texts)) + instance.of[rows]
    unnamed = np.array([not text for text in host.texts] or [True])
    return np.where(unnamed[host.of[rows]] | forest.nameless[rows], -1, number)


def said_remote(forest: Forest, rows: Ints) -> Mask:
    """Mark the spans whose flags say that their parent is in another process."""
    marks: Mask = _flags(forest, rows) == (FLAGS_HAS_IS_REMOTE | FLAGS_IS_REMOTE)
    return marks


def said_local(forest: Forest, rows: Ints) -> Mask:
    """Mark the spans whose flags say that their parent is in their own process."""
    marks: Mask = _flags(forest, rows) == FLAGS_HAS_IS_REMOTE
    return marks


def _flags(forest: Forest, rows: Ints) -> Any:
    return numbers(forest.spans, "flags")[rows] & (FLAGS_HAS_IS_REMOTE | FLAGS_IS_REMOTE)
