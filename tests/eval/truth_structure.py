"""Truth about what lies below spans: time that nothing explains, and children that are gone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from .claims import Claim, Expected, allowed
from .outcome import Aftermath, surely_above
from .traces import MILLISECOND, RECEIVING, Fate, Kind

_GAP_NANOS, _GAP_SHARE, _GAP_TRACES, _GAP_SPANS = 24 * MILLISECOND, 0.24, 15, 0.5
"""A stretch that is demanded: so long, such a part of its root, in so many traces, in such a part of the operation's spans."""
_ANY_GAP_NANOS, _ANY_GAP_SHARE = 20 * MILLISECOND, 0.2
"""One that may be told at all."""
_GONE_NOW, _GONE_BEFORE, _GONE_SHARE = 30, 90, 0.97
"""A child that is demanded: so many parents of a process lack it, so many others had it, surely such a part of them."""

Place = tuple[str, str, str, str]


def blind_gaps(after: Aftermath) -> Iterator[Claim]:
    """Demand each place where time really passes without a span, from traces that nothing touched; allow each true one."""
    hidden: dict[Place, dict[int, str]] = defaultdict(dict)
    spans: Counter[tuple[str, str]] = Counter()
    touched = {after.was(u).trace_id for u in after.fates} | {after.was(u).trace_id for u in after.cuts}
    roots = {s.trace_id: s.end - s.start for s in after.clean.spans if not s.parent_span_id}
    waited = _waited_for(after)
    for uid in after.here:
        span = after.was(uid)
        if uid not in after.kin.children or not _serves(after, uid):
            continue
        spans[span.service, span.name] += 1
        nanos, before, behind = _longest(after, uid)
        share = nanos / max(1, roots.get(span.trace_id, 0))
        if uid in waited and nanos >= _ANY_GAP_NANOS and share >= _ANY_GAP_SHARE:
            yield allowed("blind_gap", after.key(uid))
            if nanos >= _GAP_NANOS and share >= _GAP_SHARE and span.trace_id not in touched:
                hidden[span.service, span.name, before, behind][uid] = span.trace_id
    for (service, name, *_), uids in hidden.items():
        if len(set(uids.values())) >= _GAP_TRACES and len(uids) >= _GAP_SPANS * spans[service, name]:
            yield Expected("blind_gap", frozenset(after.key(u) for u in uids))


def _serves(after: Aftermath, uid: int) -> bool:
    """Tell whether a span works for a request, has children of its own process only, and its caller waits for it."""
    span = after.was(uid)
    above = [uid, *after.kin.ancestors(uid)]
    entry = next((u for u in above if after.was(u).kind is not Kind.INTERNAL), None)
    if entry is None or after.was(entry).kind not in RECEIVING or after.was(entry).resource is not span.resource:
        return False
    if after.was(entry).attributes.get("messaging.operation.type") == "receive":
        return False
    caller = after.kin.parent[uid]
    outlives = span.kind in RECEIVING and caller is not None and span.end > after.was(caller).end
    return not outlives and all(after.was(c).resource is span.resource for c in after.kin.children[uid])


def _longest(after: Aftermath, uid: int) -> tuple[int, str, str]:
    """Give (length, name of the child before, name of the child after) of the longest stretch that no child covers."""
    span = after.was(uid)
    at, before, best = span.start, "", (0, "", "")
    for child in sorted((after.was(c) for c in after.kin.children[uid]), key=lambda c: (c.start, c.end)):
        if child.start >= span.end:
            break
        best = max(best, (child.start - at, before, child.name), key=lambda b: b[0])
        if child.end > at:
            at, before = child.end, child.name
    return max(best, (span.end - at, before, ""), key=lambda b: b[0])


def _waited_for(after: Aftermath) -> set[int]:
    """Give the spans on the paths of what was waited for, from each root the child that ended last and so on."""
    todo = [u for u, parent in after.kin.parent.items() if parent is None]
    path = set(todo)
    while todo:
        span = after.was(todo.pop())
        at = span.end
        for child in sorted((after.was(c) for c in after.kin.children.get(span.uid, ())), key=lambda c: c.end, reverse=True):
            if span.start <= child.start and child.end <= at:
                at = child.start
                path.add(child.uid)
                todo.append(child.uid)
    return path


def missing_operations(after: Aftermath) -> Iterator[Claim]:
    """Demand each kind of child that a process ceased to deliver, where enough spans show it; allow it wherever a span lost a child."""
    lost: dict[Gone, set[int]] = defaultdict(set)
    for uid, span in after.here.items():
        for child in (c for c in after.kin.children.get(uid, ()) if c not in after.here):
            yield allowed("missing_operation", span.key)
            leaf, fate = after.was(child), after.fates[child]
            if child not in after.kin.children and leaf.resource is after.was(uid).resource and leaf.kind not in RECEIVING:
                # all processes of a new version are one claim
                lost[span.service, span.name, leaf.name, "" if fate is Fate.DISCONTINUED else span.resource.instance].add(uid)
    sound = _sound(after)
    for gone, uids in lost.items():
        if _notably_gone(after, gone, uids & sound, sound):
            yield Expected("missing_operation", frozenset(after.key(u) for u in uids), frozenset({"local_loss" if gone[3] else "changed"}))


Gone = tuple[str, str, str, str]
"""A service, the name of its span, that of the child, and the instance; the empty text for all of them."""


def _sound(after: Aftermath) -> set[int]:
    """Give the spans of traces in which nothing failed, and in which no parent is missing."""
    bad = {s.trace_id for s in after.here.values() if s.error} | {after.was(u).trace_id for u in after.fates if u in after.kin.children}
    return {u for u, s in after.here.items() if s.trace_id not in bad}


def _notably_gone(after: Aftermath, gone: Gone, lacking: set[int], sound: set[int]) -> bool:
    """Tell whether enough spans of a process lack a child, nearly all since the first that does, and enough others surely have it."""
    service, name, child, instance = gone
    parents = [u for u in sound if after.here[u].service == service and after.here[u].name == name]
    having = {u for u in parents if any(c in after.here and after.was(c).name == child for c in after.kin.children.get(u, ()))}
    since = min((after.here[u].start for u in lacking), default=0)
    own = [u for u in parents if instance in ("", after.here[u].resource.instance) and after.here[u].start >= since]
    others = set(parents) - set(own)
    regular = len(others) >= _GONE_BEFORE and surely_above(len(others & having), len(others), _GONE_SHARE)
    return regular and len(lacking) >= max(_GONE_NOW, 0.9 * len(own))
