"""Which lonely caller called which lonely receiver: the two halves of calls whose context did not travel.

Receivers of one service and the callers that may have called it (`identity`) are matched together: pairs that lie in time
within what the edge's own delays allow and that contradict nothing (`gates`) get a weight, the likelihood of their two delays against that
of a pair by chance; weights are balanced so that each half has at most one other half, and the best assignment is chosen.

Complexity: n log n to sort, at most MAX_CANDIDATES pairs a receiver, and m³ for a component of m receivers that compete, up to MAX_COMPONENT;
identities cost a look each, and classes of identities that nothing tells apart are compared each with each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from traced.graph.assigning import assigned
from traced.graph.columns import Ints, Mask, Unsigned, distinct, mix, used
from traced.graph.delays import UNLEARNED, DelayModel, Edge, Floats, densest
from traced.graph.gates import Gates
from traced.graph.identity import Knowledge
from traced.graph.sides import Sides
from traced.graph.weighing import PRIOR, balanced, columns_of, tail, weights
from traced.model.span import SpanKind

MAX_CANDIDATES: Final = 256
"""Callers looked at for one receiver: those that began last before it."""
SAME_TRACE: Final = 10.0
SAME_REQUEST: Final = 10.0
SAME_MESSAGE: Final = 20.0
"""What these add to a pair's log weight: a common trace id, request id, or message id does not come by chance."""
SUREST_BY_REQUEST: Final = 0.9
"""Confidence at most, where nothing but the request's id leads to a SERVER span: something that emits nothing may have passed the id on between."""
AGREEING: Final = 4.0
"""What it adds where a SERVER span stands for a call of its own: its method and path are of what was asked of it, and seldom what it asks for."""
LEAST_CROWD: Final = 0.001
_LARGEST: Final = 40.0
_LEARNING_ROUNDS: Final = 4
_LIKELY: Final = 0.3
MOST: Final = 0.5
_SUREST: Final = 0.98
_MIN_UNAMBIGUOUS: Final = 8
_AGREE: Final = 1e6
"""Nanoseconds by which clocks that agree may differ."""
_MOSTLY_WITHIN: Final = 0.9
"""Share of receivers that must lie within some caller's time where clocks agree."""
LONGEST: Final = 600e9
"""Nanoseconds that a message may take."""
_SPREADS: Final = 10
"""Spreads of the request's delay by which a receiver's clock may be ahead of what its caller's time has room for."""
_SHIFTED: Final = 200
"""Receivers that are moved in time at random, at least, to learn how often a fit comes by chance."""
CHANCE: Final = 0.01
"""So rarely may chance produce as many fits as were found."""


@dataclass(frozen=True, slots=True)
class Match:
    """Two halves of one call.

    Attributes:
        caller, receiver: rows of the given tables.
        confidence: that this caller called this receiver.
        service_confidence: that a span of this caller's service did.
        rivals: other callers that fit.
        chance: bound of the probability that chance makes as many fits on this edge.
    """

    caller: int
    receiver: int
    confidence: float
    service_confidence: float
    rivals: int
    chance: float


@dataclass(slots=True)
class Matching:
    """What was matched; `skipped` counts what a cap left out, by cap.

    Attributes:
        learned: by the service of receivers that may have a caller, whether the delays of all its edges were known before.
    """

    matches: list[Match] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    learned: dict[str, bool] = field(default_factory=dict)


def match(callers: pa.Table, receivers: pa.Table, known: Knowledge, delays: Callable[[Edge], DelayModel | None]) -> Matching:
    """Match halves (rows of HALVES).

    A receiver that names a parent is only matched within its trace: there its parent's id was changed on the way.
    """
    result = Matching()
    if not callers.num_rows or not receivers.num_rows:
        return result
    sides = Sides(callers, receivers, known)
    gates = Gates(callers, receivers)
    calls = sides.by_request(gates.request)
    for service in np.argsort(sides.receiver_service.texts).tolist():
        block = _Block(sides, gates, service, calls, delays)
        if len(block.caller) and len(block.receiver):
            result.learned[block.service] = bool(block.learned.all())
            block.solve(result)
    result.matches = _one_each(result.matches, sides)
    return result


