"""Truth about the data themselves: repeats, equal ids, loops, clocks, roots that call; and what a damage may stir up elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .claims import Claim, Expected, allowed, expected
from .damage import Cut
from .outcome import Aftermath
from .traces import MILLISECOND, Kind

_CLOCK_PAIRS = 40
_PROVEN_NANOS = 2 * MILLISECOND


def qualities(after: Aftermath) -> Iterator[Claim]:
    """Demand what an id or a shape proves by itself."""
    for uid in sorted(after.damaged.repeated):
        yield expected("duplicate_span", after.key(uid))
    for uid in sorted(after.damaged.conflicting):
        yield expected("conflicting_span", after.key(uid))
    for uid, how in after.cuts.items():
        if how is Cut.LOOPED:
            yield from _loop(after, uid)
    for uid, span in after.here.items():
        if span.kind is Kind.CLIENT and not span.parent_span_id and "messaging.system" not in span.attributes and span.resource.language != "browser":
            # a heart-beat is a root by right, and nobody can tell it from a job without a span: not demanded
            claim = expected if after.answers(uid) and span.responded else allowed
            yield claim("root_client_span", span.key)


def _loop(after: Aftermath, uid: int) -> Iterator[Claim]:
    yield expected("parent_loop", after.key(uid))
    parent = after.here[uid].parent_span_id
    if parent != after.here[uid].span_id:
        yield expected("parent_loop", (after.here[uid].trace_id, parent))


def clocks(after: Aftermath) -> Iterator[Claim]:
    """Demand each pair of hosts whose offset their calls prove, once, at any call between them; allow what is near."""
    groups: dict[frozenset[str], list[tuple[int, int]]] = defaultdict(list)
    for answer, caller in after.kin.caller.items():
        if answer in after.here and caller in after.here and after.was(answer).kind is Kind.SERVER:
            groups[frozenset({after.was(answer).resource.host, after.was(caller).resource.host})].append((caller, answer))
    for hosts, pairs in groups.items():
        if len(hosts) != 2 or not hosts & after.damaged.skewed:
            continue
        keys = [after.key(u) for pair in pairs for u in pair]
        if _proven(after, [p for p in pairs if _synchronous(after, p)]):
            yield Expected("clock_skew", frozenset(keys))
        else:
            yield from (allowed("clock_skew", key) for key in keys)
    if not any(s.resource.host for s in after.here.values()):
        yield from _unknown_clocks(after)


def _unknown_clocks(after: Aftermath) -> Iterator[Claim]:
    """Allow it wherever real machines of unknown clocks called each other."""
    for answer, caller in after.kin.caller.items():
        yield from (allowed("clock_skew", after.key(u)) for u in (answer, caller) if u in after.here)


def _synchronous(after: Aftermath, pair: tuple[int, int]) -> bool:
    caller, answer = after.was(pair[0]), after.was(pair[1])
    one = [a for a in after.answers(pair[0]) if after.was(a).kind is Kind.SERVER]
    return caller.kind is Kind.CLIENT and caller.responded and len(one) == 1 and caller.start <= answer.start and answer.end <= caller.end


def _proven(after: Aftermath, pairs: list[tuple[int, int]]) -> bool:
    """Tell whether no offset near zero agrees with all pairs; each is taken in the direction first host to second."""
    if len(pairs) < _CLOCK_PAIRS:
        return False
    first = after.was(pairs[0][0]).resource.host
    lower, upper = [], []
    for caller, answer in ((after.here[c], after.here[a]) for c, a in pairs):
        low, high = answer.end - caller.end, answer.start - caller.start
        forward = caller.resource.host == first
        lower.append(low if forward else -high)
        upper.append(high if forward else -low)
    return max(lower) > _PROVEN_NANOS or min(upper) < -_PROVEN_NANOS


def side_effects(after: Aftermath) -> Iterator[Claim]:
    """Allow what is true in the wake of a damage: messages consumed twice."""
    if any(s.uid >= len(after.clean.spans) for s in after.damaged.spans):
        yield from (allowed(detector, None) for detector in ("duplicate_delivery", "unbounded_redelivery"))
