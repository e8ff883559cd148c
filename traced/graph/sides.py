"""Both sides of calls that are to be matched, as columns; a side's rows are those of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from traced.graph.columns import Codes, Ints, Mask, Unsigned, mix
from traced.graph.correlation import Side, direct_callers
from traced.graph.identity import CallerIdentity, Knowledge, ReceiverIdentity, may_call


class Sides:
    """Callers and receivers (rows of `traced.graph.halves.HALVES`).

    Attributes:
        reach: which classes of identities may belong together.
        caller_class, receiver_class: each row's class there.
        caller_service, receiver_service: each row's service.
        caller_kind: each caller's span kind.
        caller_times, receiver_times: when each began and ended (unix ns).
        caller_trace, receiver_trace: keys of their traces.
        dangling: receivers that name a parent.
        seeds: a number of each receiver that does not depend on the others.
        lasts: nanoseconds from the first half to the last.
        names_nobody: callers that do not say whom they call. Who names its callee is believed: that it carries the request's id says nothing more.
    """

    def __init__(self, callers: pa.Table, receivers: pa.Table, known: Knowledge) -> None:
        """Read both tables, neither of them empty."""
        names = ["service_key", "kind", "name", "called", "peer_name", "rpc_service", "messaging_system", "messaging_destination", "expected"]
        mine, of_caller = _identities(callers, names, CallerIdentity)
        names = ["service_name", "kind", "name", "rpc_service", "messaging_system", "messaging_destination", "server_address"]
        theirs, of_receiver = _identities(receivers, names, ReceiverIdentity)
        self.reach = may_call(mine, theirs, known)
        self.caller_class, self.receiver_class = self.reach.caller[of_caller], self.reach.receiver[of_receiver]
        self.caller_service, self.receiver_service = (Codes.from_column(table.column("service_name")) for table in (callers, receivers))
        self.caller_kind = np.asarray(callers.column("kind"))
        self.caller_times, self.receiver_times = _times(callers), _times(receivers)
        self.caller_trace, self.receiver_trace = _traces(callers), _traces(receivers)
        self.dangling: Mask = np.asarray(receivers.column("parent_span_id")) != 0
        self.seeds: Unsigned = np.asarray(receivers.column("span_id"))
        times = np.concatenate([*self.caller_times, *self.receiver_times]).astype(float)
        self.lasts = float(times.max() - times.min())
        self.names_nobody: Mask = np.array([not (c.peer_name or c.expected) for c in mine], bool)[of_caller]

    def by_request(self, requests: tuple[Ints, Ints]) -> frozenset[tuple[str, str]]:
        """Name the pairs of services of which the ids of requests (each row's, 0 for none) show that one calls the other."""
        if not (requests[0].any() and requests[1].any()):
            return frozenset()
        mine = Side(np.where(self.names_nobody, requests[0], 0), self.caller_service, *self.caller_times)
        return direct_callers(mine, Side(np.where(self.dangling, 0, requests[1]), self.receiver_service, *self.receiver_times))

    def calling(self, service: str, calls: frozenset[tuple[str, str]]) -> Mask:
        """Mark the callers that may have called a service because they serve its requests."""
        able: Mask = np.array([(text, service) in calls for text in self.caller_service.texts], bool)[self.caller_service.of] & self.names_nobody
        return able


def _identities(table: pa.Table, names: list[str], kind: Any) -> tuple[list[Any], Ints]:
    numbers: dict[Any, int] = {}
    of = [numbers.setdefault(values, len(numbers)) for values in zip(*(table.column(name).to_pylist() for name in names), strict=True)]
    return [kind(*values) for values in numbers], np.array(of, np.int64)


def _times(table: pa.Table) -> tuple[Ints, Ints]:
    return np.asarray(table.column("start_time_unix_nano")), np.asarray(table.column("end_time_unix_nano"))


def _traces(table: pa.Table) -> Unsigned:
    return mix(np.asarray(table.column("trace_id_high")), np.asarray(table.column("trace_id_low")))
