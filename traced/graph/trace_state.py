"""What `tracestate` says of sampling: OpenTelemetry's member `ot=th:…;rv:…`, and spans that contradict it.

Specification: opentelemetry-specification, `specification/trace/tracestate-handling.md` and `…/tracestate-probability-sampling.md`. A
sampler keeps a span where its randomness is not below the sampler's rejection threshold; both are numbers of 56 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph import places
from traced.graph.columns import Codes, Ints, Mask, Unsigned, numbers
from traced.graph.forest import Forest

SAMPLINGS: Final = pa.schema(
    [
        *places.PLACE,
        ("differs", pa.bool_()),
        ("randomness", pa.uint64()),
        ("other_randomness", pa.uint64()),
        ("threshold", pa.uint64()),
        ("explicit", pa.bool_()),
        ("said_random", pa.bool_()),
        ("spans", pa.int64()),
    ],
)
"""One row a trace, service and kind of contradiction, at its earliest span; `spans` counts those where it begins.

`differs`: this span's `rv` is not that of its parent, or of the trace (`other_randomness`). Else its randomness is below its own `threshold`;
`explicit`: the randomness is an `rv`; `said_random`: it is the trace id's, which flags say was drawn at random.
"""

_MAX_MEMBER: Final = 256
_DIGITS: Final = 14
_BITS: Final = np.uint64(2**56 - 1)
_RANDOM: Final = 0x02
"""W3C's flag: the low 56 bits of the trace id were drawn at random."""
_MEMBER: Final = r"(?:^|,)[ \t]*ot=(?P<part>[^,]*)"
_THRESHOLD: Final = r"(?:^|;)th:(?P<part>[0-9a-f]{1,14})(?:;|$)"
_RANDOMNESS: Final = r"(?:^|;)rv:(?P<part>[0-9a-f]{14})(?:;|$)"
_ANY_RANDOMNESS: Final = r"(?:^|;)(?P<part>rv):"


@dataclass(frozen=True, slots=True)
class Sampling:
    """What the members of some spans say; values of what is not said are 0.

    Attributes:
        threshold, has_threshold: `th`, padded with zeros on the right.
        randomness, has_randomness: `rv`.
        spoiled: there is an `rv` that cannot be read, so that nothing is known of the span's randomness.
    """

    threshold: Unsigned
    has_threshold: Mask
    randomness: Unsigned
    has_randomness: Mask
    spoiled: Mask

    def at(self, rows: Ints) -> Sampling:
        """Give what some of them say."""
        return Sampling(self.threshold[rows], self.has_threshold[rows], self.randomness[rows], self.has_randomness[rows], self.spoiled[rows])


_NOTHING: Final = Sampling(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros(0, bool))


def parse(states: pa.Array) -> Sampling:
    """Read the member `ot` of each text; what is not written as specified (another vendor's, bad hex, too long) is as if it were not there."""
    member = pc.utf8_trim_whitespace(_part(states, _MEMBER))
    member = pc.if_else(pc.less_equal(pc.binary_length(member), _MAX_MEMBER), member, pa.scalar(None, pa.string()))
    threshold, randomness = _part(member, _THRESHOLD), _part(member, _RANDOMNESS)
    unread = pc.and_(pc.is_valid(_part(member, _ANY_RANDOMNESS)), pc.is_null(randomness))
    return Sampling(_hex(threshold), _mask(pc.is_valid(threshold)), _hex(randomness), _mask(pc.is_valid(randomness)), _mask(unread))


