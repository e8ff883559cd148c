"""Damages in which nothing is lost but a context: cut, mangled, halved, leaked, looped."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

from .damage import Cut, Damaged, Severing, busy_edge, by_edge, sever
from .kinship import kinship
from .traces import Fate, Kind, TraceSet


def of_an_edge(clean: TraceSet, rng: random.Random, how: Cut, share: float) -> Damaged:
    """A share of the calls of one edge gets its context changed."""
    uids = by_edge(clean)[busy_edge(clean, rng)]
    return _sever(clean, rng, how, (u for u in uids if rng.random() < share))


def of_a_caller(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service sends no context in any of its calls; the busiest caller of several others."""
    return _of_a_side(clean, rng, 0)


def of_a_callee(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service takes no context from any of its callers; the busiest callee of several others."""
    return _of_a_side(clean, rng, 1)


def of_a_process(clean: TraceSet, rng: random.Random, side: int) -> Damaged:
    """On one edge, one process of the caller (side 0) or of the receiver (1) loses the context of all its calls."""
    kin, uids = kinship(clean), by_edge(clean)[busy_edge(clean, rng)]

    def process(uid: int) -> str:
        return clean.spans[uid if side else kin.caller[uid]].resource.instance

    chosen = rng.choice(sorted({process(u) for u in uids}))
    return _sever(clean, rng, Cut.NEW_TRACE, (u for u in uids if process(u) == chosen))


def of_a_callee_half(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """A share of the traces gets half a trace id in all calls of one service, several of one trace among them."""
    _, service = busy_edge(clean, rng)
    traces = {trace for trace in sorted({s.trace_id for s in clean.spans}) if rng.random() < share}
    uids = (u for (_, callee), some in by_edge(clean).items() if callee == service for u in some)
    return _sever(clean, rng, Cut.HALF, (u for u in uids if clean.spans[u].trace_id in traces))


def of_consumers(clean: TraceSet, rng: random.Random, how: Cut, share: float) -> Damaged:
    """A share of all consumers below a PRODUCER gets its context changed."""
    uids = [u for some in by_edge(clean).values() for u in some if clean.spans[u].kind is Kind.CONSUMER and clean.spans[u].parent_span_id]
    return _sever(clean, rng, how, (u for u in uids if rng.random() < share))


def unseen_callers(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """A share of all calls is made by something that emits nothing and sends no context, where else everybody does."""
    kin = kinship(clean)
    chosen = [u for uids in by_edge(clean).values() for u in uids if clean.spans[u].kind is Kind.SERVER and rng.random() < share]
    alone = [u for u in chosen if clean.spans[kin.caller[u]].kind is Kind.CLIENT and len(kin.answers[kin.caller[u]]) == 1]
    return sever(clean, Severing(dict.fromkeys(alone, Cut.NEW_TRACE), fates={kin.caller[u]: Fate.SILENT for u in alone}), rng)


def leaked(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """In one service, requests now and then run under the ended span of an earlier one of the same process."""
    kin, (_, service) = kinship(clean), busy_edge(clean, rng)
    served = [s for s in clean.spans if s.service == service and s.uid in kin.caller and s.kind in (Kind.SERVER, Kind.CONSUMER)]
    chosen = [s for s in served if rng.random() < share]
    moved = {u for s in chosen for u in kin.below(s.uid)}
    onto = {}
    for span in chosen:
        ended = [s for s in served if s.uid not in moved and s.resource is span.resource and s.end < span.start and s.trace_id != span.trace_id]
        if ended:
            onto[span.uid] = max(ended, key=lambda s: s.end).uid
    return sever(clean, Severing(dict.fromkeys(onto, Cut.LEAKED), onto), rng)


def looped(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Called spans name themselves as their parent, or a span below them."""
    kin, onto = kinship(clean), {}
    for uids in by_edge(clean).values():
        for uid in (u for u in uids if rng.random() < share):
            local = [c for c in kin.children.get(uid, ()) if not clean.spans[c].remote]
            onto[uid] = rng.choice(local) if local and rng.random() < 0.5 else uid
    return sever(clean, Severing(dict.fromkeys(onto, Cut.LOOPED), onto), rng)


def _of_a_side(clean: TraceSet, rng: random.Random, side: int) -> Damaged:
    others, calls = defaultdict[str, set[str]](set), defaultdict[str, list[int]](list)
    for edge, uids in by_edge(clean).items():
        others[edge[side]].add(edge[1 - side])
        calls[edge[side]] += uids
    service = max(calls, key=lambda s: (min(2, len(others[s])), len(calls[s]), s))
    return _sever(clean, rng, Cut.NEW_TRACE, calls[service])


def _sever(clean: TraceSet, rng: random.Random, how: Cut, uids: Iterable[int]) -> Damaged:
    return sever(clean, Severing(dict.fromkeys(uids, how)), rng)
