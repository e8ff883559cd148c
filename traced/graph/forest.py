"""The trees of many traces at once: who is whose parent, which parents are absent, which ids are shared.

Works on columns of spans in any order; the result does not depend on the order of arrival. Within a trace, rows that share a
span id are the halves of one call (Zipkin's model): children hang under the receiving half, and the receiving half under
the sending one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.graph.columns import Codes, Ints, Mask, Unsigned, climb, distinct, mix, numbers, rows_in_loops
from traced.graph.service_keys import service_key
from traced.model.span import UNKNOWN_SERVICE, SpanKind

_SPAN_BITS: Final = 38
_MAX_HALVES: Final = 16
"""Rows of one span id that are looked at; more than two are already a conflict."""


_TEXTS: Final = (
    "service_name", "service_namespace", "service_instance_id", "host", "name", "peer_name", "database_name", "messaging_system", "messaging_operation",
    "response_status", "error_type",
)  # fmt: skip
"""Columns of texts that are looked at of every span."""
_SPAN_MASK: Final = np.uint64(2**_SPAN_BITS - 1)
_MAX_COLLISIONS: Final = 64
"""Rows of equal key that a look-up steps over; 64 ids of one trace that agree in 38 bits of a hash do not happen by chance."""


def _key(trace_hash: Unsigned, span_id: Unsigned) -> Unsigned:
    return (trace_hash & ~_SPAN_MASK) | (mix(span_id) >> np.uint64(64 - _SPAN_BITS))


def _numbered(ordered_hash: Unsigned, sorted_high: Unsigned, sorted_low: Unsigned) -> Ints:
    """Number traces of rows that are brought together by hash; rows of colliding traces may alternate, so runs are compared."""
    if not len(ordered_hash):
        return np.zeros(0, np.int64)
    starts = np.ones(len(ordered_hash), bool)
    starts[1:] = (sorted_high[1:] != sorted_high[:-1]) | (sorted_low[1:] != sorted_low[:-1])
    heads = np.flatnonzero(starts)
    run = np.cumsum(starts) - 1
    hashes = ordered_hash[heads]
    if (hashes[1:] > hashes[:-1]).all():
        number = np.arange(len(heads))
    else:
        by_id = np.lexsort((sorted_low[heads], sorted_high[heads], hashes))
        again = np.ones(len(heads), bool)
        again[1:] = (sorted_high[heads][by_id][1:] != sorted_high[heads][by_id][:-1]) | (sorted_low[heads][by_id][1:] != sorted_low[heads][by_id][:-1])
        number = np.empty(len(heads), np.int64)
        number[by_id] = np.cumsum(again) - 1
    ordered: Ints = number[run]
    return ordered


class Forest:
    """The resolved trees.

    Attributes:
        codes: columns of texts as numbers, by name.

    Attributes (one value a span, in the order of the given table):
        trace: number of the span's trace, from 0.
        parent: row of the parent; -1 for none, absent or looped.
        dangling: it names a parent that is not here.
        absent: the same, where that may be claimed: not in a silenced trace.
        looped: it is its own ancestor.
        sender: for a receiving half of a shared id, the row of the sending half; else -1.
        same_side: row of another span with the same id on the same side that came to stand before it; else -1.
        service: names of services as Codes, one for each namespace and name, resolved for nameless spans by their nearest named ancestor.
            Beside the texts: `namespaces`, and `service_keys` (`traced.graph.service_keys`).
    """

    def __init__(self, spans: pa.Table, each: Callable[..., Iterable[Codes]] = map) -> None:
        """Resolve all trees of a table with the columns of `queries/analysis/staged_spans.sql`.

        Args:
            spans: the table.
            each: what goes over the columns of texts: `map`, or one that does it in other threads meanwhile.
        """
        self.spans = spans
        self.count = spans.num_rows
        texts = each(Codes.from_column, [spans.column(name) for name in _TEXTS])
        # a kind that no version of the protocol knows is no kind
        self.kind = np.minimum(numbers(spans, "kind"), SpanKind.CONSUMER + 1) % (SpanKind.CONSUMER + 1)
        self.span_id: Unsigned = numbers(spans, "span_id")
        self.parent_id: Unsigned = numbers(spans, "parent_span_id")
        self.start: Ints = numbers(spans, "start_time_unix_nano")
        self.end: Ints = numbers(spans, "end_time_unix_nano")
        self.sending: Mask = (self.kind == SpanKind.CLIENT) | (self.kind == SpanKind.PRODUCER)
        self.receiving: Mask = (self.kind == SpanKind.SERVER) | (self.kind == SpanKind.CONSUMER)
        self._high, self._low = numbers(spans, "trace_id_high"), numbers(spans, "trace_id_low")
        self._sort_by_ids()
        self.codes = dict(zip(_TEXTS, texts, strict=True))
        self.service = self._services()
        self._number_traces()
        self.silenced: Mask = np.zeros(self.traces, bool)
        self._find_halves()
        self._find_parents()
        self._name_the_nameless()

    # ------------------------------------------------------------------ traces and ids

    def _sort_by_ids(self) -> None:
        """Sort rows by (hash of trace, hash of span id).

        26 bits of one and 38 of the other make one sort key; where hashes collide, ids are compared (`lookup` steps over, the numbering
        compares whole trace ids).
        """
        self._trace_hash = mix(self._high, self._low)
        key = _key(self._trace_hash, self.span_id)
        self._order: Ints = np.argsort(key)
        self._sorted = key[self._order]

    def _number_traces(self) -> None:
        if (self._sorted[1:] == self._sorted[:-1]).any():
            # ties by what a row says, so that the result does not depend on the order of arrival
            content = (self.parent_id, self.end, self.start, self.service.of, self.kind)
            self._order = np.lexsort((*content, self.span_id, self._low, self._high, _key(self._trace_hash, self.span_id)))
        order = self._order
        self._sorted_hash = self._trace_hash[order]
        self._sorted_trace = _numbered(self._sorted_hash, self._high[order], self._low[order])
        self._sorted_ids = self.span_id[order]
        self.trace: Ints = np.empty(self.count, np.int64)
        self.trace[order] = self._sorted_trace
        self.traces = int(self._sorted_trace.max()) + 1 if self.count else 0

    def lookup(self, trace: Ints, trace_hash: Unsigned, span_id: Unsigned) -> Ints:
        """Give the position (in index order) of the first row with each (trace, span id); -1 where there is none."""
        wanted = _key(trace_hash, span_id)
        place = np.searchsorted(self._sorted, wanted)
        found = np.full(len(wanted), -1, np.int64)
        open_: Any = slice(None)  # all at first, and hardly ever any after that
        for _ in range(_MAX_COLLISIONS):
            at = np.minimum(place[open_], self.count - 1)
            same_key = (self._sorted[at] == wanted[open_]) & (place[open_] < self.count)
            hit = same_key & (self._sorted_ids[at] == span_id[open_]) & (self._sorted_trace[at] == trace[open_])
            found[open_] = np.where(hit, at, -1)
            goes_on = np.flatnonzero(same_key & ~hit)
            if not len(goes_on):
                break
            open_ = goes_on if isinstance(open_, slice) else open_[goes_on]
            place[open_] += 1
        return found

    def find(self, high: Unsigned, low: Unsigned, span_id: Unsigned, kind: Any = None) -> Ints:
        """Give the row of each (trace id, span id), of shared ids the first, or the first of a kind; -1 where it is not here."""
        result = np.full(len(high), -1, np.int64)
        if not self.count or not len(high):
            return result
        trace_hash = mix(high, low)
        place = np.minimum(np.searchsorted(self._sorted, trace_hash & ~_SPAN_MASK), self.count - 1)
        row = self._order[place]
        # the first row of the trace by hash; a trace hidden behind a collision of 26 bits is looked for one by one
        same = (self._high[row] == high) & (self._low[row] == low)
        trace = self.trace[row]
        hidden = ~same & ((self._trace_hash[row] & ~_SPAN_MASK) == (trace_hash & ~_SPAN_MASK))
        for missed in np.flatnonzero(hidden):
            other = np.flatnonzero((self._high == high[missed]) & (self._low == low[missed]))
            if len(other):
                trace[missed], same[missed] = self.trace[other[0]], True
        here = np.flatnonzero(same)
        found = self.lookup(trace[here], trace_hash[here], span_id[here])
        here, found = here[found >= 0], found[found >= 0]
        if kind is None:
            result[here] = self._order[found]
            return result
        for step in range(min(int(self._size.max()), _MAX_HALVES)):
            row = self._order[np.minimum(found + step, self.count - 1)]
            hit = (step < self._size[found]) & (result[here] < 0) & (self.kind[row] == kind[here])
            result[here[hit]] = row[hit]
        return result

    def silence(self, traces: Mask) -> None:
        """Say of these traces (by number) that spans of them are not here: nothing of theirs is called absent."""
        if traces.any():
            self.silenced = self.silenced | traces
            self.absent &= ~self.silenced[self.trace]

    # ------------------------------------------------------------------ shared ids

    def _find_halves(self) -> None:
        """Group rows of one (trace, span id) and say who sends, who receives, and who stands twice on one side."""
        order, ordered = self._order, self._sorted
        ids = self._sorted_ids
        same = np.zeros(self.count, bool)
        same[1:] = (ordered[1:] == ordered[:-1]) & (ids[1:] == ids[:-1]) & (self._sorted_trace[1:] == self._sorted_trace[:-1])
        self.shared: Mask = np.zeros(self.count, bool)
        self._size = np.ones(self.count, np.int64)
        self.sender: Ints = np.full(self.count, -1, np.int64)
        self.same_side: Ints = np.full(self.count, -1, np.int64)
        if not same.any():
            return
        firsts = np.flatnonzero(~same)
        sizes = np.diff(np.append(firsts, self.count))
        self._size[firsts] = sizes
        self.shared[order] = np.repeat(sizes > 1, sizes)
        pairs = firsts[sizes == 2]
        self._pair_twos(order[pairs], order[pairs + 1])
        for first, size in zip(firsts[sizes > 2], sizes[sizes > 2], strict=True):
            self._pair_more(order[first : first + min(size, _MAX_HALVES)])

    def _pair_twos(self, one: Ints, other: Ints) -> None:
        """Pair ids with two rows, which is what sharing means; all at once."""
        for sender, receiver in ((one, other), (other, one)):
            halves = self.sending[sender] & self.receiving[receiver]
            self.sender[receiver[halves]] = sender[halves]
        twins = (self.sending[one] == self.sending[other]) & (self.receiving[one] == self.receiving[other])
        self.same_side[other[twins]] = one[twins]

    def _pair_more(self, rows: Ints) -> None:
        """Pair an id with three rows or more."""
        senders, receivers = rows[self.sending[rows]], rows[self.receiving[rows]]
        if len(senders):
            self.sender[receivers] = senders[0]
        for side in (senders, receivers, rows[~self.sending[rows] & ~self.receiving[rows]]):
            self.same_side[side[1:]] = side[:1]

    # ------------------------------------------------------------------ parents

    def _find_parents(self) -> None:
        has_parent_id = self.parent_id != 0
        # in index order, so that neighbours look up neighbours: four times faster than in the order of arrival
        sorted_parent_id = self.parent_id[self._order]
        child = np.flatnonzero(sorted_parent_id)
        found = self.lookup(self._sorted_trace[child], self._sorted_hash[child], sorted_parent_id[child])
        rows = self._order[child]
        parent = np.full(self.count, -1, np.int64)
        parent[rows] = np.where(found >= 0, self._order[found], -1)
        if self.shared.any():
            place = np.full(self.count, -1, np.int64)
            place[rows] = found
            self._choose_halves(parent, place)
        half = self.sender >= 0
        parent[half] = self.sender[half]
        self.dangling: Mask = has_parent_id & (parent < 0)
        self.absent: Mask = self.dangling.copy()
        self.looped: Mask = rows_in_loops(parent)
        parent[self.looped] = -1
        self.parent: Ints = parent
        self.root: Mask = (parent < 0) & ~has_parent_id

    def _choose_halves(self, parent: Ints, place: Ints) -> None:
        """Where a parent id is shared, hang the child under the half of its own service, else under the receiving one."""
        rows = np.flatnonzero((parent >= 0) & self.shared[parent])
        best = np.full(len(rows), -1, np.int64)
        for step in range(min(int(self._size.max()), _MAX_HALVES)):
            within = step < self._size[place[rows]]
            candidate = self._order[np.minimum(place[rows] + step, self.count - 1)]
            own = self.service.of[candidate] == self.service.of[rows]
            score = 4 * own + 2 * self.receiving[candidate] + 1
            score[~within | (candidate == rows)] = -1
            better = score > best
            parent[rows[better]] = candidate[better]
            best[better] = score[better]

    # ------------------------------------------------------------------ services

    def _services(self) -> Codes:
        """Number (name, namespace) in their order as texts; Codes.texts holds names, `namespaces` beside it."""
        names, spaces = self.codes["service_name"], self.codes["service_namespace"]
        both = names.of * len(spaces.texts) + spaces.of
        present, of = distinct(both, len(names.texts) * len(spaces.texts))
        pairs = [(names.texts[i // len(spaces.texts)] or UNKNOWN_SERVICE, spaces.texts[i % len(spaces.texts)]) for i in present]
        order = {pair: rank for rank, pair in enumerate(sorted(set(pairs)))}
        self.namespaces = [namespace for _, namespace in order]
        self.service_keys = [service_key(namespace, name) for name, namespace in order]
        return Codes(np.array([order[pair] for pair in pairs], np.int64)[of], [name for name, _ in order])

    def _name_the_nameless(self) -> None:
        nameless_code = np.array([text == UNKNOWN_SERVICE for text in self.service.texts] or [False])
        nameless = nameless_code[self.service.of] if self.count else np.zeros(0, bool)
        if nameless.any():
            rows = np.flatnonzero(nameless)
            named = climb(self.parent[rows], self.parent, nameless)
            self.service.of[rows[named >= 0]] = self.service.of[named[named >= 0]]
            nameless = nameless_code[self.service.of]
        self.nameless: Mask = nameless


def trace_summary(forest: Forest) -> pa.Table:
    """Give one row a trace: spans, roots, absent parents (distinct ids), looped spans, complete.

    A trace is complete when it was looked at whole and has a root, no absent parent and no loop: the provable kind, not a promise that
    nothing is lost.
    """
    count = forest.traces

    def per_trace(mask: npt.NDArray[np.bool_]) -> Ints:
        return np.bincount(forest.trace[mask], minlength=count)

    spans, roots, looped = per_trace(np.ones(forest.count, bool)), per_trace(forest.root), per_trace(forest.looped)
    orphans = np.flatnonzero(forest.absent)
    _, one_each = np.unique(mix(forest.trace[orphans].astype(np.uint64), forest.parent_id[orphans]), return_index=True)
    absent = np.bincount(forest.trace[orphans[one_each]], minlength=count)
    first_row = np.full(count, -1, np.int64)
    first_row[forest.trace[::-1]] = np.arange(forest.count)[::-1]
    return pa.table(
        {
            "trace": np.arange(count),
            "row": first_row,
            "spans": spans,
            "roots": roots,
            "absent": absent,
            "looped": looped,
            "complete": (roots > 0) & (absent == 0) & (looped == 0) & ~forest.silenced,
        },
    )
