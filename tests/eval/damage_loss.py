"""Damages in which spans are lost: by exporters, crashes and silence."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from .damage import Cut, Damaged, Severing, busy_service, called, lose, sever
from .kinship import kinship
from .traces import SENDING, Fate, Resource, Span, TraceSet


def by_chance(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """One service's exporter loses a share of its spans, each by itself."""
    service = busy_service(clean, rng)
    return lose(clean, _lost(s for s in clean.spans if s.service == service and rng.random() < share))


def batch(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """One instance loses everything that ended within a window: an export that failed."""
    spans = _of_an_instance(clean, rng)
    first = rng.randrange(max(1, round(len(spans) * (1 - share))))
    return lose(clean, _lost(spans[first : first + max(3, round(len(spans) * share))]))


def batches(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Two services lose a batch each, at times of their own: all spans of some traces, as a sampler would drop them."""
    lost: list[Span] = []
    for service in rng.sample(sorted({s.service for s in clean.spans if s.parent_span_id}), 2):
        spans = sorted((s for s in clean.spans if s.service == service), key=lambda s: s.end)
        first = rng.randrange(max(1, round(len(spans) * (1 - share))))
        lost += spans[first : first + max(3, round(len(spans) * share))]
    return lose(clean, _lost(lost))


def queue_full(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """For a while one instance ends more spans than its queue takes, and loses half of them."""
    spans = _of_an_instance(clean, rng)
    first = rng.randrange(max(1, round(len(spans) * (1 - share))))
    return lose(clean, _lost(s for s in spans[first : first + max(6, round(len(spans) * share))] if rng.random() < 0.5))


def restart(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """An instance is killed: what ended just before and what was running is lost; afterwards it is another instance."""
    spans = _of_an_instance(clean, rng)
    killed = spans[round(len(spans) * rng.uniform(0.3, 0.7))].end
    before = [s for s in spans if s.end <= killed]
    lost = before[-max(3, round(len(spans) * share)) :] + [s for s in spans if s.start <= killed < s.end]
    old = spans[0].resource
    fresh = f"{rng.getrandbits(64):016x}-0"
    new = Resource(old.service, fresh, old.host, old.language, {**old.attributes, "service.instance.id": fresh}, old.flags)

    def rewrite(span: Span) -> Span:
        return replace(span, resource=new) if span.resource is old and span.start > killed else span

    return lose(clean, _lost(lost), rewrite)


def dead(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service's exporter never worked; it passes contexts on."""
    return lose(clean, _silent(clean, busy_service(clean, rng, calling=True)))


def dead_midway(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service's exporter stops working, and its spans never come again."""
    service = busy_service(clean, rng, calling=True)
    spans = [s for s in clean.spans if s.service == service]
    moment = spans[round(len(spans) * rng.uniform(0.3, 0.6))].end
    return lose(clean, {s.uid: Fate.WENT_SILENT for s in spans if s.end > moment})


def servers(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """A share of the SERVER and CONSUMER spans of all services is lost, one by one."""
    return lose(clean, _lost(s for s in _called(clean) if rng.random() < share))


def subtrees(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """The same, with everything below them: only the callers are left to miss them."""
    kin = kinship(clean)
    return lose(clean, _lost(clean.spans[u] for s in _called(clean) if rng.random() < share for u in kin.below(s.uid)))


def clients(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """A share of the CLIENT and PRODUCER spans that somebody answered is lost."""
    senders = sorted(u for u in kinship(clean).answers if clean.spans[u].kind in SENDING)
    return lose(clean, _lost(clean.spans[u] for u in senders if rng.random() < share))


def roots(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """A share of the roots is lost."""
    return lose(clean, _lost(s for s in clean.spans if not s.parent_span_id and rng.random() < share))


def uninstrumented(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service has no SDK and drops the headers: nothing of it arrives, and what it calls begins new traces."""
    service = busy_service(clean, rng, calling=True)
    return sever(clean, Severing(dict.fromkeys(_called_by(clean, service), Cut.NEW_TRACE), fates=_silent(clean, service)), rng)


def header_forwarding(clean: TraceSet, rng: random.Random) -> Damaged:
    """A service has no SDK and passes headers on: what it calls hangs under its caller's span."""
    kin, service = kinship(clean), busy_service(clean, rng, calling=True)
    below = {u: next((a for a in kin.ancestors(u) if clean.spans[a].service != service), None) for u in _called_by(clean, service)}
    cuts = {u: Cut.NEW_TRACE if above is None else Cut.FORWARDED for u, above in below.items()}
    onto = {u: above for u, above in below.items() if above is not None}
    return sever(clean, Severing(cuts, onto, _silent(clean, service)), rng)


def _silent(clean: TraceSet, service: str) -> dict[int, Fate]:
    return {s.uid: Fate.SILENT for s in clean.spans if s.service == service}


def _called_by(clean: TraceSet, service: str) -> list[int]:
    kin = kinship(clean)
    return [u for u in called(kin) if clean.spans[kin.caller[u]].service == service]


def _lost(spans: Iterable[Span]) -> dict[int, Fate]:
    return {s.uid: Fate.LOST for s in spans}


def _called(clean: TraceSet) -> list[Span]:
    return [clean.spans[u] for u in called(kinship(clean))]


def _of_an_instance(clean: TraceSet, rng: random.Random) -> list[Span]:
    """Give the spans of an instance of a busy service, by their end; the instance with the most, so that a share of them is some."""
    service = busy_service(clean, rng)
    groups: dict[str, list[Span]] = {}
    for span in clean.spans:
        if span.service == service:
            groups.setdefault(span.resource.instance, []).append(span)
    return max(groups.values(), key=len)
