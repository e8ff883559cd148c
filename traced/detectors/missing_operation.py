"""Spans of an operation lack a child that they used to have: it is lost, or not recorded any more.

Criteria:
    Compared are spans of one operation and response status, in traces that are whole and in which nothing failed, by the process that recorded them
    (`service.instance.id` and `service.version`); and children of their own service that are no entries, for calls are judged by pairs. A
    child is regular where the lower 95 % bound (Wilson) of the share of spans that have it is at least 0.95, out of at least 60. At least 20 newer
    spans of a process are held against its own earlier ones, and against those of the other processes: that so few have the child must have too
    small a chance if nothing had changed (Fisher's exact test, one-sided; all children tested in a pass together by Benjamini and Hochberg at 1 %),
    and the upper bound of the share now lies more than 0.1 below the lower bound then. Each such shift is told once, at one span that lacks the child.

    `changed` (information): the process is of a version of which nobody has the child. Else spans without the child must take as long as those with
    it (the difference, with two standard errors, is less than what the child took, once enough spans have shown it): the work is still done. Then it
    is `local_loss` where the other processes of the version still have the child, and this one had it, or at least two others do; and `unknown`
    (improvement) otherwise. Nothing is told where another child, hardly ever seen before, came in its place.

Rationale:
    The loss of a span that has no children leaves no other sign: no orphan, no call without an answer. Only the habit of its parent shows it.

How to fix:
    Look at the exporter of the process that is named (queue, batch, memory limit), and at its configuration: a filter, or an instrumentation that
    was switched off there.

    After a new version: see whether it still does this work, and whether the instrumentation of the library is still enabled.

When it is wrong:
    A child that depends on the load, on a cache or on a flag may have come with every span for an hour, and then no more, while something else took
    as long. Not seen are losses of children that took so little of their parent's time that nothing tells whether it is still spent, losses of
    less than a tenth, and losses from the first span on in all processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.causes import CHANGED, LOCAL_LOSS, UNKNOWN
from traced.model.occurrence import Level, Occurrence

ID = "missing_operation"
LEVEL = Level.VIOLATION

_LEVELS: Final = {LOCAL_LOSS: Level.VIOLATION, CHANGED: Level.INFORMATION, UNKNOWN: Level.IMPROVEMENT}
_CONFIDENCE: Final = {LOCAL_LOSS: 0.9, CHANGED: 0.9, UNKNOWN: 0.6}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each child that is gone from a process into an occurrence."""
    for trace_id, row in iterate(rows):
        yield Occurrence(
            id=ID,
            level=_LEVELS[row["cause"]],
            cause=row["cause"],
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=f"{row['signal_name']} → {row['child_name']}",
            time_unix_nano=row["time_unix_nano"],
            confidence=_CONFIDENCE[row["cause"]],
            context={
                "operation": row["signal_name"],
                "child": row["child_name"],
                "instance": row["instance"],
                "version": row["version"],
                "compared_with": "its own earlier spans" if row["own"] else "the other instances",
                "spans_before": row["spans_before"],
                "with_the_child_before": row["having_before"],
                "spans_now": row["spans_now"],
                "with_the_child_now": row["having_now"],
                "spans_of_the_others_now": row["spans_of_others"],
                "of_them_with_the_child": row["having_of_others"],
                "chance": float(f"{row['chance']:.3g}"),
                "time_of_the_child": row["time"] or "cannot be told",
            },
        )


_WHY: Final = {
    LOCAL_LOSS: "instance {instance} loses it",
    CHANGED: "since version {version}",
    UNKNOWN: "why is not known, but the time that it took is still spent",
}
_FIX: Final = {
    LOCAL_LOSS: "Look at the exporter and the configuration of instance {instance} of {service}: its queue, its filters, instrumentation switched off there.",
    CHANGED: "See whether version {version} of {service} still does {child!r}, and if so, whether that library's instrumentation is still enabled.",
    UNKNOWN: "See what changed for {service} when {child!r} was last recorded: configuration, filters of the Collector, instrumentation.",
}


def fix(occurrence: Occurrence) -> str:
    """Say where to look, by cause."""
    return _FIX[occurrence.cause].format(service=occurrence.service, **occurrence.context)


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    del count
    facts = occurrence.context
    now = f"{facts['with_the_child_now']} of {facts['spans_now']} {facts['operation']!r} spans have the child {facts['child']!r}"
    then = f"of {facts['spans_before']} {'earlier ones' if facts['compared_with'].startswith('its') else 'of other instances'} {facts['with_the_child_before']}"
    return f"{now}, {then}: {_WHY[occurrence.cause].format(**facts)}."
