"""Truth about what is missing: parents, servers, consumers, producers, roots, and whole services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from .claims import Claim, Expected, allowed, expected
from .damage import Cut
from .outcome import Aftermath
from .traces import RECEIVING, Fate, Kind

_CONTEXT_CHANGED = {Cut.INVENTED, Cut.CONSTANT}
_NO_PARENT_NAMED = {Cut.NEW_TRACE, Cut.SAME_TRACE, Cut.LINKED, Cut.LEAKED, Cut.LOOPED}


def orphans(after: Aftermath) -> Iterator[Claim]:
    """Demand each span whose parent did not arrive, with why; where its context was changed, that is why."""
    for uid, span in after.here.items():
        how = after.cuts.get(uid)
        if how in _CONTEXT_CHANGED:
            yield _orphan(after, uid, "propagation_mangled")
        elif how is Cut.HALF:
            # its parent is there, in the trace with the whole id: who analyses both as one trace has no orphan here
            yield allowed("orphan_span", span.key, "propagation_mangled", "unknown")
        elif how in _NO_PARENT_NAMED or not span.parent_span_id or after.kin.parent[uid] is None:
            continue
        else:
            holders = _holders(after, uid)
            if not any(u in after.here for u in holders):
                yield _orphan(after, uid, *_causes(after, uid, holders))


def _holders(after: Aftermath, uid: int) -> list[int]:
    """Give the spans whose arrival keeps a span from being an orphan: those with its parent's id, and its sending half."""
    span = after.was(uid)
    half = after.kin.sending_half(span)
    named = [u for u in after.kin.holders.get((span.trace_id, after.here[uid].parent_span_id), ()) if u != uid]
    return named if half is None else [*named, half]


def _causes(after: Aftermath, uid: int, holders: Iterable[int]) -> Iterator[str]:
    parents = list(holders)
    fates = {after.fates[u] for u in parents}
    if Fate.SAMPLED in fates:
        yield "sampled_out"
    elif Fate.SILENT in fates:
        yield "upstream_silent"
        if _behind_a_proxy(after, parents[0]):
            yield "propagation_mangled"
    elif Fate.WENT_SILENT in fates:
        yield from ("upstream_silent", "upstream_loss") if after.was(uid).remote else ("local_loss",)
    elif not after.was(uid).remote:
        yield "local_loss"
    elif after.was(uid).kind in RECEIVING:
        yield "upstream_loss"
    else:
        # one process that reports under two names, as HotROD's: nobody can know which of the two it is
        yield from ("local_loss", "upstream_loss")


def _behind_a_proxy(after: Aftermath, parent: int) -> bool:
    """Tell whether an absent span's process was called under another name, and its caller's span lies alone in the trace.

    A sidecar that reports nothing and one that makes up parent ids are one and the same to anybody who looks at spans.
    """
    return any(u in after.here and after.was(u).kind is Kind.CLIENT and after.misnamed(u) for u in after.kin.ancestors(parent))


def _orphan(after: Aftermath, uid: int, *causes: str) -> Expected:
    span, caller = after.here[uid], after.kin.caller.get(uid)
    peer = after.was(caller).service if caller is not None else ""
    return Expected("orphan_span", frozenset({span.key}), frozenset(causes), peer, missing=frozenset({span.parent_span_id}))


def missing_servers(after: Aftermath) -> Iterator[Claim]:
    """Demand each call that lacks the span which answered it, where calls like it are answered regularly."""
    for uid in after.here:
        span = after.was(uid)
        if span.kind is not Kind.CLIENT:
            continue
        answers = [a for a in after.answers(uid) if after.was(a).kind is Kind.SERVER]
        if any(after.attached(a) for a in answers):
            continue
        if not answers:
            if not span.responded:
                yield allowed("missing_server_span", after.key(uid), "not_reached")
        elif any(a in after.here for a in answers):
            # the answer is here under another context: true as far as it goes, and better said by others
            yield allowed("missing_server_span", after.key(uid))
        else:
            yield from _lonely_client(after, uid, {after.fates[a] for a in answers})


