"""How many spans each span stands for: the adjusted count of consistent probability sampling, where the sender says how it sampled.

Specification: opentelemetry-specification, `specification/trace/tracestate-probability-sampling.md`: a span that was kept at a rejection threshold T stands
for 2^56 / (2^56 - T) spans. A span without `th` says nothing of how it was sampled: then nothing is known, not even that all were kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.graph.calls import Calls
from traced.graph.columns import Codes, Unsigned
from traced.graph.forest import Forest
from traced.graph.trace_state import parse
from traced.model.occurrence import Occurrence

Weights = npt.NDArray[np.float64]
_WHOLE: Final = float(2**56)
_BITS: Final = np.uint64(2**56 - 1)

Place = tuple[int, int, int]
"""Trace id (high, low) and span id."""


def weights(states: pa.ChunkedArray) -> Weights | None:
    """Give what each span stands for by its `trace_state`; NaN where that is not known, None where it is of no span."""
    codes = Codes.from_column(states)
    if not any(codes.texts):
        return None
    said = parse(pa.array(codes.texts, pa.string()))
    if not said.has_threshold.any():
        return None
    of_text = np.where(said.has_threshold, _WHOLE / (_WHOLE - said.threshold.astype(np.float64)), np.nan)
    found: Weights = of_text[codes.of]
    return found


def probabilities(states: pa.ChunkedArray, trace_id_low: Unsigned) -> Weights:
    """Give with which probability each span was kept, by its `trace_state`; NaN where it does not say, or says what its randomness refutes."""
    codes = Codes.from_column(states)
    if not any(codes.texts):
        return np.full(len(codes.of), np.nan)
    said = parse(pa.array(codes.texts, pa.string())).at(codes.of)
    refuted = said.threshold > np.where(said.has_randomness, said.randomness, trace_id_low & _BITS)
    return np.where(said.has_threshold & ~said.spoiled & ~refuted, (_WHOLE - said.threshold.astype(np.float64)) / _WHOLE, np.nan)


def of_calls(calls: Calls) -> Weights | None:
    """Give what each call stands for: it was kept where both samplers kept it, so the stricter one counts; NaN where a half does not say."""
    of_spans = weights(calls.forest.spans.column("trace_state"))
    if of_spans is None:
        return None
    client, server = (np.where(rows >= 0, of_spans[rows], 1.0) for rows in (calls.client_row, calls.server_row))
    stricter: Weights = np.maximum(client, server)  # NaN where either is
    return stricter


def weighed(occurrences: Iterable[Occurrence], forest: Forest | None, waited: Mapping[str, pa.Table]) -> list[Occurrence]:
    """Give occurrences with what each stands for: those of spans of a pass, and those of halves that waited (tables with the columns of HALVES)."""
    given = list(occurrences)
    known = {place: weight for table in waited.values() if "trace_state" in table.column_names for place, weight in _said(table)}
    of_spans = weights(forest.spans.column("trace_state")) if forest is not None else None
    if forest is not None and of_spans is not None and given:
        high, low, span = (np.array(ids, np.uint64) for ids in zip(*((*o.trace_id, o.span_id) for o in given), strict=True))
        row = forest.find(high, low, span)
        for one, weight in zip(given, np.where(row >= 0, of_spans[row], np.nan).tolist(), strict=True):
            known.setdefault((*one.trace_id, one.span_id), weight)
    if not known:
        return given
    found = ((one, known.get((*one.trace_id, one.span_id), np.nan)) for one in given)
    return [one if np.isnan(weight) else replace(one, adjusted_count=weight) for one, weight in found]


def _said(table: pa.Table) -> Iterable[tuple[Any, float]]:
    of_rows = weights(table.column("trace_state"))
    if of_rows is None:
        return ()
    places = zip(*(table.column(name).to_pylist() for name in ("trace_id_high", "trace_id_low", "span_id")), strict=True)
    return zip(places, of_rows.tolist(), strict=True)
