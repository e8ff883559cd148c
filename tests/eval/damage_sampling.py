"""Damages on purpose: samplers, of whole traces and of parts."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

from .damage import Damaged, busy_service, lose
from .traces import Fate, Span, TraceSet

_RANDOM_BITS = 56
_SHARES = (1.0, 1.0, 0.7, 0.5, 0.3)
"""What the services' own samplers keep; some keep all."""
_KEPT_PARTS = 0.4


def head(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """Roots decide, and everything below follows: whole traces go."""
    kept = {trace: rng.random() < share for trace in sorted({s.trace_id for s in clean.spans})}
    return lose(clean, {s.uid: Fate.SAMPLED for s in clean.spans if not kept[s.trace_id]})


def consistent(clean: TraceSet, rng: random.Random) -> Damaged:
    """Each service decides for itself, consistently by the trace id's low 56 bits, and writes its threshold into `tracestate`."""
    shares = _shares(clean, rng)
    thresholds = {service: round((1 - share) * (1 << _RANDOM_BITS)) for service, share in shares.items()}
    dropped = {s.uid: Fate.SAMPLED for s in clean.spans if int(s.trace_id[-14:], 16) < thresholds[s.service]}

    def rewrite(span: Span) -> Span:
        digits = f"{thresholds[span.service]:014x}".rstrip("0") or "0"
        return replace(span, trace_state=f"ot=th:{digits}")

    return lose(clean, dropped, rewrite)


def disagreeing(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """All traces carry a randomness of their own; one service draws a new one for a share of those that it takes part in."""
    service = busy_service(clean, rng)
    drawn = {trace: f"{rng.getrandbits(_RANDOM_BITS):014x}" for trace in sorted({s.trace_id for s in clean.spans})}
    other = {trace: f"{rng.getrandbits(_RANDOM_BITS):014x}" for trace in drawn if rng.random() < share}
    chosen = frozenset(s.uid for s in clean.spans if s.service == service and s.trace_id in other)

    def rewrite(span: Span) -> Span:
        return replace(span, trace_state=f"ot=rv:{(other if span.uid in chosen else drawn)[span.trace_id]}")

    return replace(lose(clean, {}, rewrite), disagreeing=chosen)


def ratio(clean: TraceSet, rng: random.Random) -> Damaged:
    """Each service decides for itself by the old ratio algorithms, which keep low trace ids and write nothing."""
    shares = _shares(clean, rng)
    return lose(clean, {s.uid: Fate.SAMPLED for s in clean.spans if not _below(s, shares[s.service])})


def tail_parts(clean: TraceSet, rng: random.Random, *, marked: bool) -> Damaged:
    """Two Collectors each see the spans of half of the services, and each decides by what it sees; `marked`: they say by which policy."""
    side = {service: rng.randrange(2) for service in sorted({s.service for s in clean.spans})}
    parts: dict[tuple[str, int], list[Span]] = defaultdict(list)
    for span in clean.spans:
        parts[span.trace_id, side[span.service]].append(span)
    policies = {key: "errors" if any(s.error for s in part) else "probabilistic" if rng.random() < _KEPT_PARTS else "" for key, part in parts.items()}

    def rewrite(span: Span) -> Span:
        return replace(span, scope={"tailsampling.policy": policies[span.trace_id, side[span.service]]}) if marked else span

    return lose(clean, {s.uid: Fate.SAMPLED for s in clean.spans if not policies[s.trace_id, side[s.service]]}, rewrite)


def _shares(clean: TraceSet, rng: random.Random) -> dict[str, float]:
    services = sorted({s.service for s in clean.spans})
    rng.shuffle(services)
    return {service: _SHARES[n % len(_SHARES)] for n, service in enumerate(services)}


def _below(span: Span, share: float) -> bool:
    """Tell whether the ratio sampler of a span's SDK keeps its trace."""
    return randomness(span.trace_id, span.resource.language) < share


def randomness(trace_id: str, language: str) -> float:
    """Give what an SDK's old ratio sampler makes of a trace id, from 0 to 1: it keeps what lies below its ratio.

    The algorithm was never specified. Python and Go take the low 64 bits as they are; Java and .NET the absolute value of a signed number,
    of the low and of the high 64 bits; JavaScript joins four words of 32 bits by exclusive or.
    """
    if language == "node":
        words = [int(trace_id[n : n + 8], 16) for n in range(0, 32, 8)]
        return (words[0] ^ words[1] ^ words[2] ^ words[3]) / (1 << 32)
    half = int(trace_id[:16] if language == "dotnet" else trace_id[16:], 16)
    return min(half, (1 << 64) - half) / (1 << 63) if language in ("java", "dotnet") else half / (1 << 64)