def _lonely_client(after: Aftermath, uid: int, fates: set[Fate]) -> Iterator[Claim]:
    key, callee, responded = after.key(uid), after.callee(uid), after.surely_answered(uid)
    if Fate.SILENT in fates:
        forwarded = Cut.FORWARDED in after.cuts.values()
        yield from _silent(after, uid, "", demanded=responded and after.notably_silent(uid) and not forwarded)
        if forwarded:
            # other calls seem answered, by what the service called: then it looks like a service that lost this span
            yield allowed("missing_server_span", key)
    elif Fate.WENT_SILENT in fates:
        yield from _silent(after, uid, "went_silent", demanded=responded and after.notably_silent(uid))
        yield allowed("missing_server_span", key, "callee_loss", "not_reached")
    elif Fate.SAMPLED in fates:
        yield allowed("missing_server_span", key, "sampled_out")
    elif responded and after.regularly_answered(uid):
        yield expected("missing_server_span", key, "callee_loss", peer=callee)
    else:
        yield allowed("missing_server_span", key, *(("callee_loss",) if responded else ("callee_loss", "not_reached")))


def _silent(after: Aftermath, uid: int, cause: str, *, demanded: bool) -> Iterator[Claim]:
    causes = (cause,) if cause else ()
    yield expected("silent_service", after.key(uid), *causes, peer=after.callee(uid)) if demanded else allowed("silent_service", after.key(uid), *causes)


def missing_messages(after: Aftermath) -> Iterator[Claim]:
    """Demand a consumer where its children show that there was one, and a producer that a link names."""
    for uid in after.calls(Kind.PRODUCER):
        gone = [a for a in after.answers(uid) if not after.attached(a)]
        fates = {after.fates[a] for a in gone if a in after.fates}
        below = any(c in after.here and not after.was(c).remote and c not in after.cuts for a in gone for c in after.kin.children.get(a, ()))
        if fates == {Fate.LOST} and below and any(after.kin.parent[a] == uid for a in gone):
            yield expected("missing_consumer_span", after.key(uid), "callee_loss", "unknown")
        elif fates == {Fate.SAMPLED}:
            yield allowed("missing_consumer_span", after.key(uid), "sampled_out", strict=True)
        elif gone:
            yield allowed("missing_consumer_span", after.key(uid))
        if gone and fates != {Fate.SAMPLED}:
            yield allowed("stuck_message", after.key(uid))
    for uid, targets in after.kin.linked.items():
        gone = [t for t in targets if t not in after.here]
        if uid in after.here and gone:
            yield _missing_producer(after, uid, gone)


def _missing_producer(after: Aftermath, uid: int, gone: list[int]) -> Claim:
    causes = {cause for t in gone for cause in _PRODUCER_CAUSES[after.fates[t]]}
    if causes == {"sampled_out"} or after.was(uid).kind is not Kind.CONSUMER:
        return allowed("missing_producer_span", after.key(uid), *causes, strict=causes == {"sampled_out"})
    peer = after.was(gone[0]).service
    return Expected("missing_producer_span", frozenset({after.key(uid)}), frozenset(causes), peer, missing=frozenset(after.was(t).span_id for t in gone))


_PRODUCER_CAUSES = {
    Fate.SAMPLED: ("sampled_out",),
    Fate.LOST: ("upstream_loss",),
    Fate.SILENT: ("upstream_silent",),
    Fate.WENT_SILENT: ("upstream_silent", "upstream_loss"),
}


def missing_roots(after: Aftermath) -> Iterator[Claim]:
    """Demand each trace that came without its root because that was lost: one occurrence, at any of its orphans."""
    traces: dict[str, list[int]] = defaultdict(list)
    for uid, span in after.here.items():
        traces[span.trace_id].append(uid)
    for uids in traces.values():
        if any(not after.here[u].parent_span_id or after.cuts.get(u) is Cut.LOOPED for u in uids):
            continue
        orphaned = [u for u in uids if _is_orphan(after, u)]
        keys = frozenset(after.key(u) for u in orphaned)
        tops = {(u, *after.kin.ancestors(u))[-1] for u in uids}
        fates = {after.fates.get(top) for top in tops}
        if fates == {Fate.LOST}:
            # why the root is absent is why its orphan is; which of several that is, its start does not surely tell
            yield Expected("missing_root_span", keys, frozenset(c for u in orphaned for c in _causes(after, u, _holders(after, u))))
        elif Fate.SAMPLED not in fates:
            yield from (allowed("missing_root_span", key) for key in sorted(keys))


def _is_orphan(after: Aftermath, uid: int) -> bool:
    return after.cuts.get(uid) in {*_CONTEXT_CHANGED, Cut.HALF} or not any(u in after.here for u in _holders(after, uid))
