"""What one trace shows of a call between two services: whole, or a service that is gone from it with all its spans, or only some spans that are missing.

Samplers, and Collectors that keep traces in parts, make services be gone as a whole; losses do so too where a batch or an instance was lost.
`traced.graph.parts` and `traced.graph.sampling` tell them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from traced.graph.columns import mix
from traced.graph.responses import answered_by_service
from traced.graph.service_keys import name_of

CALLER_GONE: Final = "caller_gone"
CALLEE_GONE: Final = "callee_gone"
REMAINS: Final = "remains"
WHOLE: Final = "whole"


class Gap(NamedTuple):
    """One of them.

    Attributes:
        trace: the key of the trace (`columns.mix` of both halves of its id).
        high, low: the trace's id.
        time: when the span began that shows it (unix ns).
        what: CALLER_GONE, CALLEE_GONE, REMAINS or WHOLE.
        service: who calls; '' where it is one of several.
        called: who is called.
    """

    trace: int
    high: int
    low: int
    time: int
    what: str
    service: str
    called: str

    @property
    def gone(self) -> str:
        """Name the service that has no span in the trace, '' for none or one of several."""
        return self.service if self.what == CALLER_GONE else self.called if self.what == CALLEE_GONE else ""


def gap(place: Sequence[int], what: str, service: str, called: str) -> Gap:
    """Make one from the first four of its attributes, and the others."""
    trace, high, low, time = place
    return Gap(trace, high, low, time, what, service, called)


def of_callers(callers: pa.Table, answered: Callable[[tuple[str, str, str]], frozenset[str]]) -> list[Gap]:
    """Say of calls that nobody answered whether the service that answers their like is gone from the trace as a whole.

    Only of calls whose like one service answers, and that it answered this time too, without a span.

    Args:
        callers: rows of `halves.HALVES`.
        answered: of a call (the caller's key, what it is called, peer name), the keys of the services that answered its like.
    """
    calls = list(zip(*(callers.column(name).to_pylist() for name in ("service_key", "called", "peer_name")), strict=True))
    answering = {call: answered(call) for call in dict.fromkeys(calls)}
    high, low = (np.asarray(callers.column(name)) for name in ("trace_id_high", "trace_id_low"))
    columns = (mix(high, low).tolist(), high.tolist(), low.tolist(), callers.column("start_time_unix_nano").to_pylist())
    outcomes = callers.column("outcome").to_pylist()
    came = {outcome: answered_by_service(outcome) for outcome in dict.fromkeys(outcomes)}
    facts = zip(*columns, callers.column("without").to_pylist(), outcomes, calls, strict=True)
    return [
        gap(place, CALLEE_GONE if without else REMAINS, name_of(call[0]), name_of(next(iter(answering[call]))))
        for *place, without, outcome, call in facts
        if len(answering[call]) == 1 and came[outcome]
    ]
