"""What is known of those who should have answered a lonely call: whether they sample its trace, and whether they report at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.addresses import outside, own_host
from traced.graph.called import callee_name
from traced.graph.calls import CONNECTION_TYPES
from traced.graph.causes import WENT_SILENT
from traced.graph.columns import combined, used
from traced.graph.halves import HALVES
from traced.graph.history import History
from traced.graph.parts import KEPT, LOST, Parts
from traced.graph.parts import PERHAPS as MAYBE
from traced.graph.relation import Relation
from traced.graph.responses import answered_by_service, responded
from traced.graph.sampling import DROPPED, PERHAPS, Samplers
from traced.graph.service_keys import name_of
from traced.graph.windows import turned
from traced.model.edge import ConnectionType
from traced.model.span import SpanKind

MIN_CALLS: Final = 30
"""Calls that were answered without a span from which on their callee is silent."""
MAX_SERVICES: Final = 5_000
MAX_CALLS: Final = 1_000
MAX_CALLERS: Final = 256
"""Callers of one service whose clocks are held against its own."""

_CALL: Final = CONNECTION_TYPES.index(ConnectionType.CALL)
_FACTS: Final = {
    "responded": pa.bool_(),
    "sampled": pa.string(),
    "sampled_by": pa.string(),
    "silent": pa.string(),
    "silent_cause": pa.string(),
    "silent_calls": pa.int64(),
    "silent_since": pa.int64(),
}
LONELY: Final = pa.schema([*HALVES, *(pa.field(name, kind) for name, kind in _FACTS.items())])
"""A row of HALVES, a caller, and: `responded`, whether anybody answered. `sampled`: 'dropped' where its callee does not sample the trace, 'perhaps' where
that may be so, 'kept' where it does, or ''; `sampled_by`: by what that is known. `silent`: the name of a service that reports nothing, or '';
`silent_cause`: '' where it never did, or 'went_silent'; `silent_calls`: calls that it answered so; `silent_since`: its last span's start (unix ns), 0 where it
has none."""


@dataclass(slots=True)
class _Service:
    """What is known of one service.

    Attributes:
        last: when it last began a span, by its own clock (unix ns).
        serves: it has spans that serve calls.
        calls: those that it answered without a span since: who called, when that began by the caller's clock, and the caller's place.
        behind, behind_before: by caller, how much later by the caller's clock a call ended at most than its span here by this service's clock (ns), in
            the present window and in the one before. No response takes less than no time, so this bounds what the two clocks differ by.
    """

    last: int = 0
    serves: bool = False
    calls: set[tuple[str, int, int, int, int]] = field(default_factory=set)
    behind: dict[str, int] = field(default_factory=dict)
    behind_before: dict[str, int] = field(default_factory=dict)

    def began_last(self, caller: str) -> int | None:
        """Give the latest time, by a caller's clock, at which the last span can have begun; None where none of its calls was answered."""
        known = [behind[caller] for behind in (self.behind, self.behind_before) if caller in behind]
        return self.last + max(known) if known else None

    def since(self, caller: str, start: int) -> bool:
        """Say whether a call began after the service's last span, whatever their clocks."""
        last = self.began_last(caller)
        return last is not None and start > last


_ALIKE: Final = ("service_key", "called", "peer_name", "outcome", "kind", "messaging_system", "server_address", "without")
"""What calls that nobody ever answered have in common that are judged alike, beside whether they begin their trace; the first three name the call."""
_Verdict = tuple[bool, str, str, str, str, int, int]


