"""Spans that create, send, receive or process messages: who stands above whom, and which of them are of one publication."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask, climb, combined
from traced.graph.message_facts import CREATE, PROCESS, RECEIVE, SEND, Facts
from traced.graph.relation import Relation
from traced.model.span import SpanKind, StatusCode


class MessageSpans:
    """Those spans, by their numbers.

    Attributes:
        rows: the spans' rows in the forest.
        above: the number of the nearest span above that is neither INTERNAL nor UNSPECIFIED, or has itself to do with messages; -1 where that is none of these.
        publishes, consumes: what they do.
        link_owner: of each link that counts the number of the span that has it.
        link_target: the number of the span that it leads to, here or elsewhere; -1 for none of these.
        link_absent: it leads to no span that came.
        service_elsewhere: of each span elsewhere the code of its service, -1 for one of which no span is here.
    """

    def __init__(self, made: Relation, facts: Facts) -> None:
        """Stand the spans above each other."""
        forest = made.forest
        self.forest, self.parts, self.facts = forest, facts.parts, facts
        parts = facts.parts
        self.rows = parts.rows
        self.count = len(self.rows)
        self.operation = np.where(parts.calls, 0, facts.operation[: self.count])
        self.publishes: Mask = (self.operation == CREATE) | (self.operation == SEND)
        self.consumes: Mask = (self.operation == RECEIVE) | (self.operation == PROCESS)
        self.service: Ints = forest.service.of[self.rows]
        self.trace: Ints = forest.trace[self.rows]
        self.start: Ints = forest.start[self.rows]
        self.failed: Mask = np.asarray(forest.spans.column("status_code"))[self.rows] == StatusCode.ERROR
        self._system, self._destination = (facts.codes(name).of for name in ("system", "destination"))
        self._known_system, self._known_destination = facts.known("system"), facts.known("destination")
        place = np.full(forest.count, -1)
        place[self.rows] = np.arange(self.count)
        passes = (forest.kind == SpanKind.INTERNAL) | (forest.kind == SpanKind.UNSPECIFIED)
        passes[self.rows[self.publishes | self.consumes]] = False
        above = climb(forest.parent[self.rows], forest.parent, passes)
        self.above: Ints = np.where(above >= 0, place[above], -1)
        self._find_links(made, place)

    def _find_links(self, made: Relation, place: Ints) -> None:
        links, chosen = made.links, self.parts.links
        owner = place[np.asarray(links.column("row"))]
        target = np.asarray(links.column("target"))
        number = np.where(target >= 0, place[target], -1)
        number[self.parts.outside] = self.parts.first_outside + np.arange(len(self.parts.outside))
        absent = (target < 0) & (np.asarray(links.column("kind")) == 0)
        high, low, span_id = (np.asarray(links.column(name)) for name in ("trace_id_high", "trace_id_low", "span_id"))
        given = ((high | low) != 0) & (span_id != 0)
        self.link_owner, self.link_target = owner[chosen], number[chosen]
        self.link_absent: Mask = (absent & given)[chosen]
        known = {pair: code for code, pair in enumerate(zip(self.forest.namespaces, self.forest.service.texts, strict=True))}
        elsewhere = links.select(["service_namespace", "service_name"]).take(pa.array(self.parts.outside))
        pairs = zip(*(column.to_pylist() for column in elsewhere.columns), strict=True)
        self.service_elsewhere: Ints = np.array([known.get(pair, -1) for pair in pairs], np.int64)

    def agree(self, one: Ints, other: Ints) -> Mask:
        """Mark the pairs of parts that can be of one message: neither system nor destination says otherwise."""
        system = (self._system[one] == self._system[other]) | ~self._known_system[one] | ~self._known_system[other]
        destination = (self._destination[one] == self._destination[other]) | ~self._known_destination[one] | ~self._known_destination[other]
        agreed: Mask = system & destination
        return agreed

    def sibling_keys(self, parent: Ints) -> Ints:
        """Number the spans by parent, service and destination; only of what is equal the numbers are."""
        keys, _ = combined(np.maximum(parent, 0), self.service, self._destination[: self.count])
        return keys

    def same_service(self, owner: Ints, target: Ints) -> Mask:
        """Mark the pairs (a span here, one here or elsewhere) that are of one service."""
        services = np.concatenate([self.service, np.full(len(self.parts.links), -1), self.service_elsewhere])
        same: Mask = self.service[owner] == services[target]
        return same


@dataclass(frozen=True, slots=True)
class Publications:
    """Messages that were published.

    Attributes:
        numbers: the span that stands for each, in ascending order.
        messages: how many messages each stands for.
        main: of each span that publishes the number of the one that stands for its message, itself where it stands for none.
        members: (main, other span) pairs of one publication; what the one does not say the other may.
    """

    numbers: Ints
    messages: Ints
    main: Ints
    members: tuple[Ints, Ints]


def publications(spans: MessageSpans) -> Publications:
    """Find the publications: create and send of one message are one, a send inside a send too, and a batch's remainder has no create."""
    numbers = np.arange(spans.count)
    up = np.where(spans.publishes, spans.above, -1)
    near = np.flatnonzero(up >= 0)
    near = near[spans.publishes[up[near]] & (spans.service[near] == spans.service[up[near]]) & spans.agree(near, up[near])]
    inner = near[spans.operation[near] == SEND]
    belongs = np.full(spans.count, -1)
    belongs[inner] = up[inner]
    below = near[(spans.operation[near] == CREATE) & (spans.operation[up[near]] == SEND)]
    creates, sends, unknown = _paired_by_links(spans)
    creates, sends = np.concatenate([below, creates]), np.concatenate([up[below], sends])
    beside = _paired_by_count(spans, np.concatenate([creates, sends, unknown]))
    creates, sends = np.concatenate([creates, beside[0]]), np.concatenate([sends, beside[1]])
    pairs = np.unique(np.stack([sends, creates], axis=1), axis=0) if len(sends) else np.zeros((0, 2), np.int64)
    created = np.bincount(pairs[:, 0], minlength=spans.count)[: spans.count] + np.bincount(unknown, minlength=spans.count)
    paired = created > 0
    root = climb(numbers, belongs, belongs >= 0)
    batch, _ = spans.facts.integers("batch")
    batch = batch[: spans.count]
    whole = spans.publishes & (belongs < 0) & ~paired
    left = spans.publishes & (belongs < 0) & paired & (batch > created) & (spans.operation == SEND)
    messages = np.where(whole, np.where(spans.operation == SEND, np.maximum(batch, 1), 1), batch - created)
    chosen = np.flatnonzero(whole | left)
    here = pairs[(pairs[:, 1] < spans.count)]
    main = root.copy()
    single = here[created[here[:, 0]] == 1]
    main[single[:, 0]] = single[:, 1]
    members = np.concatenate([root[inner], here[:, 1]]), np.concatenate([inner, here[:, 0]])
    return Publications(chosen, messages[chosen], main, members)


