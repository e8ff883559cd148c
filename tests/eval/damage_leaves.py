"""Damages that leave no orphan: spans without children are lost, or not recorded any more."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace

from .damage import Damaged, lose
from .kinship import Kinship, kinship
from .traces import RECEIVING, Fate, Resource, Span, TraceSet

Leaf = tuple[str, str, str]
"""A service, the name of its span, and that of the span above."""


def by_chance(clean: TraceSet, rng: random.Random, share: float) -> Damaged:
    """One service loses a share of its leaves, each by itself."""
    kin, leaf = kinship(clean), _regular_leaf(clean, rng)
    return lose(clean, {s.uid: Fate.LOST for s in clean.spans if s.service == leaf[0] and _is_leaf(kin, s) and rng.random() < share})


def of_an_instance(clean: TraceSet, rng: random.Random) -> Damaged:
    """From a moment on, a filter in one instance drops one kind of leaf."""
    kin, leaf = kinship(clean), _regular_leaf(clean, rng)
    spans = [s for s in clean.spans if _leaf(kin, s) == leaf]
    instance = Counter(s.resource.instance for s in spans).most_common(1)[0][0]
    own = [s for s in spans if s.resource.instance == instance]
    moment = own[round(len(own) * rng.uniform(0.3, 0.5))].end
    return lose(clean, {s.uid: Fate.LOST for s in own if s.start > moment})


def since_a_version(clean: TraceSet, rng: random.Random) -> Damaged:
    """From a moment on, all instances of a service are of a new version, which does not record one kind of leaf any more."""
    kin, leaf = kinship(clean), _regular_leaf(clean, rng)
    spans = [s for s in clean.spans if _leaf(kin, s) == leaf]
    moment = spans[round(len(spans) * rng.uniform(0.4, 0.6))].end
    fresh: dict[str, Resource] = {}

    def rewrite(span: Span) -> Span:
        if span.service != leaf[0] or _began(kin, span) <= moment:
            return span
        return replace(span, resource=fresh.setdefault(span.resource.instance, _upgraded(span.resource, f"{rng.getrandbits(64):016x}")))

    return lose(clean, {s.uid: Fate.DISCONTINUED for s in spans if _began(kin, s) > moment}, rewrite)


def _began(kin: Kinship, span: Span) -> int:
    """Tell when a span's process took up the work that it belongs to: a process handles a request to its end."""
    start = span.start
    for uid in kin.ancestors(span.uid):
        if kin.spans[uid].resource is not span.resource:
            break
        start = kin.spans[uid].start
    return start


def _upgraded(old: Resource, instance: str) -> Resource:
    version = f"{old.attributes.get('service.version', '1')}-next"
    attributes = {**old.attributes, "service.version": version, "service.instance.id": instance}
    return Resource(old.service, instance, old.host, old.language, attributes, old.flags)


def _is_leaf(kin: Kinship, span: Span) -> bool:
    return span.uid not in kin.children and span.kind not in RECEIVING and not kin.answers.get(span.uid) and kin.parent[span.uid] is not None


def _leaf(kin: Kinship, span: Span) -> Leaf | None:
    parent = kin.parent[span.uid]
    return (span.service, span.name, kin.spans[parent].name) if parent is not None and _is_leaf(kin, span) else None


def _regular_leaf(clean: TraceSet, rng: random.Random) -> Leaf:
    """Choose a kind of leaf that every span of its parent's kind has, among those with half as many as the most frequent."""
    kin = kinship(clean)
    having: dict[Leaf, set[int]] = defaultdict(set)
    for span in clean.spans:
        leaf, parent = _leaf(kin, span), kin.parent[span.uid]
        if leaf is not None and parent is not None and span.uid not in clean.fates:
            having[leaf].add(parent)
    parents = Counter((s.service, s.name) for s in clean.spans)
    sizes = {leaf: len(uids) for leaf, uids in having.items() if len(uids) == parents[leaf[0], leaf[2]]}
    most = max(sizes.values())
    return rng.choice(sorted(leaf for leaf, size in sizes.items() if size >= most / 2))