class Callees:
    """Remembers when services reported last; `dropped` counts those beyond the limit."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._services: OrderedDict[str, _Service] = OrderedDict()
        """By their keys."""
        self._names: set[str] = set()
        self._turned = 0.0
        self.dropped = 0

    def learn(self, made: Relation, now: float) -> None:
        """Note the last span of each service of a pass, and what bounds the clocks of services; `now` in unix seconds."""
        self._turned, over = turned(self._turned, now)
        for known in self._services.values() if over else ():
            known.behind, known.behind_before = {}, known.behind
        forest = made.forest
        last = np.zeros(len(forest.service_keys), np.int64)
        np.maximum.at(last, forest.service.of, forest.start)
        serving = set(used(forest.service.of[forest.receiving]))
        for code in used(forest.service.of[~forest.nameless]):
            key = forest.service_keys[code]
            known = self._services.setdefault(key, _Service())
            self._services.move_to_end(key)
            known.serves |= code in serving
            known.last = max(known.last, int(last[code]))
        self._learn_clocks(made)
        for code in used(forest.service.of[~forest.nameless]):
            known = self._services[forest.service_keys[code]]
            known.calls = {call for call in known.calls if known.since(call[0], call[1])}
        while len(self._services) > MAX_SERVICES:
            self._services.popitem(last=False)
            self.dropped += 1
        self._names = {name_of(key) for key in self._services}

    def _learn_clocks(self, made: Relation) -> None:
        """Note of each pair of services how much later a call ended at its caller than where it was answered."""
        forest, calls = made.forest, made.calls
        both = np.flatnonzero((calls.client_row >= 0) & (calls.server_row >= 0))
        both = both[(calls.connection[both] == _CALL) & (forest.kind[calls.client_row[both]] == SpanKind.CLIENT)]
        client, server = calls.client_row[both], calls.server_row[both]
        edge, first = combined(forest.service.of[client], forest.service.of[server])
        behind = np.full(len(first), np.iinfo(np.int64).min)
        np.maximum.at(behind, edge, forest.end[client] - forest.end[server])
        keys = forest.service_keys
        for at, most in zip(first.tolist(), behind.tolist(), strict=True):
            caller, callee = (keys[forest.service.of[rows[at]]] for rows in (client, server))
            known = self._services[callee].behind if callee in self._services else {}
            if caller in known or len(known) < MAX_CALLERS:
                known[caller] = max(most, known.get(caller, most))
            else:
                self.dropped += 1

    def judge(self, lonely: pa.Table, history: History, samplers: Samplers, parts: Parts) -> pa.Table:
        """Give lonely callers (rows of HALVES) with what is known of their callees (LONELY)."""
        if not lonely.num_rows:
            return LONELY.empty_table()
        begins = (np.asarray(lonely.column("parent_span_id")) == 0).tolist()
        alike = list(zip(*(lonely.column(name).to_pylist() for name in _ALIKE), begins, strict=True))
        answering = {key: history.answered(key[:3]) for key in dict.fromkeys(alike)}
        owed = [at for at, key in enumerate(alike) if answering[key]]
        rows = dict(zip(owed, lonely.take(pa.array(owed, pa.int64())).to_pylist(), strict=True))
        self._note(list(rows.values()), [answering[alike[at]] for at in owed])
        unanswered = history.unanswered()
        # of calls that nobody ever answered all that are alike are judged alike: there may be thousands
        common = {
            key: self._facts({"parent_span_id": int(not key[-1]), **dict(zip(_ALIKE, key, strict=False))}, callees, unanswered, history, samplers, parts)
            for key, callees in answering.items()
            if not callees
        }
        facts = [self._facts(rows[at], answering[key], unanswered, history, samplers, parts) if at in rows else common[key] for at, key in enumerate(alike)]
        columns = [pa.array(column, kind) for column, kind in zip(zip(*facts, strict=True), _FACTS.values(), strict=True)]
        return pa.table([*lonely.columns, *columns], schema=LONELY)

    def _note(self, rows: list[dict[str, Any]], answering: list[frozenset[str]]) -> None:
        """Note calls that were answered without a span after their callee's last one."""
        for row, callees in zip(rows, answering, strict=True):
            known = self._services.get(next(iter(callees))) if len(callees) == 1 else None
            if known is None or len(known.calls) >= MAX_CALLS or not _is_call(row) or not answered_by_service(row["outcome"]):
                continue
            caller, start = row["service_key"], row["start_time_unix_nano"]
            if known.since(caller, start):
                known.calls.add((caller, start, row["trace_id_high"], row["trace_id_low"], row["span_id"]))

    def _facts(
        self, row: dict[str, Any], callees: frozenset[str], unanswered: Mapping[str, int], history: History, samplers: Samplers, parts: Parts
    ) -> _Verdict:
        sampled, by = "", ""
        if callees:
            place = (row["trace_id_high"], row["trace_id_low"], row["trace_state"])
            sampled, by = samplers.verdict(tuple(sorted(map(name_of, callees))), *place, gone=bool(row["without"]))
        if sampled != DROPPED and row["without"]:
            # a callee that is known to lose spans explains the gaps of who calls it
            callee = parts.kept(called=row["without"])
            kept = {callee, parts.kept(name_of(row["service_key"]))} if callee != LOST else set()
            if kept & {KEPT, MAYBE}:
                sampled, by = DROPPED if KEPT in kept else PERHAPS, "parts"
        return (responded(row["outcome"]), sampled, by, *self._silent(row, callees, unanswered, history))

    def _silent(self, row: dict[str, Any], callees: frozenset[str], unanswered: Mapping[str, int], history: History) -> tuple[str, str, int, int]:
        peer = callee_name(row["peer_name"], row["called"])
        if not _is_call(row) or not answered_by_service(row["outcome"]):
            return "", "", 0, 0
        if len(callees) == 1:
            callee = next(iter(callees))
            known = self._services.get(callee)
            if known is not None and len(known.calls) >= MIN_CALLS and known.since(row["service_key"], row["start_time_unix_nano"]):
                return name_of(callee), WENT_SILENT, len(known.calls), known.last
            return "", "", 0, 0
        silent = unanswered.get(peer, 0)
        # a sidecar before the silent service answers to its name; what it calls by that name is the service itself
        reached = history.reached(peer)
        others = bool(reached) and name_of(row["service_key"]) not in reached
        # whose namespace it may be is not said: a service of that name that reports may be the one
        if not peer or callees or others or silent < MIN_CALLS or not _is_own(row) or service_of(peer) in self._names or self._beats(row):
            return "", "", 0, 0
        return service_of(peer), "", silent, 0

    def _beats(self, row: Mapping[str, Any]) -> bool:
        """Say whether a call is outside all that its service was asked for, as heart-beats and registrations are: no request waits there."""
        caller = self._services.get(row["service_key"])
        return row["parent_span_id"] == 0 and caller is not None and caller.serves


def service_of(peer: str) -> str:
    """Give the service that a peer's name or address means: of a Kubernetes host name the first label."""
    return peer.split(".", maxsplit=1)[0] if peer.endswith((".svc", ".cluster.local")) or ".svc." in peer else peer


def _is_call(row: Mapping[str, Any]) -> bool:
    return bool(row["kind"] == SpanKind.CLIENT and not row["messaging_system"])


def _is_own(row: Mapping[str, Any]) -> bool:
    """Say whether a call goes to a named or addressed service of this system: not outside, not to the caller's own host."""
    return not any(address and (outside(address) or own_host(address)) for address in (row["peer_name"], row["server_address"]))
