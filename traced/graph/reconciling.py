"""Holds orphans against the loss ledger: whether who is said to have lost a parent says so itself, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.causes import LOCAL_LOSS, SAMPLED_OUT, UNKNOWN, UPSTREAM_LOSS
from traced.graph.columns import Ints, Mask
from traced.graph.forest import Forest
from traced.graph.losses import LossLedger, Lost, reported
from traced.model.measurement import PIPELINE_LOSSES, SDK_LOSSES, Quantity

BEFORE_NANOS: Final = 5_000_000_000
"""A loss that ended so much before the orphan began is none of its parent, whatever the clocks."""
AFTER_NANOS: Final = 120_000_000_000
"""A parent ends, waits in a queue and is tried again within so much after its child began."""
LATEST_NANOS: Final = 2**63 - 10**12
"""Times so near to the end of what can be written are no times."""
LONGEST_NANOS: Final = 900_000_000_000
"""A loss somewhere in a longer time says little about one moment of it."""
ADMITTED: Final = 0.8
"""Confidence that a parent of unknown fate was lost by the caller of all others of its operation that says it lost spans then."""
COUNTED_AFTER_NANOS: Final = 10_000_000_000
"""A count from so much after the orphan's beginning would show the loss."""

_ON_THE_WAY: Final = (*PIPELINE_LOSSES, Quantity.TAIL_LATE, Quantity.TAIL_TOO_EARLY)

REPORTED: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("service", pa.string()),
        ("instance", pa.string()),
        ("quantity", pa.string()),
        ("reason", pa.string()),
        ("spans", pa.int64()),
        ("since_unix_nano", pa.int64()),
        ("until_unix_nano", pa.int64()),
        ("queue_capacity", pa.int64()),
    ],
)
"""Losses that orphans refer to by their number: `model.losses.ReportedLoss`."""


def reconcile(causes: pa.Table, forest: Forest, ledger: LossLedger) -> tuple[pa.Table, pa.Table]:
    """Add to orphans with their causes what the ledger knows of each.

    Where the cause is not known, all known parents of the operation are of one other service, and that says that it lost spans at that time, the
    cause is `upstream_loss`.

    Give the causes with `reported` (the number of a loss, or null), `counts_awaited` (whether who is blamed counts, and has not counted up to
    then yet), `begun` and `not_sampled` (spans of a caller that samples, null where it does not say), and the losses as REPORTED. Where who is
    blamed says that it lost spans at that time, or that it samples, two thirds of the doubt about the cause are gone; what a Collector lost
    meanwhile is shown, and changes nothing: it may have been anybody's.
    """
    count = causes.num_rows
    found: Any = np.full(count, -1)
    awaited: Mask = np.zeros(count, bool)
    sampling: list[tuple[int, int] | None] = [None] * count
    losses: tuple[Lost, ...] = ()
    if ledger and count:
        cause = np.array(causes.column("cause").to_pylist(), object)
        remote = np.array([one is True for one in causes.column("parent_is_remote").to_pylist()])
        open_ = (cause == UNKNOWN) & remote
        lossy = (cause == LOCAL_LOSS) | (cause == UPSTREAM_LOSS)
        start = forest.start[np.asarray(causes.column("row"))]
        losses = ledger.lost()
        blamed = _blamed(causes, forest)
        for (service, instance), rows in _groups(blamed, lossy | open_).items():
            found[rows] = _near(start[rows], _of(losses, service, instance))
            counted = ledger.heard_until(service, instance)
            awaited[rows] = bool(counted) & (found[rows] < 0) & (counted - COUNTED_AFTER_NANOS < start[rows])
        for (service, _), rows in _groups(blamed, cause == SAMPLED_OUT).items():
            begun = ledger.sampled(service)
            for row in rows.tolist():
                sampling[row] = begun
        sure = (found >= 0) | np.array([bool(one and one[1]) for one in sampling])
        admitted = (found >= 0) & open_
        lost = np.flatnonzero((found < 0) & lossy)
        found[lost] = _near(start[lost], [(number, one) for number, one in enumerate(losses) if one.account.quantity in _ON_THE_WAY])
        causes = _decided(causes, cause, sure, admitted)
    columns = {
        "reported": pa.array(found, pa.int64(), mask=found < 0),
        "counts_awaited": pa.array(awaited),
        "begun": pa.array([one and one[0] for one in sampling], pa.int64()),
        "not_sampled": pa.array([one and one[1] for one in sampling], pa.int64()),
    }
    for name, column in columns.items():
        causes = causes.append_column(name, column)
    return causes, _table(losses, sorted(set(found[found >= 0].tolist())), ledger)


