"""Which spans of a commit group were stored before, and whether they differ from what is stored.

A 64-bit key per span finds candidates cheaply; each candidate is then compared with the stored row itself, so a chance
collision of keys never drops a span.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.model.batch import Batch
from traced.model.schema import REPEATS
from traced.store.recent_keys import Keys, RecentKeys
from traced.store.span_keys import span_keys

Identity = tuple[int, int, int, int, str, str]
Content = tuple[Any, ...]
Lookup = Callable[[pa.Table], dict[Identity, Content]]

_CONTENT = ("name", "parent_span_id", "start_time_unix_nano", "end_time_unix_nano", "status_code")


@dataclass(slots=True)
class Sifted:
    """One batch after comparison: its keys, which rows to store, and the REPEATS rows of the others (without arrival)."""

    batch: Batch
    keys: Keys
    kept: npt.NDArray[np.bool_]
    repeats: list[dict[str, Any]]


def sift(batches: Sequence[Batch], recent: RecentKeys, stored: Lookup) -> list[Sifted]:
    """Find the repeated spans of a group.

    Args:
        batches: span batches in the order of their acceptance.
        recent: keys of what is stored.
        stored: given ids of candidates (trace_id_high, trace_id_low, span_id), finds their stored rows.
    """
    sifted = [Sifted(b, span_keys(b), np.ones(b.items.num_rows, bool), []) for b in batches]
    everything = np.concatenate([s.keys for s in sifted]) if sifted else np.zeros(0, np.uint64)
    in_store = recent.contains(everything)
    suspect = in_store | _seen_earlier(everything)
    if not suspect.any():
        return sifted
    known = stored(_candidate_ids(sifted, in_store)) if in_store.any() else {}
    # every row that shares a key with a suspect, so that a repeat inside the group is compared with the group's own first
    involved = np.isin(everything, everything[suspect])
    start = 0
    for one in sifted:
        _compare(one, np.flatnonzero(involved[start : start + len(one.keys)]), known)
        start += len(one.keys)
    return sifted


def _seen_earlier(keys: Keys) -> npt.NDArray[np.bool_]:
    """Mark each key that stands earlier in the group too."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    later = np.zeros(len(keys), bool)
    if len(keys) > 1:
        later[order[1:]] = ordered[1:] == ordered[:-1]
    return later


def _candidate_ids(sifted: list[Sifted], chosen: npt.NDArray[np.bool_]) -> pa.Table:
    names = ["trace_id_high", "trace_id_low", "span_id"]
    tables, start = [], 0
    for one in sifted:
        rows = chosen[start : start + len(one.keys)]
        start += len(one.keys)
        if rows.any():
            tables.append(pa.Table.from_batches([one.batch.items.select(names).filter(pa.array(rows))]))
    return pa.concat_tables(tables)


def _compare(one: Sifted, rows: npt.NDArray[np.int64], known: dict[Identity, Content]) -> None:
    """Drop the rows whose identity is known; what is kept becomes known to the rows after it."""
    for row, (identity, content, repeat) in zip(rows.tolist(), _facts(one.batch, rows), strict=True):
        before = known.setdefault(identity, content)
        if before is content:
            continue  # the first of its identity; a candidate that the store did not find was a chance collision of keys
        one.kept[row] = False
        one.repeats.append(repeat | {"conflicting": before != content})


def _facts(batch: Batch, rows: npt.NDArray[np.int64]) -> list[tuple[Identity, Content, dict[str, Any]]]:
    """Give identity, content and REPEATS columns of some rows."""
    items = batch.items.take(pa.array(rows)).select(["trace_id_high", "trace_id_low", "span_id", "kind", "resource_id", *_CONTENT]).to_pylist()
    resources = batch.resources.select(["service_namespace", "service_name", "service_instance_id"]).to_pylist()
    facts = []
    for item in items:
        resource = resources[item["resource_id"]]
        service = (resource["service_namespace"] or "", resource["service_name"] or "")
        identity = (item["trace_id_high"], item["trace_id_low"], item["span_id"], item["kind"], *service)
        repeat = {name: item.get(name, resource.get(name)) for name in REPEATS.names if name not in _GIVEN_LATER}
        facts.append((identity, tuple(item[name] for name in _CONTENT), repeat))
    return facts


_GIVEN_LATER = frozenset({"conflicting", "arrival_time_unix_nano"})