def _paired_by_links(spans: MessageSpans) -> tuple[Ints, Ints, Ints]:
    """Give (create, send) pairs that a link joins, and the sends, once for each, that link to a create that did not come."""
    owner, target = spans.link_owner, spans.link_target
    of = spans.publishes[owner] if spans.count else np.zeros(0, bool)
    known = of & (target >= 0)
    o, t = owner[known], target[known]
    operation = spans.facts.operation
    forward = (operation[o] == SEND) & (operation[t] == CREATE)
    backward = (operation[o] == CREATE) & (operation[t] == SEND) & (t < spans.count)
    creates, sends = np.concatenate([t[forward], o[backward]]), np.concatenate([o[forward], t[backward]])
    # only a send that is a CLIENT says by its kind that there was a create
    lost = of & spans.link_absent & (spans.operation[owner] == SEND) & (spans.forest.kind[spans.rows[owner]] == SpanKind.CLIENT)
    return creates, sends, owner[lost]


def _paired_by_count(spans: MessageSpans, paired: Ints) -> tuple[Ints, Ints]:
    """Give (create, send) pairs of a batch that says how many messages it has, and has as many creates beside it, below the same parent."""
    parent = spans.forest.parent[spans.rows]
    batch, known = spans.facts.integers("batch")
    free = spans.publishes & (parent >= 0)
    free[paired[paired < spans.count]] = False
    sends = np.flatnonzero(free & (spans.operation == SEND) & known[: spans.count])
    creates = np.flatnonzero(free & (spans.operation == CREATE))
    if not len(sends) or not len(creates):
        return creates[:0], sends[:0]
    key = spans.sibling_keys(parent)
    _, of = np.unique(key[np.concatenate([sends, creates])], return_inverse=True)
    of_send, of_create = of[: len(sends)], of[len(sends) :]
    alone = np.bincount(of_send, minlength=len(key)) == 1
    number = np.bincount(of_create, minlength=len(key))
    send_of = np.full(len(key), -1)
    fits = alone[of_send] & (batch[sends] == number[of_send])
    send_of[of_send[fits]] = sends[fits]
    chosen = send_of[of_create] >= 0
    return creates[chosen], send_of[of_create[chosen]]