def _blamed(causes: pa.Table, forest: Forest) -> list[tuple[str, str]]:
    """Name, for each orphan, the service and, where that is known, the instance that its cause speaks of; else ''."""
    rows = np.asarray(causes.column("row"))
    instances = forest.codes["service_instance_id"]
    own = [forest.service.texts[code] for code in forest.service.of[rows]]
    at = [instances.texts[code] for code in instances.of[rows]]
    columns = [causes.column(name).to_pylist() for name in ("cause", "likely_caller", "usual_parent")]
    return [
        (mine, instance) if cause == LOCAL_LOSS else (here or (usual if usual != mine else ""), elsewhere)
        for mine, instance, cause, here, usual, elsewhere in zip(own, at, *columns, _instances(forest, rows, columns[1]), strict=True)
    ]


def _instances(forest: Forest, rows: Ints, callers: list[str]) -> list[str]:
    """Name the instance of which all spans of each orphan's caller in its trace are; '' where there is no caller, or no one instance."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(forest.service.texts))}  # counts name no namespace
    named = np.array([numbers[text] for text in forest.service.texts] or [0])[forest.service.of]
    width = len(numbers) + 1
    wanted = forest.trace[rows] * width + np.array([numbers.get(caller, width - 1) for caller in callers], np.int64)
    keys = forest.trace * width + named
    among = np.flatnonzero(np.isin(keys, wanted))
    instances = forest.codes["service_instance_id"]
    # in the order of key and instance the first and the last of a key are the same where there is one only
    order = among[np.lexsort((instances.of[among], keys[among]))]
    first, last = np.searchsorted(keys[order], wanted), np.searchsorted(keys[order], wanted, "right") - 1
    return [
        instances.texts[instances.of[order[low]]] if low <= high and instances.of[order[low]] == instances.of[order[high]] else ""
        for low, high in zip(first.tolist(), last.tolist(), strict=True)
    ]


def _groups(blamed: list[tuple[str, str]], wanted: Mask) -> dict[tuple[str, str], Ints]:
    groups: dict[tuple[str, str], list[int]] = {}
    for row in np.flatnonzero(wanted).tolist():
        if blamed[row][0]:
            groups.setdefault(blamed[row], []).append(row)
    return {who: np.array(rows) for who, rows in groups.items()}


def _of(losses: tuple[Lost, ...], service: str, instance: str) -> list[tuple[int, Lost]]:
    """Give the losses of a service's SDK, with their numbers; of one instance and of those that do not say which they are, if that is known."""
    return [
        (number, one)
        for number, one in enumerate(losses)
        if one.account.service == service and one.account.quantity in SDK_LOSSES and (not instance or one.account.instance in (instance, ""))
    ]


def _near(start: Ints, losses: Iterable[tuple[int, Lost]]) -> Ints:
    """Give the number of the largest loss at the time of each orphan, or -1; they come with the largest first."""
    found = np.full(len(start), -1)
    for number, one in losses:
        times = [(i.since, i.until) for i in one.increases if i.since and i.until - i.since <= LONGEST_NANOS and i.until < LATEST_NANOS]
        if not times:
            continue
        since, until = (np.array(side) for side in zip(*times, strict=True))
        # the earliest beginning among those that end later
        earliest = np.minimum.accumulate(since[::-1])[::-1]
        first = np.searchsorted(until + BEFORE_NANOS, start)
        ends_later = first < len(until)
        near = ends_later & (earliest[np.where(ends_later, first, 0)] - AFTER_NANOS <= start)
        found = np.where((found < 0) & near, number, found)
    return found


def _decided(causes: pa.Table, cause: Any, sure: Mask, admitted: Mask) -> pa.Table:
    """Take two thirds of the doubt where it is sure, and name the cause where a loss was admitted."""
    confidence = np.asarray(causes.column("confidence"))
    raised = np.where(sure, np.maximum(confidence, np.minimum(0.99, np.round(1 - (1 - confidence) / 3, 4))), confidence)
    columns = {"cause": pa.array(np.where(admitted, UPSTREAM_LOSS, cause)), "confidence": pa.array(np.where(admitted, ADMITTED, raised))}
    for name, column in columns.items():
        causes = causes.set_column(causes.schema.get_field_index(name), name, column)
    return causes


def _table(losses: tuple[Lost, ...], numbers: list[int], ledger: LossLedger) -> pa.Table:
    told = [(number, reported(losses[number], ledger)) for number in numbers]
    rows = [{"number": number, **{name: getattr(loss, name) for name in REPORTED.names[1:]}} for number, loss in told]
    return pa.Table.from_pylist(rows, schema=REPORTED)
