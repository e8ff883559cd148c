"""The causes of missing spans by name, and why a parent is absent: concluded from the facts of `queries/analysis/orphan_facts.sql`, and from nothing else."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.absent_ids import MAX_TRACES
from traced.graph.sampling import DROPPED, PERHAPS
from traced.graph.shares import least_share
from traced.model.span import SpanKind

PROPAGATION_MANGLED: Final = "propagation_mangled"
SAMPLED_OUT: Final = "sampled_out"
LOCAL_LOSS: Final = "local_loss"
UPSTREAM_SILENT: Final = "upstream_silent"
UPSTREAM_LOSS: Final = "upstream_loss"
UNKNOWN: Final = "unknown"
PENDING: Final = "pending"
CALLEE_LOSS: Final = "callee_loss"
NOT_REACHED: Final = "not_reached"
WENT_SILENT: Final = "went_silent"
CHANGED: Final = "changed"

MIN_SEEN: Final = 20
"""Spans of an operation from which on its habits are known."""
MATURE_SPANS: Final = 100
MATURE_ABSENT: Final = 20
"""Spans of an operation, and of these such without their parent, from which on more of them hardly change what its habits say."""
MIN_CONSTANT_TRACES: Final = MAX_TRACES
MIN_SILENT_SHARE: Final = 0.75
"""Lower bound of the share without a parent from which on its caller reports nothing: nine of nine."""
MOSTLY: Final = 0.95
MAY_RUN: Final = "may_run"
BEYOND: Final = "beyond"
"""A parent may still be running, by how long its like last; BEYOND: its trace will not be joined when it comes."""

_RECEIVING: Final = (SpanKind.SERVER, SpanKind.CONSUMER)

Facts = dict[str, Any]


def with_causes(facts: pa.Table) -> pa.Table:
    """Give the facts with what they lead to: cause, confidence, parent_is_remote (null where that is not known), known_by."""
    _, first, place = np.unique(np.asarray(facts.column("alike")), return_index=True, return_inverse=True)
    verdicts: list[tuple[str, float, bool | None, str]] = []
    for row in facts.take(pa.array(first)).to_pylist():
        remote, by = parent_is_remote(row)
        verdicts.append((*cause_of(row, remote, by), remote, by))
    kinds = (("cause", pa.string()), ("confidence", pa.float64()), ("parent_is_remote", pa.bool_()), ("known_by", pa.string()))
    for at, (name, kind) in enumerate(kinds):
        facts = facts.append_column(name, pa.array([verdict[at] for verdict in verdicts], kind).take(pa.array(place)))
    return facts


def early(causes: pa.Table) -> pa.ChunkedArray:
    """Mark the orphans whose cause follows from habits of operations that are little known yet: more may tell otherwise."""
    habits = pc.or_(pc.less(causes.column("spans"), MATURE_SPANS), pc.less(causes.column("absent"), MATURE_ABSENT))
    flags = pc.and_(pc.equal(causes.column("cause"), LOCAL_LOSS), pc.equal(causes.column("known_by"), "flags"))
    return pc.and_not(habits, flags)


def parent_is_remote(row: Facts) -> tuple[bool | None, str]:
    """Say whether the parent was in another process (None: not known), and by what that is known."""
    if row["remote"] >= 0:
        return row["remote"] == 1, "flags"
    seen = row["present"]
    if seen >= MIN_SEEN and row["local"] >= MOSTLY * seen:
        return False, "habit"
    if seen >= MIN_SEEN and row["local"] <= (1 - MOSTLY) * seen:
        return True, "habit"
    if row["kind"] in _RECEIVING:
        return True, "kind"
    return (False, "kind") if row["kind"] != SpanKind.UNSPECIFIED else (None, "")


_SURE: Final = {"flags": 0.99, "habit": 0.97, "kind": 0.85, "": 0.5}
_SAMPLED: Final = {"threshold": 0.99, "parts": 0.95}
_BY_ORDER: Final = 0.97
"""Of a sampler that shows by a cut through trace ids."""


def cause_of(row: Facts, remote: bool | None, by: str) -> tuple[str, float]:  # noqa: FBT001 - a fact, not a switch
    """Give the cause and the chance that it is right."""
    mangled = _mangled(row, remote, by)
    if mangled:
        return PROPAGATION_MANGLED, mangled
    if row["running"]:
        # its trace may be too old to be joined when the parent comes
        return (PENDING, 0.8) if row["running"] == MAY_RUN else (UNKNOWN, 0.5)
    if remote is False:
        return LOCAL_LOSS, _SURE[by]
    if row["sampled"] == DROPPED:
        return SAMPLED_OUT, _SAMPLED.get(row["sampled_by"], _BY_ORDER)
    if remote is None:
        return UNKNOWN, 0.5
    return _upstream(row, by)


def _mangled(row: Facts, remote: bool | None, by: str) -> float:  # noqa: FBT001 - a fact, not a switch
    """Give the chance that the parent's id was changed on the way; 0 where nothing says so. What stays in its process is not changed on any way."""
    if remote is not False and row["mangled_span_id"]:
        return float(round(max(0.6, row["mangled_confidence"]), 4))
    constant = remote is True and row["traces_with_this_id"] >= MIN_CONSTANT_TRACES
    half = bool(row["id_shape"]) and not (remote is False and by == "flags")
    return 0.97 if constant or half or row["whole_service"] is not None else 0.0


def _upstream(row: Facts, by: str) -> tuple[str, float]:
    """Tell a caller that lost a span from one that sends none."""
    sure = _SURE[by]
    never_here = row["address_absent"] if not row["address_present"] else 0
    silent = max(least_share(never_here, never_here), 0.0 if row["present"] else least_share(row["absent"], row["absent"]))
    if silent >= MIN_SILENT_SHARE:
        return UPSTREAM_SILENT, round(silent * sure, 4)
    if row["sampled"] == PERHAPS:
        return UNKNOWN, 0.5
    if row["caller_in_trace"] or row["address_present"]:
        return UPSTREAM_LOSS, sure
    return (UPSTREAM_LOSS, round(0.8 * sure, 4)) if row["present"] >= MIN_SEEN else (UNKNOWN, 0.5)
