"""Messages that were taken: which span stands for each, and which publication its span links or its parent name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from traced.graph.columns import Ints, Mask, climb, numbers
from traced.graph.message_facts import RECEIVE
from traced.graph.message_spans import MessageSpans, Publications

NOTHING, LINK, PARENT = range(3)
"""What joined a consumption with its publication."""
_SAYS_WHICH = ("message_id", "partition", "cloudevents_id", "message_key", "business_key")


@dataclass(frozen=True, slots=True)
class Consumptions:
    """Messages that were taken; one value each.

    Attributes:
        numbers: the span that took it.
        links: the link (place among the parts' links) that stands for it; -1 for none.
        producers: the number of the span that published it, here or elsewhere; -1 where it is not known.
        joined_by: NOTHING, LINK or PARENT.
        messages: how many it stands for.
        at_least: there may have been more.
        within: of each span that consumes the number of the one of its service around it; -1 for none.
    """

    numbers: Ints
    links: Ints
    producers: Ints
    joined_by: Ints
    messages: Ints
    at_least: Mask
    within: Ints


def consumptions(spans: MessageSpans, published: Publications) -> Consumptions:
    """Find what was taken: of nested spans of one message the innermost, with what the outer ones know of its producer."""
    count = spans.count
    up = np.where(spans.consumes, spans.above, -1)
    parent = np.where((up >= 0) & spans.publishes[up], up, -1) if count else up
    inside = np.flatnonzero(up >= 0)
    inside = inside[spans.consumes[up[inside]] & (spans.service[inside] == spans.service[up[inside]]) & spans.agree(inside, up[inside])]
    within = np.full(count, -1)
    within[inside] = up[inside]
    message, internal = _message_links(spans)
    outer = np.bincount(within[inside], minlength=count) > 0
    outer[internal] = True
    own = np.bincount(spans.link_owner[message], minlength=count)
    # what has neither a producer nor links of its own asks the spans around it; a batch's links can be those of one span inside only
    asks = (own == 0) & (parent < 0) & (within >= 0)
    source = climb(np.arange(count), within, asks)
    inner = np.bincount(source[spans.consumes & ~outer], minlength=count)
    batch, _ = spans.facts.integers("batch")
    shared = ((own[source] > 1) | (batch[source] > 1)) & (inner[source] > 1)
    source = np.where(shared, np.arange(count), source)
    taken = np.flatnonzero(spans.consumes & ~outer & _is_of_a_message(spans, own[source] > 0, parent[source] >= 0))
    return _once(_rows(spans, taken, source, message, parent, within), spans, published)


def _message_links(spans: MessageSpans) -> tuple[Ints, Ints]:
    """Give the links that stand for messages, and the spans whose links lead to spans inside that take the messages themselves."""
    owner, target = spans.link_owner, spans.link_target
    if not len(owner):
        return owner, owner
    of = spans.consumes[owner]
    known = of & (target >= 0)
    operation = np.where(known, spans.facts.operation[target], 0)
    here = known & (target < spans.count)
    calls = np.zeros(len(owner), bool)
    calls[here] = spans.parts.calls[target[here]]
    same = np.zeros(len(owner), bool)
    same[known] = spans.same_service(owner[known], target[known])
    same_trace = np.zeros(len(owner), bool)
    same_trace[here] = spans.trace[owner[here]] == spans.trace[target[here]]
    publishes = known & ~calls & ((operation == 1) | (operation == 2)) & ~(same & same_trace)
    takes = known & ~calls & ((operation == 3) | (operation == 4)) & same
    return np.flatnonzero(publishes | (of & spans.link_absent)), owner[takes]


def _is_of_a_message(spans: MessageSpans, linked: Mask, has_producer: Mask) -> Mask:
    """Mark the spans that did take a message: polls of nothing, and spans without an attribute of messages, say nothing of one."""
    facts, count = spans.facts, spans.count
    batch, known = facts.integers("batch")
    which = (known & (batch > 0))[:count] | facts.integers("offset")[1][:count] | facts.integers("attempt")[1][:count]
    for name in _SAYS_WHICH:
        which |= facts.known(name)[:count]
    empty = (known & (batch == 0))[:count]
    polled = spans.operation == RECEIVE
    marks: Mask = linked | has_producer | (np.where(polled, which, facts.marks("says")[:count]) & ~empty)
    return marks


def _rows(spans: MessageSpans, taken: Ints, source: Ints, message: Ints, parent: Ints, within: Ints) -> Consumptions:
    """Give one row a link, else one a span, and one for what is left of a batch."""
    count = spans.count
    order = message[np.argsort(spans.link_owner[message], kind="stable")]
    first = np.searchsorted(spans.link_owner[order], np.arange(count + 1))
    number_of = (first[1:] - first[:-1])[source[taken]]
    producer = parent[source[taken]]
    # a link to a span that did not come says less than the parent that is here
    lost = spans.link_absent[order[np.minimum(first[source[taken]], max(0, len(order) - 1))]] if len(order) else np.zeros(len(taken), bool)
    batch, _ = spans.facts.integers("batch")
    batch = np.maximum(batch[taken], batch[source[taken]])
    by_parent = (producer >= 0) & (((number_of == 0) & (batch <= 1)) | ((number_of == 1) & lost))
    producer = np.where(by_parent, producer, -1)
    number_of = np.where(by_parent, 0, number_of)
    at = np.repeat(np.arange(len(taken)), number_of)
    links = order[np.repeat(first[source[taken]], number_of) + np.arange(len(at)) - np.repeat(np.cumsum(number_of) - number_of, number_of)]
    targets = spans.link_target[links]
    alone = np.flatnonzero(number_of == 0)
    left = np.flatnonzero((number_of > 0) & (batch > number_of))
    at = np.concatenate([at, alone, left])
    dropped = numbers(spans.forest.spans, "dropped_links_count")[spans.rows]
    dropped = (dropped[taken] > 0) | (dropped[source[taken]] > 0)
    return Consumptions(
        numbers=taken[at],
        links=np.concatenate([links, np.full(len(alone) + len(left), -1)]),
        producers=np.concatenate([targets, producer[alone], np.full(len(left), -1)]),
        joined_by=np.concatenate([np.where(targets >= 0, LINK, NOTHING), np.where(producer[alone] >= 0, PARENT, NOTHING), np.full(len(left), NOTHING)]),
        messages=np.concatenate([np.ones(len(links), np.int64), np.maximum(np.where(producer[alone] >= 0, 1, batch[alone]), 1), (batch - number_of)[left]]),
        at_least=dropped[at],
        within=within,
    )


def _once(given: Consumptions, spans: MessageSpans, published: Publications) -> Consumptions:
    """Of several links of one span to spans of one publication, or its create and its send, keep the first, where the send is not of a whole batch."""
    batch, _ = spans.facts.integers("batch")
    main = given.producers.copy()
    here = (main >= 0) & (main < spans.count)
    main[here] = published.main[main[here]]
    changed = here & (main != given.producers) & (batch[np.where(here, main, 0)] <= 1) if spans.count else here
    if not changed.any():
        return given
    key = np.stack([given.numbers, np.where(here, main, -1 - np.arange(len(main)))], axis=1)
    _, first, of = np.unique(key, axis=0, return_index=True, return_inverse=True)
    again = first[of.reshape(-1)] != np.arange(len(main))
    doubled = np.isin(main, main[changed]) & here
    kept = ~(again & doubled)
    return Consumptions(
        given.numbers[kept], given.links[kept], given.producers[kept], given.joined_by[kept], given.messages[kept], given.at_least[kept], given.within
    )
