"""What looks odd and takes nothing away: late arrival, wrong clocks, repeats, redelivery, equal ids."""

from __future__ import annotations

import random
from dataclasses import replace

from .damage import Damaged, busy_service, undamaged
from .kinship import kinship
from .traces import MILLISECOND, SECOND, Kind, Span, TraceSet

_REDELIVERED_AFTER = 5 * SECOND


def late(clean: TraceSet, rng: random.Random) -> Damaged:
    """Everything of one service arrives after all the rest."""
    service, whole = busy_service(clean, rng), undamaged(clean)
    return replace(whole, spans=tuple(sorted(whole.spans, key=lambda s: s.service == service)))


def skewed(clean: TraceSet, rng: random.Random, offset_ms: float) -> Damaged:
    """The clock of one host is ahead."""
    whole = undamaged(clean)
    host = rng.choice(sorted({s.resource.host for s in whole.spans}))
    ahead = round(offset_ms * MILLISECOND)
    spans = tuple(replace(s, start=s.start + ahead, end=s.end + ahead) if s.resource.host == host else s for s in whole.spans)
    return replace(whole, spans=spans, skewed=frozenset({host}))


def drifting(clean: TraceSet, rng: random.Random, offset_ms: float, drift_ms: float) -> Damaged:
    """The clock of one host is ahead, and runs a little faster: at the end by `drift_ms` more than at the beginning."""
    whole = undamaged(clean)
    host = rng.choice(sorted({s.resource.host for s in whole.spans}))
    first, last = min(s.start for s in whole.spans), max(s.end for s in whole.spans)

    def ahead(at: int) -> int:
        return at + round((offset_ms + drift_ms * (at - first) / (last - first)) * MILLISECOND)

    spans = tuple(replace(s, start=ahead(s.start), end=ahead(s.end)) if s.resource.host == host else s for s in whole.spans)
    return replace(whole, spans=spans, skewed=frozenset({host}))


def exported_twice(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Some spans are sent again right away: the answer to their export got lost."""
    whole = undamaged(clean)
    repeated = {s.uid for s in whole.spans if rng.random() < share}
    spans = tuple(copy for s in whole.spans for copy in ((s, s) if s.uid in repeated else (s,)))
    return replace(whole, spans=spans, repeated=frozenset(repeated))


def redelivered(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Messages are consumed a second time: the CONSUMER span and everything below it again, with ids of its own."""
    kin, whole = kinship(clean), undamaged(clean)
    copies: list[Span] = []
    for span in clean.spans:
        if span.kind is Kind.CONSUMER and rng.random() < share:
            again = [clean.spans[u] for u in kin.below(span.uid)]
            ids = {s.span_id: f"{rng.getrandbits(64):016x}" for s in again}
            trace = span.trace_id if span.parent_span_id else f"{rng.getrandbits(128):032x}"
            copies += [_moved(s, ids, trace, len(clean.spans) + len(copies) + n) for n, s in enumerate(again)]
    return replace(whole, spans=(*whole.spans, *copies))


def equal_ids(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Two leaves under one parent, of one process, carry the same span id."""
    kin, whole, other = kinship(clean), undamaged(clean), dict[int, str]()
    for siblings in kin.children.values():
        leaves = [u for u in siblings if u not in kin.children and u not in clean.fates and clean.spans[u].kind is Kind.CLIENT]
        if len(leaves) > 1 and clean.spans[leaves[0]].resource is clean.spans[leaves[1]].resource and rng.random() < share:
            other[leaves[1]] = clean.spans[leaves[0]].span_id
    spans = tuple(replace(s, span_id=other.get(s.uid, s.span_id)) for s in whole.spans)
    return replace(whole, spans=spans, conflicting=frozenset(other))


def _moved(span: Span, ids: dict[str, str], trace: str, uid: int) -> Span:
    again = replace(span, uid=uid, trace_id=trace, span_id=ids[span.span_id], parent_span_id=ids.get(span.parent_span_id, span.parent_span_id))
    return replace(again, start=span.start + _REDELIVERED_AFTER, end=span.end + _REDELIVERED_AFTER)