def _part(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.struct_field(pc.extract_regex(texts, pattern), "part")


def _mask(values: Any) -> Mask:
    return np.asarray(pc.fill_null(values, False)).astype(bool)


def _hex(texts: pa.Array) -> Unsigned:
    """Read up to 14 hex digits, padded on the right; null is 0."""
    if not len(texts):
        return np.zeros(0, np.uint64)
    padded = pc.utf8_rpad(pc.fill_null(texts, ""), _DIGITS, padding="0").cast(pa.binary()).cast(pa.binary(_DIGITS))
    digits = np.frombuffer(padded.buffers()[1], np.uint8, count=len(padded) * _DIGITS).reshape(-1, _DIGITS).astype(np.uint64)
    values = np.where(digits >= ord("a"), digits - np.uint64(ord("a") - 10), digits - np.uint64(ord("0")))
    read: Unsigned = (values << (np.uint64(4) * np.arange(_DIGITS - 1, -1, -1, dtype=np.uint64))).sum(axis=1, dtype=np.uint64)
    return read


# ---------------------------------------------------------------------- contradictions


def samplings(forest: Forest) -> pa.Table:
    """Find where spans of one trace begin to contradict each other, or themselves, about sampling; rows of SAMPLINGS."""
    rows, said = _in_doubt(forest)
    if not len(rows):
        return SAMPLINGS.empty_table()
    differs, other = _differing(forest, rows, said)
    own = _randomness(forest, rows, said)
    below = said.has_threshold & ~said.spoiled & (own < said.threshold) & ~_inherited(forest, rows, said)
    chosen = np.flatnonzero(differs | below)
    first, count = _once(forest, rows[chosen], differs[chosen])
    at = chosen[first]
    return places.table(
        forest,
        rows[at],
        SAMPLINGS,
        differs=differs[at],
        randomness=own[at],
        other_randomness=other[at],
        threshold=said.threshold[at],
        explicit=said.has_randomness[at],
        said_random=(numbers(forest.spans, "flags")[rows[at]] & _RANDOM) != 0,
        spans=count,
    )


def _in_doubt(forest: Forest) -> tuple[Ints, Sampling]:
    """Give the spans that say something, and what, of the traces in which there is a contradiction."""
    states = Codes.from_column(forest.spans.column("trace_state"))
    if not any(states.texts):
        # nobody fills it in, mostly
        return np.zeros(0, np.int64), _NOTHING
    texts, of = parse(pa.array(states.texts, pa.string())), states.of
    doubtful = np.zeros(forest.traces, bool)
    if texts.has_randomness.any():
        have = np.flatnonzero(texts.has_randomness[of])
        trace, value, last = forest.trace[have], texts.randomness[of[have]], np.zeros(forest.traces, np.uint64)
        last[trace] = value
        doubtful[trace[value != last[trace]]] = True
    rejects = texts.has_threshold & ~texts.spoiled & (texts.threshold > 0) & (~texts.has_randomness | (texts.randomness < texts.threshold))
    if rejects.any():
        rows = np.flatnonzero(rejects[of])
        said = texts.at(of[rows])
        doubtful[forest.trace[rows[_randomness(forest, rows, said) < said.threshold]]] = True
    speaks = texts.has_threshold | texts.has_randomness
    rows = np.flatnonzero(doubtful[forest.trace] & speaks[of]) if doubtful.any() else np.zeros(0, np.int64)
    return rows, texts.at(of[rows])


def _differing(forest: Forest, rows: Ints, said: Sampling) -> tuple[Mask, Unsigned]:
    """Mark the spans whose `rv` is another than their parent's, or, where that has none, than the trace's first; and give that other one."""
    have = np.flatnonzero(said.has_randomness)
    other = said.randomness.copy()
    trace = forest.trace[rows[have]]
    # the root's, else that of the span that began first
    order = have[np.lexsort((forest.span_id[rows[have]], forest.start[rows[have]], ~forest.root[rows[have]], trace))]
    numbers_, first = np.unique(forest.trace[rows[order]], return_index=True)
    of_trace = np.zeros(forest.traces, np.uint64)
    of_trace[numbers_] = said.randomness[order[first]]
    other[have] = of_trace[trace]
    place = np.full(forest.count, -1)
    place[rows[have]] = have
    above = np.where(forest.parent[rows] >= 0, place[forest.parent[rows]], -1)
    other = np.where(said.has_randomness & (above >= 0), said.randomness[above], other)
    return said.has_randomness & (other != said.randomness), other


def _randomness(forest: Forest, rows: Ints, said: Sampling) -> Unsigned:
    """Give each span's randomness: `rv`, else, as samplers do, the low 56 bits of the trace id."""
    low: Unsigned = numbers(forest.spans, "trace_id_low")[rows] & _BITS
    return np.where(said.has_randomness, said.randomness, low)


def _inherited(forest: Forest, rows: Ints, said: Sampling) -> Mask:
    """Mark the spans whose parent says the same: there it began."""
    place = np.full(forest.count, -1)
    place[rows] = np.arange(len(rows))
    above = np.where(forest.parent[rows] >= 0, place[forest.parent[rows]], -1)
    same = (said.threshold[above] == said.threshold) & said.has_threshold[above]
    same &= (said.randomness[above] == said.randomness) & (said.has_randomness[above] == said.has_randomness) & ~said.spoiled[above]
    marks: Mask = (above >= 0) & same
    return marks


def _once(forest: Forest, rows: Ints, differs: Mask) -> tuple[Ints, Ints]:
    """Of each trace and service give the place of its earliest span, of differing ones before others, and the number of spans alike."""
    group = forest.trace[rows] * len(forest.service.texts) + forest.service.of[rows]
    order = np.lexsort((forest.span_id[rows], forest.start[rows], ~differs, group))
    _, first, of = np.unique(group[order], return_index=True, return_inverse=True)
    alike = differs[order] == differs[order][first][of]
    return order[first], np.bincount(of[alike], minlength=len(first))
