"""Calls: which span called which, each call once, however many spans describe it.

Rules and where the peers differ: ARCHITECTURE.md, "The graph's rules".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from traced.graph.columns import Codes, Ints, Mask, climb, distinct, used
from traced.graph.forest import Forest
from traced.model.edge import ConnectionType
from traced.model.span import SpanKind, StatusCode

CONNECTION_TYPES = (ConnectionType.CALL, ConnectionType.MESSAGING_SYSTEM, ConnectionType.DATABASE, ConnectionType.VIRTUAL_NODE)
POLLS = ("receive", "poll")
"""Messaging operations that take messages for others to process."""
_CALL, _MESSAGE, _DATABASE, _VIRTUAL = range(4)


@dataclass(frozen=True, slots=True)
class Naming:
    """What is known from elsewhere when calls are named.

    Attributes:
        virtual_callers: who calls a root SERVER or CONSUMER (GraphSettings.virtual_callers).
        virtual_callees: whom an unanswered CLIENT calls (GraphSettings.virtual_callees).
        reporting: names of services that emit spans: never the far end of a database or virtual edge.
        aliases: addresses to the service that answers there, learned from paired calls; '' where several answer.
    """

    virtual_callers: str = "peer_or_user"
    virtual_callees: str = "peer"
    reporting: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)


_NOBODY = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class _Ends:
    """One end of some calls: name and namespace as codes in `Calls.names`, and the span (-1 where that half is no span here)."""

    name: Ints
    space: Ints
    row: Ints

    def where(self, chosen: Mask) -> _Ends:
        return _Ends(self.name[chosen], self.space[chosen], self.row[chosen])


@dataclass(frozen=True, slots=True)
class _Part:
    """Some calls of one connection type."""

    client: _Ends
    server: _Ends
    connection: Ints
    error: Mask
    sent: Ints


class Calls:
    """All calls of a forest.

    Attributes (one value a call):
        client, server: codes of service names in `names`.
        client_space, server_space: namespaces, as codes in `names`.
        client_row, server_row: the spans; -1 for a half that is not a span here.
        connection: index in CONNECTION_TYPES.
        error: either half has error status.
    Attributes (one value a span):
        answers: how many receiving spans a span has; for pairing.
        outer: a CLIENT with another CLIENT of its service below it: only the innermost is answered.
        callee: code in `callees`, keys of services, of the one that answered a calling span (of several the first by row); 0, no text, for none.
        elsewhere: a caller that is answered in another part of its trace.
        caller: row of the span that a receiving span answers (or, for other spans, -1).
    """

    def __init__(self, forest: Forest, naming: Naming, links: pa.Table) -> None:
        """Resolve the calls.

        Args:
            forest: the trees.
            naming: settings and what was learned.
            links: columns `row` (the consumer's row), `target` (the linked span's row here, or -1), and, for a target that lies
                elsewhere in the store, `service_name`, `service_namespace`, `kind` (0 where unknown) and `end_time_unix_nano`.
        """
        self.forest = forest
        self.naming = naming
        self.names = Codes(np.zeros(0, np.int64), [])
        self._parts: list[_Part] = []
        passes = (forest.kind == SpanKind.INTERNAL) | (forest.kind == SpanKind.UNSPECIFIED)
        self._name_spans()
        self.nearest = climb(forest.parent, forest.parent, passes & ~self._directed)
        self._find_callers()
        self._calls_with_parents()
        self._calls_by_link(links)
        self._lost_server_halves()
        self._learn_aliases()
        self._virtual_callers()
        self._virtual_callees()
        self._finish()

    # ------------------------------------------------------------------ names

    def _name_spans(self) -> None:
        """Put all names that can be an end of an edge into one numbering."""
        forest = self.forest
        self._peer, self._database, self._messaging = (forest.codes[name] for name in ("peer_name", "database_name", "messaging_system"))
        texts: dict[str, int] = {"": 0}

        def renumber(codes: Codes) -> Ints:
            table = [texts.setdefault(t, len(texts)) for t in codes.texts] or [0]
            return np.array(table, np.int64)[codes.of]

        self.service = renumber(forest.service)
        self.space = renumber(Codes(forest.service.of, forest.namespaces)) if forest.count else self.service
        self.peer = renumber(self._peer)
        self.database = renumber(self._database)
        for text in self._peer.texts:
            texts.setdefault(self.naming.aliases.get(text, ""), len(texts))
        self._user, self._unknown = (texts.setdefault(t, len(texts)) for t in ("user", "unknown"))
        self.names.texts = list(texts)
        reporting = self.naming.reporting | {forest.service.texts[c] for c in used(forest.service.of[~forest.nameless])} if forest.count else set()
        self._reports: Mask = np.array([t in reporting for t in self.names.texts])
        self.messaging: Mask = np.array([bool(t) for t in self._messaging.texts] or [False])[self._messaging.of]
        # a span of no kind that knows both ends acts as a CLIENT
        unspecified = forest.kind == SpanKind.UNSPECIFIED
        self._directed: Mask = unspecified & (self.peer != 0) & ~forest.nameless & (forest.sender < 0)

    # ------------------------------------------------------------------ pairs

    def _find_callers(self) -> None:
        """For each receiving span, the span it answers: its sending half, or its nearest ancestor that is not internal."""
        forest = self.forest
        receives = forest.receiving | (forest.sender >= 0)
        self.caller: Ints = np.where(receives, np.where(forest.sender >= 0, forest.sender, self.nearest), -1)
        # nothing but internal spans above: the parent itself speaks for its service
        bare = receives & (self.caller < 0) & (forest.parent >= 0)
        self.caller[bare] = forest.parent[bare]
        calling = forest.sending | self._directed
        paired = np.flatnonzero(self.caller >= 0)
        paired = paired[calling[self.caller[paired]] | (forest.sender[paired] >= 0)]
        self.answers: Ints = np.bincount(self.caller[paired], minlength=forest.count)
        self.outer: Mask = np.zeros(forest.count, bool)
        clients = np.flatnonzero((forest.kind == SpanKind.CLIENT) & (self.nearest >= 0))
        above = self.nearest[clients]
        nested = (forest.kind[above] == SpanKind.CLIENT) & (forest.service.of[above] == forest.service.of[clients])
        inner, above = clients[nested], above[nested]
        self.outer[above] = True
        # the call over the network is part of the database call that it was made for
        self.database[inner] = np.where(self.database[inner] == 0, self.database[above], self.database[inner])

    def _calls_with_parents(self) -> None:
        forest = self.forest
        rows = np.flatnonzero(self.caller >= 0)
        callers = self.caller[rows]
        caller_kind, kind = forest.kind[callers], forest.kind[rows]
        other_service = forest.service.of[rows] != forest.service.of[callers]
        sends = forest.sending[callers] | (forest.sender[rows] >= 0) | self._directed[callers]
        server = (kind == SpanKind.SERVER) | ~forest.receiving[rows]
        consumer = kind == SpanKind.CONSUMER
        message = consumer & ((caller_kind == SpanKind.PRODUCER) | ((caller_kind == SpanKind.CLIENT) & self.messaging[callers]))
        call = server & (sends | other_service)
        self._add(callers[call], rows[call], _CALL)
        self._answered = callers[call], rows[call]
        self._consumed = callers[message], rows[message]

    def _calls_by_link(self, links: pa.Table) -> None:
        """One message per parent or link to a producer; a message that one service receives and processes counts once."""
        forest = self.forest
        row, target = np.asarray(links.column("row")), np.asarray(links.column("target"))
        kind = np.asarray(links.column("kind"))
        here = target >= 0
        target_kind = np.where(here, forest.kind[target], kind)
        # a CLIENT elsewhere in the store that a consumer links to sent a message; one here says so itself
        sender = (target_kind == SpanKind.PRODUCER) | ((target_kind == SpanKind.CLIENT) & (~here | self.messaging[target]))
        takes = (forest.kind[row] == SpanKind.CONSUMER) & sender
        self.linked: Mask = np.zeros(forest.count, bool)
        self.linked[row] = True
        by_parent = here & (self.caller[row] == target)  # a link beside a parent of the same producer says nothing new
        use = takes & ~by_parent
        inside = use & here
        self.answers += np.bincount(target[inside], minlength=forest.count)
        producers, consumers = self._consumed
        self._messages(np.concatenate([producers, target[inside]]), np.concatenate([consumers, row[inside]]))
        outside = use & ~here
        if outside.any():
            client = np.array([self.names.number(t or "") for t in links.column("service_name").filter(pa.array(outside)).to_pylist()], np.int64)
            space = np.array([self.names.number(t or "") for t in links.column("service_namespace").filter(pa.array(outside)).to_pylist()], np.int64)
            rows = row[outside]
            ended = np.asarray(links.column("end_time_unix_nano"))[outside]
            self._append(_Ends(client, space, np.full(len(rows), -1)), self._ends(rows), _MESSAGE, self._failed(rows), ended)

    def _messages(self, producers: Ints, consumers: Ints) -> None:
        """Add messages; of a service that received and processed one, only the processing."""
        if not len(producers):
            return
        forest = self.forest
        receives = self.forest.codes["messaging_operation"].among(*POLLS)
        # a CONSUMER right above another one of its service took the batch that the lower one processes
        above = self.nearest[consumers]
        nested = (above >= 0) & (forest.kind[above] == SpanKind.CONSUMER) & (forest.service.of[above] == forest.service.of[consumers])
        receives[above[nested]] = True
        key = producers * len(forest.service.texts) + forest.service.of[consumers]
        processed = key[~receives[consumers]]
        kept = ~receives[consumers] | ~np.isin(key, processed)
        self._add(producers[kept], consumers[kept], _MESSAGE)

    def _lost_server_halves(self) -> None:
        """A CLIENT straight under another service's span: that service called this one, whose server half is not here."""
        forest = self.forest
        rows = np.flatnonzero((forest.kind == SpanKind.CLIENT) & (self.nearest >= 0) & (forest.sender < 0))
        above = self.nearest[rows]
        crosses = (forest.service.of[rows] != forest.service.of[above]) & ~forest.nameless[rows] & ~forest.nameless[above]
        rows, above = rows[crosses], above[crosses]
        self._stands_in: Mask = np.zeros(forest.count, bool)
        self._stands_in[rows] = True
        sends = forest.sending[above]
        # the CLIENT's own status speaks of the call that it makes, not of the one that led here
        client, server = self._ends(above, np.where(sends, above, -1)), self._ends(rows, np.full(len(rows), -1))
        self._append(client, server, _CALL, self._failed(above) & sends)
        self.answers += np.bincount(above[sends], minlength=forest.count)

    # ------------------------------------------------------------------ aliases

    def _learn_aliases(self) -> None:
        """A peer name or address whose calls are answered by one service only, and mostly answered, is that service."""
        if not self.peer.any():
            return
        callers, servers = self._answered
        forest, texts, width = self.forest, self.names.texts, len(self._reports)
        plain = (forest.kind == SpanKind.CLIENT) & (self.database == 0) & ~self.messaging & ~self.outer & (self.peer != 0)
        named = plain[callers] & ~forest.nameless[servers]
        pairs, place = distinct(self.peer[callers[named]] * width + self.service[servers[named]], width * width)
        calls = np.bincount(place, minlength=len(pairs))
        address, service = pairs // width, pairs % width
        services, answered = np.bincount(address, minlength=width), np.bincount(address, weights=calls, minlength=width)
        alone = np.bincount(self.peer[plain & (self.answers == 0)], minlength=width)
        meaning = np.arange(width)
        number = {text: n for n, text in enumerate(texts)}
        for n in used(self.peer):
            if services[n] == 0 and (known := self.naming.aliases.get(texts[n])):
                meaning[n] = number[known]
        sure = (services[address] == 1) & (answered[address] >= alone[address])
        for n, to in zip(address[sure].tolist(), service[sure].tolist(), strict=True):
            if self.naming.aliases.get(texts[n], texts[to]) == texts[to]:
                meaning[n] = to
        meaning[self._reports] = np.flatnonzero(self._reports)
        self.peer = meaning[self.peer]

    # ------------------------------------------------------------------ virtual nodes

    def _virtual_callers(self) -> None:
        """A receiving root's caller: its peer or `user`; a SERVER whose named parent is absent only its peer."""
        forest, mode = self.forest, self.naming.virtual_callers
        if mode == "none":
            return
        free = forest.receiving & (forest.parent < 0) & ~forest.nameless & ~forest.looped & (forest.sender < 0)
        rows = np.flatnonzero(free & ~(self.linked & (forest.kind == SpanKind.CONSUMER)))
        peer = np.where(mode == "user", 0, self.peer[rows])
        name = np.where((peer == 0) & forest.root[rows] & (mode in ("peer_or_user", "user")), self._user, peer)
        self._far(name, rows, np.zeros(len(rows), bool), toward_span=True)

    def _virtual_callees(self) -> None:
        """What an unanswered CLIENT or PRODUCER calls: its database, else its peer, else (by setting) `unknown`."""
        forest, mode = self.forest, self.naming.virtual_callees
        calling = (forest.sending | self._directed) & ~forest.nameless
        if self.messaging.any():
            calling &= ~(self.messaging & (forest.kind == SpanKind.CLIENT) & forest.codes["messaging_operation"].among(*POLLS, "settle"))
        self.unanswered: Mask = calling & (self.answers == 0) & ~self.outer
        rows = np.flatnonzero(self.unanswered)
        client = (forest.kind[rows] == SpanKind.CLIENT) | self._directed[rows]
        database = client & (self.database[rows] != 0)
        messaging_client = client & self.messaging[rows] & (self.peer[rows] == 0)
        name = np.where(database, self.database[rows], self.peer[rows])
        # a CLIENT that stands in for its own service's lost server half has named itself, not a further callee
        name = np.where(self._stands_in[rows] & (name == self.service[rows]), 0, name)
        if mode == "none":
            name = np.where(database, name, 0)
        elif mode == "peer_or_unknown":
            name = np.where((name == 0) & client & ~messaging_client, self._unknown, name)
        self._far(name, rows, database, toward_span=False)

    def _far(self, name: Ints, rows: Ints, database: Mask, *, toward_span: bool) -> None:
        """Add edges between spans and a far end that is only a name; a name that reports is a service, not a virtual node."""
        known = name != 0
        name, rows, database = name[known], rows[known], database[known]
        reports = self._reports[name] if len(name) else np.zeros(0, bool)
        far = _Ends(name, np.zeros(len(rows), np.int64), np.full(len(rows), -1))
        near, failed = self._ends(rows), self._failed(rows)
        for connection, chosen in ((_CALL, reports), (_DATABASE, database & ~reports), (_VIRTUAL, ~database & ~reports)):
            ends = (far.where(chosen), near.where(chosen)) if toward_span else (near.where(chosen), far.where(chosen))
            self._append(*ends, connection, failed[chosen])

    def answer(self, elsewhere: Mapping[int, str]) -> None:
        """Take callers (by row) for answered that a service answers in another part of their trace; no edge is drawn of such a call."""
        for row, service in elsewhere.items():
            self.unanswered[row], self.elsewhere[row] = False, True
            self.callee[row] = self.callees.number(service)

    # ------------------------------------------------------------------ collecting

    def _failed(self, rows: Ints) -> Mask:
        failed: Mask = np.asarray(self.forest.spans.column("status_code"))[rows] == StatusCode.ERROR
        return failed

    def _ends(self, rows: Ints, shown: Ints | None = None) -> _Ends:
        """Give the ends that these spans are; `shown` are their rows where the span itself is not that half."""
        return _Ends(self.service[rows], self.space[rows], rows if shown is None else shown)

    def _add(self, clients: Ints, servers: Ints, connection: int) -> None:
        """Add calls between two spans; with several receivers under one sender each counts by its own status."""
        nameless = self.forest.nameless
        known = ~nameless[clients] & ~nameless[servers]
        clients, servers = clients[known], servers[known]
        alone = self.answers[clients] <= 1
        error = self._failed(servers) | (self._failed(clients) & alone & (self.forest.sending | self._directed)[clients])
        self._append(self._ends(clients), self._ends(servers), connection, error)

    def _append(self, client: _Ends, server: _Ends, connection: int, error: Mask, sent: Ints | None = None) -> None:
        count = len(client.name)
        if count:
            self._parts.append(_Part(client, server, np.full(count, connection), error, np.full(count, -1) if sent is None else sent))

    def _finish(self) -> None:
        parts = self._parts or [_Part(_Ends(*[_NOBODY] * 3), _Ends(*[_NOBODY] * 3), _NOBODY, _NOBODY.astype(bool), _NOBODY)]
        self.client, self.server = np.concatenate([p.client.name for p in parts]), np.concatenate([p.server.name for p in parts])
        self.client_space, self.server_space = np.concatenate([p.client.space for p in parts]), np.concatenate([p.server.space for p in parts])
        self.client_row, self.server_row = np.concatenate([p.client.row for p in parts]), np.concatenate([p.server.row for p in parts])
        self.connection = np.concatenate([p.connection for p in parts])
        self.error: Mask = np.concatenate([p.error for p in parts])
        self.sent: Ints = np.concatenate([p.sent for p in parts])
        """End time of a producer that is not among these spans; -1 otherwise."""
        self.elsewhere: Mask = np.zeros(self.forest.count, bool)
        self.callees = Codes(np.zeros(0, np.int64), ["", *self.forest.service_keys])
        self.callee: Ints = np.zeros(self.forest.count, np.int64)
        both = (self.client_row >= 0) & (self.server_row >= 0)
        self.callee[self.client_row[both][::-1]] = self.forest.service.of[self.server_row[both][::-1]] + 1
