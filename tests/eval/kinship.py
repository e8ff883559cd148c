"""Who is whose parent, who called whom and who answered, in a whole set: what truth is derived from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache

from .traces import RECEIVING, SENDING, Key, Kind, Span, TraceSet


class Kinship:
    """The relations of a set that lacks nothing.

    Attributes:
        holders: (trace id, span id) to the uids that carry it; two where both halves of a call share one id.
        parent: uid to the uid it hangs under: the sending half for the receiving half of a shared id, None for roots.
        children: uid to the uids that hang under it.
        caller: uid of a span called from another process to the uid of the span that called it.
        answers: uid of a CLIENT or PRODUCER to the SERVER or CONSUMER spans that it caused.
        linked: uid to the uids its links point at.
        order: all uids, parents before their children.
    """

    def __init__(self, clean: TraceSet) -> None:
        self.spans = clean.spans
        self.holders: dict[Key, list[int]] = defaultdict(list)
        for span in self.spans:
            self.holders[span.key].append(span.uid)
        self.parent = {s.uid: self._parent(s) for s in self.spans}
        self.children: dict[int, list[int]] = defaultdict(list)
        for uid, parent in self.parent.items():
            if parent is not None:
                self.children[parent].append(uid)
        self.order = list(self._parents_first())
        self.linked = {s.uid: [u for link in s.links for u in self.holders.get(link.target, ())] for s in self.spans if s.links}
        self.caller: dict[int, int] = {}
        self.answers: dict[int, list[int]] = defaultdict(list)
        for span in self.spans:
            self._learn_call(span)

    def sending_half(self, span: Span) -> int | None:
        """Give the span that shares a receiving span's id as its sending half."""
        if span.kind not in RECEIVING:
            return None
        return next((u for u in self.holders[span.key] if self.spans[u].kind in SENDING), None)

    def below(self, uid: int) -> list[int]:
        """Give a span and everything under it."""
        found, todo = [], [uid]
        while todo:
            found.append(todo.pop())
            todo += self.children.get(found[-1], ())
        return found

    def ancestors(self, uid: int) -> Iterator[int]:
        """Give what a span hangs under, nearest first."""
        above = self.parent[uid]
        while above is not None:
            yield above
            above = self.parent[above]

    def _parent(self, span: Span) -> int | None:
        half = self.sending_half(span)
        if half is not None:
            return half
        candidates = [u for u in self.holders.get((span.trace_id, span.parent_span_id), ()) if u != span.uid] if span.parent_span_id else []
        same_service = [u for u in candidates if self.spans[u].service == span.service]
        return next(iter(same_service or candidates), None)

    def _parents_first(self) -> Iterator[int]:
        todo = [uid for uid, parent in self.parent.items() if parent is None]
        while todo:
            uid = todo.pop()
            yield uid
            todo += self.children.get(uid, ())

    def _learn_call(self, span: Span) -> None:
        parent = self.parent[span.uid]
        if parent is not None and span.remote:
            self.caller[span.uid] = self._sender(parent)
        if span.kind not in RECEIVING:
            return
        senders = [u for u in self.linked.get(span.uid, ()) if self.spans[u].kind is Kind.PRODUCER]
        if span.uid in self.caller:
            senders.append(self.caller[span.uid])
        for sender in dict.fromkeys(senders):
            self.answers[sender].append(span.uid)

    def _sender(self, parent: int) -> int:
        """Climb from a remote child's parent to the span that stands for the call: past INTERNAL spans of that process."""
        for uid in (parent, *self.ancestors(parent)):
            if self.spans[uid].kind not in (Kind.INTERNAL, Kind.UNSPECIFIED) or self.spans[uid].remote:
                return uid
        return parent


@lru_cache(maxsize=32)
def kinship(clean: TraceSet) -> Kinship:
    """Give a set's relations, worked out once."""
    return Kinship(clean)
