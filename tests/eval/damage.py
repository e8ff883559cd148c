"""What a damage leaves: the spans that arrive, and a note of what was done to each of the others."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto

from .kinship import Kinship, kinship
from .recorder import flags
from .traces import RECEIVING, Fate, Key, Kind, Link, Span, TraceSet

Rewrite = Callable[[Span], Span]
"""Gives a span as it arrives, for one that really happened."""


class Cut(StrEnum):
    """What became of the context that a span was called with."""

    NEW_TRACE = auto()
    SAME_TRACE = auto()
    """The trace id came through, the parent id did not."""
    LINKED = auto()
    """A new trace with a link to the caller: right by the conventions."""
    INVENTED = auto()
    """Another parent id, which no span has."""
    CONSTANT = auto()
    """The same other parent id each time."""
    HALF = auto()
    """The upper half of the trace id became zeros, for everything below too."""
    LEAKED = auto()
    """The context of an earlier request of the process was still there, and became the parent."""
    LOOPED = auto()
    """The parent id is the span's own, or that of a span below it."""
    FORWARDED = auto()
    """The process in between has no SDK and passed on what it got: the parent is its caller's span."""


@dataclass(frozen=True)
class Damaged:
    """A set after damage.

    Attributes:
        spans: what arrives, in the order in which it arrives; those without a place in the clean set are copies of redelivered messages.
        fates: why the others do not (uid to fate).
        cuts: uid to what became of its caller's context.
        repeated: uids that arrive twice.
        conflicting: uids whose span id another span of their trace has as well.
        skewed: hosts whose clock is wrong.
        disagreeing: uids that carry another randomness than their trace.
    """

    spans: tuple[Span, ...]
    fates: Mapping[int, Fate] = field(default_factory=dict)
    cuts: Mapping[int, Cut] = field(default_factory=dict)
    repeated: frozenset[int] = frozenset()
    conflicting: frozenset[int] = frozenset()
    skewed: frozenset[str] = frozenset()
    disagreeing: frozenset[int] = frozenset()


def undamaged(clean: TraceSet) -> Damaged:
    """Deliver what really arrives."""
    return lose(clean, {})


def lose(clean: TraceSet, fates: Mapping[int, Fate], rewrite: Rewrite | None = None) -> Damaged:
    """Deliver all but the named; what never reports anyway keeps its fate."""
    known = dict(fates) | dict(clean.fates)
    arriving = (s for s in clean.spans if s.uid not in known)
    return Damaged(tuple(rewrite(s) if rewrite else s for s in arriving), known)


@dataclass(frozen=True)
class Severing:
    """Which contexts are changed.

    Attributes:
        cuts: uid of the called span to what became of its context.
        onto: uid to the uid that became its parent, where that is another real span.
        fates: what is lost besides.
    """

    cuts: Mapping[int, Cut]
    onto: Mapping[int, int] = field(default_factory=dict)
    fates: Mapping[int, Fate] = field(default_factory=dict)


def sever(clean: TraceSet, severing: Severing, rng: random.Random) -> Damaged:
    """Deliver all with contexts changed as told, and what follows from it below them."""
    kin, cuts = kinship(clean), severing.cuts
    traces = _traces(clean, severing, rng)
    moved: dict[Key, Key] = {s.key: (traces[s.uid], s.span_id) for s in clean.spans if traces[s.uid] != s.trace_id}
    constant = f"{rng.getrandbits(64):016x}"
    parents = {u: f"{rng.getrandbits(64):016x}" if how is Cut.INVENTED else constant for u, how in cuts.items() if how in _NOWHERE}
    parents |= {u: clean.spans[onto].span_id for u, onto in severing.onto.items()}

    def rewrite(span: Span) -> Span:
        if span.uid in cuts:
            caller = clean.spans[kin.caller[span.uid]].key if span.uid in kin.caller else None
            span = _severed(span, cuts[span.uid], parents.get(span.uid, ""), caller)
        links = tuple(replace(x, target=moved.get(x.target, x.target)) for x in span.links)
        return replace(span, trace_id=traces[span.uid], links=links)

    return replace(lose(clean, severing.fates, rewrite), cuts=dict(cuts))


_NOWHERE = (Cut.INVENTED, Cut.CONSTANT)


def _traces(clean: TraceSet, severing: Severing, rng: random.Random) -> dict[int, str]:
    """Give each span's trace id after the change: that of what it hangs under, but where a cut says otherwise."""
    kin, traces = kinship(clean), dict[int, str]()
    for uid in kin.order:
        parent = kin.parent[uid]
        traces[uid] = clean.spans[uid].trace_id if parent is None else traces[parent]
        match severing.cuts.get(uid):
            case Cut.NEW_TRACE | Cut.LINKED:
                traces[uid] = f"{rng.getrandbits(128):032x}"
            case Cut.HALF:
                traces[uid] = "0" * 16 + traces[uid][16:]
            case Cut.LEAKED:
                traces[uid] = clean.spans[severing.onto[uid]].trace_id
    return traces


def _severed(span: Span, how: Cut, parent: str, caller: Key | None) -> Span:
    """Give a span with the context it got instead of its caller's."""
    if how is Cut.HALF:
        return span
    if how in (*_NOWHERE, Cut.FORWARDED, Cut.LOOPED):
        return replace(span, parent_span_id=parent)
    local = flags(span.resource, remote=False)
    linked = (*span.links, Link(caller)) if how is Cut.LINKED and caller else span.links
    return replace(span, parent_span_id=parent, flags=local, links=linked)


def called(kin: Kinship, kinds: Iterable[Kind] = RECEIVING) -> list[int]:
    """Give the uids of spans called from another process."""
    wanted = set(kinds)
    return sorted(u for u in kin.caller if kin.spans[u].kind in wanted)


def by_edge(clean: TraceSet) -> dict[tuple[str, str], list[int]]:
    """Give (caller, callee) to the uids of the called spans, where both report."""
    kin, edges = kinship(clean), defaultdict[tuple[str, str], list[int]](list)
    for uid in called(kin):
        caller = kin.caller[uid]
        if uid not in clean.fates and caller not in clean.fates:
            edges[kin.spans[caller].service, kin.spans[uid].service].append(uid)
    return edges


def busy_edge(clean: TraceSet, rng: random.Random, kinds: Iterable[Kind] = RECEIVING) -> tuple[str, str]:
    """Choose an edge, among those with at least half as many calls as the busiest."""
    wanted = set(kinds)
    sizes = {edge: sum(clean.spans[u].kind in wanted for u in uids) for edge, uids in by_edge(clean).items()}
    most = max(sizes.values(), default=0)
    return rng.choice(sorted(edge for edge, size in sizes.items() if size and size >= most / 2))


def busy_service(clean: TraceSet, rng: random.Random, *, calling: bool = False) -> str:
    """Choose a called service whose spans have children (`calling`: in other services), among those with a third as many as the busiest."""
    kin = kinship(clean)
    reported = [u for u in kin.order if u not in clean.fates and kin.parent[u] is not None]
    parents = Counter(kin.spans[kin.caller[u] if calling else kin.parent[u] or 0].service for u in reported if not calling or u in kin.caller)
    asked = {kin.spans[u].service for u in kin.caller if kin.spans[u].kind in RECEIVING}
    candidates = {s: n for s, n in parents.items() if s in asked} or dict(parents)
    most = max(candidates.values())
    return rng.choice(sorted(s for s, n in candidates.items() if n >= most / 3))
