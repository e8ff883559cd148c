"""Truth about contexts: calls whose trace breaks off, halved ids, leaks, samplers that disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .claims import Claim, Expected, allowed, expected
from .damage import Cut
from .outcome import Aftermath, surely_above
from .traces import Fate

_ROOT = {Cut.NEW_TRACE, Cut.SAME_TRACE}
_PROVEN = 20
"""Broken and intact calls from which on it is no chance that one process makes the difference."""
_CALLED_SHARE = 0.95
"""An operation that surely names a caller more often than that demands one for the rest."""


def broken_contexts(after: Aftermath) -> Iterator[Claim]:
    """Demand each call that lost its context: with the caller's span where that arrived, else as a root that should have none."""
    cut = [u for u, how in after.cuts.items() if how in _ROOT and u in after.here]
    for uid in cut:
        key, caller = after.key(uid), after.kin.caller[uid]
        if caller in after.here and after.behind_a_silent_hop(caller):
            # who called directly emits nothing: that the caller before it is named is true as far as it goes
            yield allowed("broken_propagation", key)
            yield allowed("unexpected_root", key)
        elif caller in after.here:
            yield Expected("broken_propagation", frozenset({key}), _causes(after, uid), after.was(caller).service, _matches(after, uid))
            yield allowed("unexpected_root", key)
        elif after.fates[caller] is Fate.LOST or not _usually_called(after, uid):
            yield allowed("unexpected_root", key)
        else:
            yield expected("unexpected_root", key)


def _matches(after: Aftermath, uid: int) -> frozenset[tuple[str, str]]:
    """Give the caller's span, and (where INTERNAL spans of the caller stand between) the direct parent."""
    named = {after.kin.caller[uid], after.kin.parent[uid]}
    return frozenset(after.key(u) for u in named if u is not None and u in after.here)


def _causes(after: Aftermath, uid: int) -> frozenset[str]:
    """Give what may be concluded: one side is to blame if it works with nobody and the other side does."""
    caller, callee = after.was(after.kin.caller[uid]).service, after.was(uid).service
    if after.cuts[uid] is Cut.SAME_TRACE:
        return frozenset({"not_extracted", "stripped_between", "unknown"})
    intact = after.intact_edges
    if intact[caller, callee]:
        return _of_a_process(after, uid) or frozenset({"stripped_between", "unknown"})
    injects = any(a == caller for a, _ in intact)
    extracts = any(b == callee for _, b in intact)
    if injects == extracts:
        return frozenset({"stripped_between", "unknown"} if injects else {"not_injected", "not_extracted", "unknown"})
    return frozenset({"not_injected"} if extracts else {"not_extracted"})


def _of_a_process(after: Aftermath, uid: int) -> frozenset[str]:
    """Give what may be concluded where just one process of one side loses all its calls on an edge, and that of the other side works with others."""
    here = after.processes(uid)
    broken = [after.processes(u) for u, how in after.cuts.items() if how in _ROOT and u in after.here and after.processes(u)[0][2] == here[0][2]]
    for side, cause in enumerate(("not_injected", "not_extracted")):
        if not after.intact_by_process[here[side]] and all(places[side] == here[side] for places in broken):
            enough = len(broken) >= _PROVEN and after.intact_edges[here[side][2]] >= _PROVEN
            return frozenset({cause} if enough else {cause, "unknown"})
    return frozenset()


def _usually_called(after: Aftermath, uid: int) -> bool:
    """Tell whether an operation's spans nearly always name a caller."""
    span = after.was(uid)
    like = [u for u, s in after.here.items() if s.service == span.service and s.name == span.name and s.kind is span.kind]
    return surely_above(sum(bool(after.here[u].parent_span_id) for u in like), len(like), _CALLED_SHARE)


def other_contexts(after: Aftermath) -> Iterator[Claim]:
    """Demand each trace whose id was halved, once, and each leak; allow to say that samplers disagree where they do."""
    halves: dict[str, set[tuple[str, str]]] = defaultdict(set)
    halved = Cut.HALF in after.cuts.values()
    for span in after.here.values():
        if halved and span.trace_id.startswith("0" * 16):
            halves[span.trace_id].add(span.key)
    for keys in halves.values():
        yield Expected("truncated_trace_id", frozenset(keys))
    for uid, how in after.cuts.items():
        if how is Cut.LEAKED:
            yield expected("leaked_context", after.key(uid))
    disagreeing: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for uid in after.damaged.disagreeing:
        if uid in after.here:
            disagreeing[after.here[uid].trace_id, after.was(uid).service].add(after.key(uid))
    for keys in disagreeing.values():
        yield Expected("inconsistent_sampling", frozenset(keys))
    if disagreeing or Fate.SAMPLED in after.fates.values():
        yield allowed("inconsistent_sampling", None)