def _one_each(matches: list[Match], sides: Sides) -> list[Match]:
    """Keep the surest match of a caller that receivers of several services were matched with; a SERVER span may have called each of them."""
    best: dict[tuple[int, int], Match] = {}
    several, service = (sides.caller_kind == SpanKind.SERVER).tolist(), sides.receiver_service.of.tolist()
    for one in matches:
        key = one.caller, service[one.receiver] if several[one.caller] else -1
        known = best.setdefault(key, one)
        if (one.confidence, -one.receiver) > (known.confidence, -known.receiver):
            best[key] = one
    return list(best.values())


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Candidates: rows of callers and receivers, the receiver's place among those asked for, the log weight against chance, and the two delays."""

    caller: Ints
    receiver: Ints
    place: Ints
    weight: Floats
    request: Floats
    response: Floats


class _Block:
    """The receivers of one service and everything that may have called it."""

    def __init__(
        self,
        sides: Sides,
        gates: Gates,
        service: int,
        calls: frozenset[tuple[str, str]],
        delays: Callable[[Edge], DelayModel | None],
    ) -> None:
        self._sides, self._gates, self.service = sides, gates, sides.receiver_service.texts[service]
        self.receiver: Ints = np.flatnonzero(sides.receiver_service.of == service)
        able: Mask = np.asarray(sides.reach.fits[:, used(sides.receiver_class[self.receiver])].any(axis=1))
        self._by_request = sides.calling(self.service, calls)
        callers = np.flatnonzero(able[sides.caller_class] | self._by_request)
        self.caller: Ints = callers[np.argsort(sides.caller_times[0][callers], kind="stable")]
        self._learn_edges(delays)
        self._messages = np.asarray(sides.caller_kind[self.caller] == SpanKind.PRODUCER)
        self._room = self._rooms()
        self._crowd = self._crowding()

    def _learn_edges(self, delays: Callable[[Edge], DelayModel | None]) -> None:
        sides = self._sides
        texts, sends = sides.caller_service.texts, np.isin(sides.caller_kind[self.caller], (SpanKind.CLIENT, SpanKind.PRODUCER))
        present, place = distinct(sides.caller_service.of[self.caller] * 2 + sends, 2 * len(texts))
        self._edges: list[Edge] = [(texts[code // 2], self.service, bool(code % 2)) for code in present.tolist()]
        self._edge_of: Ints = np.zeros(len(sides.caller_kind), np.int64)
        self._edge_of[self.caller] = place
        found = [delays(edge) for edge in self._edges]
        self.learned = np.array([model is not None for model in found], bool)
        self._models = [model or UNLEARNED for model in found]

    def _rooms(self) -> Floats:
        """Give, for each caller, in how many nanoseconds its receiver must begin: while it waits; of a message, whenever."""
        starts, ends = (times[self.caller].astype(float) for times in self._sides.caller_times)
        room: Floats = np.where(self._messages, LONGEST, np.maximum(ends - starts, 1e6))
        return room

    def _crowding(self) -> Floats:
        """Give, for each edge, the log of how many of its lonely callers are under way at any time: so many fit a receiver by chance."""
        seconds = max(self._sides.lasts, 1.0)
        busy = np.bincount(self._edge_of[self.caller], weights=self._room, minlength=len(self._edges))
        crowd: Floats = np.log(np.clip(busy / seconds, LEAST_CROWD, None))
        return crowd

    # ------------------------------------------------------------------ candidates

    def candidates(self, receivers: Ints, shift: Ints | None = None, skipped: Counter[str] | None = None) -> _Pairs:
        """Give the pairs of some receivers that fit; with a shift of the receivers' times, those that fit by chance."""
        sides = self._sides
        starts, ends = sides.caller_times[0][self.caller], sides.caller_times[1][self.caller]
        moved = np.zeros(len(receivers), np.int64) if shift is None else shift
        start, end = sides.receiver_times[0][receivers] + moved, sides.receiver_times[1][receivers] + moved
        models = columns_of(self._models)
        last = np.searchsorted(starts, start + max(-int(models[:, 2].min()), 0), "right")
        back = int(self._room.max(initial=0)) + max(int((models[:, 0] + _SPREADS * models[:, 1]).max()), 50_000_000)
        first = np.searchsorted(starts, start - back, "left")
        if skipped is not None:
            skipped["candidates"] += int(np.maximum(last - first - MAX_CANDIDATES, 0).sum())
        first = np.maximum(first, last - MAX_CANDIDATES)
        number = last - first
        receiver = np.repeat(np.arange(len(receivers)), number)
        place = np.arange(len(receiver)) - np.repeat(np.cumsum(number) - number, number) + np.repeat(first, number)
        caller = self.caller[place]
        rows = receivers[receiver]
        model = models[self._edge_of[caller]]
        request, response = (start[receiver] - starts[place]).astype(float), (ends[place] - end[receiver]).astype(float)
        messages = self._messages[place]
        same_request = self._gates.same_request(caller, rows)
        by_request = same_request & self._by_request[caller]
        fits = (request >= model[:, 2]) & ((response >= model[:, 5]) | messages)
        fits &= sides.reach.fits[sides.caller_class[caller], sides.receiver_class[rows]]
        # whoever serves the same request, and surrounds it, need not keep to what is usual
        fits |= by_request & (request >= -_AGREE) & (response >= -_AGREE)
        same = sides.caller_trace[caller] == sides.receiver_trace[rows]
        fits &= same | ~sides.dangling[rows]
        # that a message was sent before another was taken says nothing of it: only its id does
        fits &= ~messages | self._gates.same_message(caller, rows)
        agrees = np.zeros(len(fits), bool)
        agrees[fits] = self._gates.agree(caller[fits], rows[fits], same[fits] | by_request[fits])
        straight = sides.caller_kind[caller] == SpanKind.SERVER
        chosen = np.flatnonzero(fits & (agrees | straight))
        caller, rows, request, response = caller[chosen], rows[chosen], request[chosen], response[chosen]
        same, messages = same[chosen], messages[chosen]
        weight = weights(model[chosen], request, response, self._room[place[chosen]], messages) - self._crowd[self._edge_of[caller]]
        weight = weight + AGREEING * (straight & agrees)[chosen]
        if shift is None:
            weight = weight + SAME_TRACE * same + SAME_MESSAGE * self._gates.same_message(caller, rows) + SAME_REQUEST * same_request[chosen]
        return _Pairs(caller, rows, receiver[chosen], np.clip(weight, -_LARGEST, _LARGEST), request, response)

    # ------------------------------------------------------------------ learning from what is to be matched

    def _begin_with(self, pairs: _Pairs) -> None:
        """Guess the delays of edges of which nothing is known: true pairs are alike, pairs by chance are not."""
        for edge in np.flatnonzero(~self.learned).tolist():
            mine = self._edge_of[pairs.caller] == edge
            # clocks mostly agree: then a receiver lies within its caller's time, and fewer pairs are there by chance
            within = mine & (pairs.request >= -_AGREE) & (pairs.response >= -_AGREE)
            if len(np.unique(pairs.receiver[within])) >= _MOSTLY_WITHIN * len(self.receiver):
                mine = within
            if np.count_nonzero(mine) >= _MIN_UNAMBIGUOUS:
                alike = densest(np.column_stack([pairs.request[mine], pairs.response[mine]]))
                if len(alike) >= _MIN_UNAMBIGUOUS:
                    self._models[edge] = DelayModel.fitted(alike)

    def _learn_from(self, pairs: _Pairs, sure: Mask) -> None:
        """Fit the delays of edges of which nothing was known to the pairs that are sure by now."""
        for edge in range(len(self._edges)):
            if self.learned[edge]:
                continue
            chosen = sure & (self._edge_of[pairs.caller] == edge)
            if np.count_nonzero(chosen) >= _MIN_UNAMBIGUOUS:
                self._models[edge] = DelayModel.fitted(np.column_stack([pairs.request[chosen], pairs.response[chosen]]))

    # ------------------------------------------------------------------ solving

    def solve(self, result: Matching) -> None:
        """Match the block."""
        pairs = self.candidates(self.receiver, skipped=result.skipped)
        if not self.learned.all():
            self._begin_with(pairs)
            for _ in range(_LEARNING_ROUNDS):
                pairs = self.candidates(self.receiver)
                self._learn_from(pairs, balanced(pairs.caller, pairs.receiver, pairs.weight) > _LIKELY)
            pairs = self.candidates(self.receiver)
        if not len(pairs.caller):
            return
        share = balanced(pairs.caller, pairs.receiver, pairs.weight)
        # where most receivers have found a caller, the others are likelier to have theirs here too
        prior = float(np.clip(share.sum() / len(self.receiver), PRIOR, _SUREST))
        share = balanced(pairs.caller, pairs.receiver, pairs.weight, prior)
        chosen, left_out = assigned(pairs.caller, pairs.receiver, pairs.weight)
        result.skipped["component"] += left_out
        by_service = self._by_service(pairs, share)
        rivals = _times_seen(pairs.receiver) - 1
        chance = self._chance(pairs)
        caller, receiver = pairs.caller[chosen], pairs.receiver[chosen]
        beyond_chance = self._sides.dangling[receiver] | self._gates.same_message(caller, receiver)
        of_edge = np.array([chance.get(edge, 1.0) for edge in range(len(self._edges))])
        by_chance = np.where(beyond_chance, 0.0, of_edge[self._edge_of[caller]])
        most = np.where(self._by_request[caller] & (self._sides.caller_kind[caller] == SpanKind.SERVER), SUREST_BY_REQUEST, 1.0)
        sure, by_name = np.minimum(share[chosen], most), np.minimum(by_service[chosen], most)
        facts = (column.tolist() for column in (caller, receiver, sure, by_name, rivals[chosen], by_chance))
        result.matches.extend(Match(*values) for values in zip(*facts, strict=True))

    def _by_service(self, pairs: _Pairs, share: Floats) -> Floats:
        """Give, for each pair, the shares of all callers of its service for its receiver together."""
        _, place = np.unique(pairs.receiver * len(self._edges) + self._edge_of[pairs.caller], return_inverse=True)
        together = np.bincount(place, weights=share)[place] if len(place) else share
        summed: Floats = np.minimum(together, 1.0)
        return summed

    def _chance(self, pairs: _Pairs) -> dict[int, float]:
        """Bound, for each edge, the probability that receivers moved in time at random fit as often as they do where they are."""
        count = len(self.receiver)
        shifts = max(1, -(-_SHIFTED // count))
        found = _fitting(pairs, self._edge_of)
        moved = np.repeat(self.receiver, shifts)
        by_chance = _fitting(self.candidates(moved, _shift(self._sides.seeds[moved], np.arange(len(moved)) % shifts)), self._edge_of)
        bounds = {}
        for edge, number in found.items():
            by_luck = (by_chance[edge] + 1) / (count * shifts + 2)
            bounds[edge] = tail(number, count, by_luck)
            if not self.learned[edge]:
                # delays that were fitted to these very pairs explain some of them whatever they are: most, only where they are true
                theirs = int(np.count_nonzero(self._edge_of[self.caller] == edge))
                bounds[edge] = bounds[edge] if number >= MOST * min(count, theirs) else 1.0
        return bounds


def _fitting(pairs: _Pairs, edge_of: Ints) -> Counter[int]:
    """Count, by edge, the receivers that have a caller there that fits better than by chance."""
    good = pairs.weight > 0
    both = np.unique(pairs.place[good] * (int(edge_of.max(initial=0)) + 1) + edge_of[pairs.caller[good]])
    return Counter((both % (int(edge_of.max(initial=0)) + 1)).tolist())


def _shift(seeds: Unsigned, turn: Ints) -> Ints:
    """Move each receiver by 1 to 60 s, back or forth, by its id and the turn, so that the same input gives the same answer."""
    mixed = mix(seeds, turn.astype(np.uint64))
    seconds = 1 + (mixed % np.uint64(59_000)).astype(np.int64) / 1000
    sign = np.where((mixed >> np.uint64(40)) & np.uint64(1), 1, -1)
    moved: Ints = (sign * seconds * 1e9).astype(np.int64)
    return moved


def _times_seen(codes: Ints) -> Ints:
    _, place, number = np.unique(codes, return_inverse=True, return_counts=True)
    seen: Ints = number[place]
    return seen
