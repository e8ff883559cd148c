"""A damaged set beside the clean one, by the numbers of their spans: what every rule of truth asks."""

from __future__ import annotations

from collections import Counter
from functools import cache, cached_property
from math import exp, lgamma, log

from .damage import Cut, Damaged
from .kinship import Kinship, kinship
from .traces import RECEIVING, Fate, Key, Kind, Span, TraceSet

_SLOT_CALLS, _SLOT_SHARE = 30, 0.8
"""Of calls of one kind and outcome: at least so many, and surely more than that share answered, or a lonely one proves nothing."""
_DOUBT = 0.05
_SILENT_CALLS = 30
_PEER = ("peer.service", "server.address", "net.peer.name")
_HTTP_STATUS, _RPC_STATUS = ("http.response.status_code", "http.status_code"), ("rpc.grpc.status_code",)

Slot = tuple[object, ...]


@cache
def surely_above(part: int, whole: int, share: float) -> bool:
    """Tell whether the one-sided 95 % Clopper-Pearson bound of part of whole is at least a share."""
    logs = (log(share), log(1 - share))
    terms = (lgamma(whole + 1) - lgamma(n + 1) - lgamma(whole - n + 1) + n * logs[0] + (whole - n) * logs[1] for n in range(part, whole + 1))
    return sum(map(exp, terms)) <= _DOUBT


class Aftermath:
    """What became of each span.

    Attributes:
        kin: the relations before the damage.
        here: uid to the span as it arrived.
        fates: uid to why it did not.
        cuts: uid to what became of its caller's context.
    """

    def __init__(self, clean: TraceSet, damaged: Damaged) -> None:
        self.clean, self.damaged = clean, damaged
        self.kin: Kinship = kinship(clean)
        self.here: dict[int, Span] = {s.uid: s for s in damaged.spans if s.uid < len(clean.spans)}
        self.fates, self.cuts = damaged.fates, damaged.cuts

    def key(self, uid: int) -> Key:
        """Name a span that arrived."""
        return self.here[uid].key

    def was(self, uid: int) -> Span:
        """Give a span as it really happened."""
        return self.clean.spans[uid]

    def answers(self, uid: int) -> list[int]:
        """Give the receiving spans that a sending span caused."""
        return self.kin.answers.get(uid, [])

    def attached(self, answer: int) -> bool:
        """Tell whether a receiving span arrived and still names who called it, or links to it."""
        return answer in self.here and self.cuts.get(answer) in (None, Cut.LINKED, Cut.FORWARDED)

    def calls(self, kind: Kind = Kind.CLIENT) -> list[int]:
        """Give the sending spans of a kind that arrived and that somebody really answered."""
        return [u for u in self.here if self.was(u).kind is kind and self.answers(u)]

    def callee(self, uid: int) -> str:
        """Name the service that a sending span called."""
        return self.was(self.answers(uid)[0]).service

    def surely_answered(self, uid: int) -> bool:
        """Tell whether a call shows that the service itself answered: a proxy, or the caller's own library, may have made up some errors."""
        span = self.was(uid)
        status, code = (next((span.attributes[k] for k in keys if k in span.attributes), None) for keys in (_HTTP_STATUS, _RPC_STATUS))
        return span.responded and status not in (502, 503, 504) and code not in (1, 4, 14)

    def slot(self, uid: int) -> Slot:
        """Give what calls of one kind and outcome have in common."""
        span = self.was(uid)
        peer = next((span.attributes[k] for k in _PEER if k in span.attributes), "")
        status = next((span.attributes[k] for k in (*_HTTP_STATUS, *_RPC_STATUS) if k in span.attributes), "")
        return (span.service, span.name, peer, span.error, status, span.attributes.get("error.type", ""))

    @cached_property
    def _slots(self) -> tuple[Counter[Slot], Counter[Slot]]:
        slots = {u: self.slot(u) for u in self.here if self.was(u).kind is Kind.CLIENT}
        return Counter(slots.values()), Counter(slot for u, slot in slots.items() if any(self.attached(a) for a in self.answers(u)))

    def regularly_answered(self, uid: int) -> bool:
        """Tell whether calls like this one are answered by a span so regularly that one without is noticed."""
        made, answered = (counts[self.slot(uid)] for counts in self._slots)
        return made >= _SLOT_CALLS and surely_above(answered, made, _SLOT_SHARE)

    @cached_property
    def _unanswered_by_silent(self) -> Counter[str]:
        calls = (u for u in self.calls() if self.surely_answered(u))
        return Counter(self.callee(u) for u in calls if all(self.fates.get(a) in (Fate.SILENT, Fate.WENT_SILENT) for a in self.answers(u)))

    def notably_silent(self, uid: int) -> bool:
        """Tell whether the silent service that a call went to was called often enough to be noticed, and is what the call names.

        A call through a proxy names another: the service behind it, or the proxy before it.
        """
        return self._unanswered_by_silent[self.callee(uid)] >= _SILENT_CALLS and not self.misnamed(uid)

    def misnamed(self, uid: int) -> bool:
        """Tell whether a call's address is a name, and not that of the service that took it."""
        attributes = self.was(uid).attributes
        address = str(next((attributes[k] for k in _PEER if k in attributes), ""))
        return not address[:1].isdigit() and address.split(".", maxsplit=1)[0] not in ("", self.callee(uid))

    @cached_property
    def _reporting(self) -> frozenset[str]:
        return frozenset(s.service for s in self.clean.spans)

    def behind_a_silent_hop(self, uid: int) -> bool:
        """Tell whether a call went to a name that no service bears: something between, which emits nothing, is the direct caller."""
        attributes = self.was(uid).attributes
        address = str(next((attributes[k] for k in _PEER if k in attributes), ""))
        return self.misnamed(uid) and address.split(".", maxsplit=1)[0] not in self._reporting

    @cached_property
    def intact_by_process(self) -> Counter[tuple[int, str, tuple[str, str]]]:
        """Count the calls whose context got through by side (0 the caller's, 1 the receiver's), instance on that side, and edge."""
        receivers = [u for u in self.here if u in self.kin.caller and self.was(u).kind in RECEIVING and u not in self.cuts]
        return Counter(where for u in receivers for where in self.processes(u))

    def processes(self, uid: int) -> tuple[tuple[int, str, tuple[str, str]], tuple[int, str, tuple[str, str]]]:
        """Name both processes of a receiver's call, as `intact_by_process` does."""
        caller, callee = self.was(self.kin.caller[uid]), self.was(uid)
        edge = caller.service, callee.service
        return (0, caller.resource.instance, edge), (1, callee.resource.instance, edge)

    @cached_property
    def intact_edges(self) -> Counter[tuple[str, str]]:
        """Count the calls whose context got through by (caller, callee), whether the caller's span arrived or not."""
        receivers = (u for u in self.here if u in self.kin.caller and self.was(u).kind in RECEIVING and u not in self.cuts)
        return Counter((self.was(self.kin.caller[u]).service, self.was(u).service) for u in receivers)
