"""A service records so many spans in one trace that what matters is hard to find among them.

Criteria:
    In one trace a service has more than 10 INTERNAL spans (`internal_spans`, Instrumentation Score's rule SPA-001), or more than 20 spans under
    5 ms (`short_spans`, SPA-005), or at least 100 spans of one name under one parent (`siblings`). One occurrence for each trace, service and
    kind of flood, at a span of the name that most of them have. The first two are information up to ten times the rule's number, and an
    improvement above; siblings are an improvement.

Rationale:
    Each span costs time, network and storage, and pushes others out of the exporter's queue. A tree of thousands of lines is not read.

How to fix:
    Drop the instrumentation scope that records the name (a view of the SDK's configuration, or the library's own switch), or record one span for
    the loop, with the number of turns as an attribute, and span events for what is worth telling of single ones.

When it is wrong:
    A job that works through many things may rightly have a span for each. Queries repeated under one parent are a fault of their own kind
    and not counted as siblings; neither are SERVER and CONSUMER spans, whose number their callers decide. Spans of no duration are not
    counted as short: they are those of which the end is not known. INTERNAL spans that share another span's id are pieces of that one, and not
    counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.floods import INTERNAL_SPANS, MAX_INTERNAL, MAX_SHORT, MIN_SIBLINGS, SHORT_SPANS, SIBLINGS
from traced.model.occurrence import Level, Occurrence

ID = "span_flood"
LEVEL = Level.IMPROVEMENT

_RULES: Final = {INTERNAL_SPANS: ("SPA-001", MAX_INTERNAL), SHORT_SPANS: ("SPA-005", MAX_SHORT)}
_FLOOD_FACTOR: Final = 10
_SAID: Final = {
    INTERNAL_SPANS: f"more than {MAX_INTERNAL} INTERNAL spans",
    SHORT_SPANS: f"more than {MAX_SHORT} spans under 5 ms",
    SIBLINGS: f"{MIN_SIBLINGS} or more spans of one name under one parent",
}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each flood into an occurrence."""
    for trace_id, row in iterate(rows):
        rule, allowed = _RULES.get(row["flood"], ("", 0))
        yield Occurrence(
            id=ID,
            level=Level.INFORMATION if row["spans"] <= allowed * _FLOOD_FACTOR else LEVEL,
            cause=row["flood"],
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            context={"spans": row["spans"], "names": row["names"], "worst_name": row["signal_name"], "of_worst_name": row["of_this_name"]}
            | ({"rule": rule, "allowed": allowed} if rule else {}),
        )


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    traces = "trace has" if count == 1 else "traces have"
    spans, named = occurrence.context["spans"], occurrence.context["of_worst_name"]
    return f"{count} {traces} {_SAID[occurrence.cause]} in {occurrence.service}: one of them {spans}, of which {named} are {occurrence.signal_name!r}."
