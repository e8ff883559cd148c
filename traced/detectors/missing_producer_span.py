"""A consumer's span link names a message whose PRODUCER span never came.

Criteria:
    A CONSUMER span has a link to a span that is neither among those that came with it nor anywhere in the store, after the time in which its trace
    settles. Ids of zeros are no links. One occurrence a consumer span, whatever the number of its links.

    The cause is the first that holds. `sampled_out`: the link's own flags say that its target was not sampled, or the service that usually sends these
    messages does not sample the link's trace, by the threshold that its spans carry or by the cut through trace ids that its traces show. `upstream_loss`:
    other spans of the link's trace are here, and links of this consumer mostly lead to spans: the lower 95 % bound of the share (Clopper and Pearson) is at
    least a half. `upstream_silent`: no link of this consumer ever led to a span (at least nine), and no PRODUCER span to that destination ever came. Where
    none of these holds nothing is said.

Rationale:
    With links, the link is all that joins a message's two ends. Without the producer's span the message has a receiver and no sender, and what
    caused the work that the consumer does is not to be seen.

How to fix:
    Look at the exporter or the sampler of the producing service; where it reports nothing, install the instrumentation of its messaging client.

When it is wrong:
    A message that was kept or replayed for longer than spans are kept links to what was dropped here; nothing else of its trace is here either, and
    so it is not spoken of. Instrumentations that write ids of another form (halved, normalised), and brokers that put a span of their own between (as
    X-Ray's segment of SQS), make links that hardly ever lead anywhere: of these nothing is said, nor of the few losses among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from traced.detectors import Row, iterate
from traced.graph.causes import SAMPLED_OUT, UPSTREAM_LOSS, UPSTREAM_SILENT
from traced.graph.shares import least_share, surely_least_share
from traced.model.occurrence import Level, Occurrence
from traced.model.span import span_id_hex, trace_id_hex

ID = "missing_producer_span"
LEVEL = Level.VIOLATION
WHOLE_VIEW = True

MIN_SILENT_SHARE: Final = 0.75
"""Lower bound of the share of links that lead nowhere: nine of nine."""
MIN_FOUND_SHARE: Final = 0.5
"""Lower bound of the share of links that lead to a span from which on one that does not stands out: five of five, 20 of 31."""

_LEVELS: Final = {SAMPLED_OUT: Level.INFORMATION, UPSTREAM_SILENT: Level.IMPROVEMENT}


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Keep the links of which it is known why they lead nowhere."""
    for trace_id, row in iterate(rows):
        cause, confidence = _cause(row)
        if not cause:
            continue
        yield Occurrence(
            id=ID,
            level=_LEVELS.get(cause, LEVEL),
            cause=cause,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["usual_producer"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=confidence,
            missing_span_id=row["missing_span_id"],
            context={
                "destination": row["destination"],
                "link_trace_id": trace_id_hex(row["target_trace_id_high"], row["target_trace_id_low"]),
                "link_span_id": span_id_hex(row["missing_span_id"]),
                "links_that_lead_to_a_span": row["found"],
                "links_that_do_not": row["absent"],
                "other_spans_of_that_trace_are_here": row["trace_is_here"],
                **({"known_by": row["sampled_by"]} if cause == SAMPLED_OUT else {}),
            },
        )


def _cause(row: Row) -> tuple[str, float]:
    if row["sampled"] == "dropped":
        return SAMPLED_OUT, 0.95
    if row["trace_is_here"] and surely_least_share(row["found"], row["found"] + row["absent"]) >= MIN_FOUND_SHARE:
        return UPSTREAM_LOSS, 0.95
    bound = least_share(row["absent"], row["absent"] + row["found"])
    if not row["found"] and not row["producers_report"] and bound >= MIN_SILENT_SHARE:
        return UPSTREAM_SILENT, round(bound, 4)
    return "", 0.0


def fix(occurrence: Occurrence) -> str:
    """Say what to do, by cause."""
    producer = occurrence.peer or f"who sends to {occurrence.context['destination'] or 'it'}"
    return {
        SAMPLED_OUT: f"Let {producer} and {occurrence.service} sample by one rule, if messages are to be followed from end to end.",
        UPSTREAM_LOSS: f"Look at the exporter of {producer}: its queue, its timeouts, and whether it is flushed at shutdown.",
    }.get(occurrence.cause, f"Find {producer}, and install the instrumentation of its messaging client, with an exporter that leads here.")


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    links = "link" if count == 1 else "links"
    spans = "a PRODUCER span" if count == 1 else "PRODUCER spans"
    why = {SAMPLED_OUT: "was not sampled", UPSTREAM_LOSS: "was lost"}.get(occurrence.cause, "never comes")
    whose = f" of {occurrence.peer}" if occurrence.peer else ""
    return f"{count} {links} of {occurrence.service} lead to {spans}{whose} that {why}."
