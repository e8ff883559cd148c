"""Samplers of one trace did not decide by the same number: traces are kept in parts, and counts made from them are wrong.

Criteria:
    Spans of one trace carry different randomness (`rv` in the member `ot` of `tracestate`): `randomness_differs`. Or a span's randomness is
    below the rejection threshold that it carries itself (`th`), so that the sampler that wrote it should have dropped the span:
    `below_threshold`. The randomness is `rv`, else the low 56 bits of the trace id. One occurrence for each trace and service, where it begins.

Rationale:
    Consistent samplers compare one number of the trace with their own threshold, so that whatever a stricter one keeps, the others keep too.
    A second number breaks this: whole branches are missing by chance. A threshold that does not hold makes each span count for too many.

How to fix:
    Let only the root's sampler choose `rv`, and let everything between forward `tracestate` unchanged. Use parent-based samplers, or consistent
    ones in every service. A sampler that keeps a span for another reason than chance must erase `th`.

When it is wrong:
    Where there is no `rv` and the flags do not say that the trace id is random, the low 56 bits are what a sampler takes by specification; but one
    that took another number and did not write it down cannot be told from one that is wrong. This is an improvement then, of lower
    confidence, else a violation.

    Differing thresholds alone are no fault: a service may keep more than its caller. Spans without `th` and `rv`, as most stable samplers
    leave them, say nothing, and members that are not written as specified count as absent. Samplers that keep low trace ids without a mark,
    and Collectors that each decide on a part of a trace, are not looked for here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from traced.detectors import Row, iterate
from traced.model.occurrence import Level, Occurrence

ID = "inconsistent_sampling"
LEVEL = Level.VIOLATION

RANDOMNESS_DIFFERS = "randomness_differs"
BELOW_THRESHOLD = "below_threshold"

_EXACT, _SAID_RANDOM, _PRESUMED = 0.99, 0.97, 0.75


def detect(rows: Sequence[Row]) -> Iterator[Occurrence]:
    """Turn each contradiction into an occurrence."""
    for trace_id, row in iterate(rows):
        presumed = not (row["explicit"] or row["said_random"])
        yield Occurrence(
            id=ID,
            level=Level.IMPROVEMENT if presumed else LEVEL,
            cause=RANDOMNESS_DIFFERS if row["differs"] else BELOW_THRESHOLD,
            trace_id=trace_id,
            span_id=row["span_id"],
            service=row["service"],
            signal_name=row["signal_name"],
            time_unix_nano=row["time_unix_nano"],
            confidence=_PRESUMED if presumed else _EXACT if row["explicit"] else _SAID_RANDOM,
            context=_context(row),
        )


def _context(row: Row) -> dict[str, object]:
    context: dict[str, object] = {"randomness": f"{row['randomness']:014x}", "spans": row["spans"]}
    if row["differs"]:
        return context | {"other_randomness": f"{row['other_randomness']:014x}"}
    source = "rv" if row["explicit"] else "random trace id" if row["said_random"] else "trace id, presumed random"
    return context | {"threshold": f"{row['threshold']:014x}", "randomness_from": source}


def sentence(occurrence: Occurrence, count: int) -> str:
    """Say it in one sentence."""
    if occurrence.cause == RANDOMNESS_DIFFERS:
        traces = "trace got" if count == 1 else "traces got"
        return f"{count} {traces} a second randomness value in {occurrence.service}, so samplers below decide differently from those above."
    traces = "trace was" if count == 1 else "traces were"
    return f"{count} {traces} kept in {occurrence.service} though their own sampling threshold says that they were dropped."
