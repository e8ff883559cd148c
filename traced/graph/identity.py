"""Whom a caller may have called: services, by name, address, what its like usually reached, or what it says of the operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from traced.graph.called import VERB
from traced.model.span import SpanKind


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """What a caller says of whom it calls: the same for many callers."""

    service: str
    kind: int
    name: str
    called: str
    peer_name: str
    rpc_service: str
    messaging_system: str
    messaging_destination: str
    expected: str


@dataclass(frozen=True, slots=True)
class ReceiverIdentity:
    """What a receiver says of itself."""

    service: str
    kind: int
    name: str
    rpc_service: str
    messaging_system: str
    messaging_destination: str
    server_address: str


def _nobody(_name: object) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What was learned of names.

    Attributes:
        answered: of a caller's (service, what it is called, peer name), the services that answered its like.
        reached: of an address or peer name, the services that anybody reached there.
    """

    answered: Callable[[tuple[str, str, str]], frozenset[str]] = _nobody
    reached: Callable[[str], frozenset[str]] = _nobody


def may_call(callers: Iterable[CallerIdentity], receivers: Iterable[ReceiverIdentity], known: Knowledge) -> dict[CallerIdentity, frozenset[ReceiverIdentity]]:
    """Give, for each caller identity, the receiver identities that it may have reached; without a common identity none."""
    taking = list(receivers)
    services = {r.service for r in taking}
    by_name = _sole_service(taking, lambda r: r.name if not VERB.match(r.name) else "")
    by_rpc = _sole_service(taking, lambda r: r.rpc_service)
    result = {}
    for caller in callers:
        named = _named(caller, known) & services
        if not named and not caller.expected and caller.kind != SpanKind.SERVER:
            named = {by_name.get(caller.name, ""), by_rpc.get(caller.rpc_service, "")} - {""}
        result[caller] = frozenset(r for r in taking if _fits(caller, r, named))
    return result


def _named(caller: CallerIdentity, known: Knowledge) -> set[str]:
    """Name the services that a caller's own words or its like's answers lead to."""
    if caller.expected:
        return {caller.expected}
    if caller.kind == SpanKind.SERVER:
        return set()  # its name is its own, not that of whom it called
    names = set(known.answered((caller.service, caller.called, caller.peer_name)))
    if caller.peer_name:
        # the first label of a host name is the service's in Kubernetes (cart.shop.svc.cluster.local) and in Compose
        names |= {*known.reached(caller.peer_name), caller.peer_name, caller.peer_name.split(".")[0]}
    return names - {""}


def _sole_service(receivers: Iterable[ReceiverIdentity], key: Callable[[ReceiverIdentity], str]) -> dict[str, str]:
    """Give the names that lead to one service only."""
    found: dict[str, set[str]] = {}
    for receiver in receivers:
        if receiver.kind == SpanKind.SERVER and (text := key(receiver)):
            found.setdefault(text, set()).add(receiver.service)
    return {text: next(iter(services)) for text, services in found.items() if len(services) == 1}


def _fits(caller: CallerIdentity, receiver: ReceiverIdentity, named: set[str]) -> bool:
    """Say whether a receiver may answer: kinds that go together, and one identity in common."""
    if receiver.kind == SpanKind.CONSUMER:
        if caller.kind == SpanKind.CLIENT and not caller.messaging_system:
            return False
        same_place = (caller.messaging_system, caller.messaging_destination) == (receiver.messaging_system, receiver.messaging_destination)
        return (same_place and bool(caller.messaging_destination)) or (caller.kind == SpanKind.PRODUCER and receiver.service in named)
    if caller.kind == SpanKind.CLIENT and caller.messaging_system:
        return False
    return receiver.service in named or bool(caller.peer_name and caller.peer_name == receiver.server_address)
