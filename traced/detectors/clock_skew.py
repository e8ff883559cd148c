"""Two hosts' clocks provably differ.

Criteria:
    Over at least 20 synchronous, answered calls between two clocks, every call bounds the offset of the server's clock against
    the client's: not less than server end minus client end, not more than server start minus client start. The intersection
    excludes zero by at least 1 ms, and so do three calls, and one in twenty, each by itself. Where the bounds of all calls contradict each other, because a
    clock drifts or a few calls mislead, the longest part of them up to the newest counts that does not, of at least 20 calls of which one in a hundred may
    be left out; then half of its calls must exclude zero each by itself. Clocks are told apart by host.id, else
    k8s.node.name, host.name, service.instance.id; where a resource names none of them, by service.

Rationale:
    Spans that seem to start before their parent, negative delays and wrong orders of events come from this, not from lost spans.
    Times are stored and shown as they were sent; nothing is corrected behind your back.

How to fix:
    Synchronise the named host's clock (NTP or PTP; in virtual machines check the guest's time source).

When it is wrong:
    Where resources name no host, a service of several hosts counts as one clock; differing offsets then contradict each other, and
    nothing is claimed while calls of several of them come. Calls through a proxy that answers early can tighten a bound wrongly, and so can servers that
    end their spans after the response is out: single ones do not count, many do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.graph.clocks import MIN_CLOCK_PAIRS, PROVING_SHARE_OF_A_PART
from traced.model.occurrence import Level, Occurrence

ID = "clock_skew"
LEVEL = Level.VIOLATION
LASTING = True

INFORMATION_FROM_NANOS = 1_000_000
IMPROVEMENT_FROM_NANOS = 100_000_000
VIOLATION_FROM_NANOS = 1_000_000_000

MIN_PROVING = 3
MIN_PROVING_SHARE = 0.05
"""Calls, and share of the calls, that must exclude zero each by itself: a single one may only have ended its span late."""


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each pair of clocks whose offset provably is not zero into an occurrence."""
    for trace_id, row in iterate(rows):
        lower, upper = row["lower"], row["upper"]
        proven = proven_skew(lower, upper)
        proving = row["ahead"] if lower > 0 else row["behind"]
        share = PROVING_SHARE_OF_A_PART if row["narrowed"] else MIN_PROVING_SHARE
        if row["pairs"] < MIN_CLOCK_PAIRS or proven < INFORMATION_FROM_NANOS or proving < max(MIN_PROVING, share * row["pairs"]):
            continue
        yield Occurrence(
            id=ID,
            level=_level(proven, row["median_duration"]),
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            peer=row["peer"],
            signal_name=f"{row['client_clock']} → {row['server_clock']}",
            time_unix_nano=row["time_unix_nano"],
            confidence=0.99,
            context={
                "offset_at_least_ms": round(lower / 1e6, 3),
                "offset_at_most_ms": round(upper / 1e6, 3),
                "calls": row["pairs"],
                **({"calls_in_all": row["pairs_in_all"]} if row["narrowed"] else {}),
                "calls_that_exclude_zero_alone": proving,
                "client_clock": row["client_clock"],
                "server_clock": row["server_clock"],
            },
        )


def proven_skew(lower: int, upper: int) -> int:
    """Give by how many nanoseconds the offset is at least off zero; 0 where zero is possible or the bounds contradict."""
    if lower > upper:
        return 0
    return lower if lower > 0 else max(0, -upper)


def _level(proven: int, median_duration: float) -> Level:
    if proven >= VIOLATION_FROM_NANOS:
        return Level.VIOLATION
    return Level.IMPROVEMENT if proven >= min(IMPROVEMENT_FROM_NANOS, max(median_duration, INFORMATION_FROM_NANOS)) else Level.INFORMATION


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    del count
    lower, upper = occurrence.context["offset_at_least_ms"], occurrence.context["offset_at_most_ms"]
    ahead = "ahead of" if lower > 0 else "behind"
    low, high = sorted((abs(lower), abs(upper)))
    return f"The clock of {occurrence.context['server_clock']} is {low:g} to {high:g} ms {ahead} that of {occurrence.context['client_clock']}."
