"""Whom a caller may have called: services, by name, address, what its like usually reached, or what it says of the operation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from traced.graph.called import VERB
from traced.graph.columns import Ints, Mask
from traced.graph.service_keys import name_of
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


@dataclass(frozen=True, slots=True)
class Reach:
    """Which identities may belong together; those that nothing tells apart are of one class, since names may hold ids and be without number.

    Attributes:
        caller, receiver: each identity's class.
        fits: of a caller's class and a receiver's class, whether the one may have called the other.
    """

    caller: Ints
    receiver: Ints
    fits: Mask


_Destination = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Calling:
    """What decides of a caller: its kind, the services that it may mean, the address that a receiver gives as its own, where its message went."""

    kind: int
    services: frozenset[str]
    address: str
    place: _Destination


@dataclass(frozen=True, slots=True)
class _Taking:
    """What decides of a receiver."""

    consumer: bool
    service: str
    address: str
    place: _Destination


def may_call(callers: Sequence[CallerIdentity], receivers: Sequence[ReceiverIdentity], known: Knowledge) -> Reach:
    """Say, for each caller identity, which receiver identities it may have reached; without a common identity none."""
    services, addresses = {r.service for r in receivers}, {r.server_address for r in receivers}
    by_name = _sole_service(receivers, lambda r: r.name if not VERB.match(r.name) else "")
    by_rpc = _sole_service(receivers, lambda r: r.rpc_service)
    calling = []
    for caller in callers:
        named = _named(caller, known) & services
        if caller.kind != SpanKind.SERVER and not (named and _sure(caller, known)):
            # the operation's name may say more than an address where others answer, as a proxy's
            named |= {by_name.get(caller.name, ""), by_rpc.get(caller.rpc_service, "")} - {""}
        address = caller.peer_name if caller.peer_name in addresses else ""
        calling.append(_Calling(caller.kind, frozenset(named), address, (caller.messaging_system, caller.messaging_destination)))
    taking = [_Taking(r.kind == SpanKind.CONSUMER, r.service, r.server_address, (r.messaging_system, r.messaging_destination)) for r in receivers]
    (mine, caller_class), (theirs, receiver_class) = _classes(calling), _classes(taking)
    fits: Mask = np.array([[_fits(c, r) for r in theirs] for c in mine], bool).reshape(len(mine), len(theirs))
    return Reach(caller_class, receiver_class, fits)


_Class = TypeVar("_Class", bound=Hashable)


def _classes(of: Iterable[_Class]) -> tuple[list[_Class], Ints]:
    numbers: dict[_Class, int] = {}
    places = np.array([numbers.setdefault(one, len(numbers)) for one in of], np.int64)
    return list(numbers), places


def _named(caller: CallerIdentity, known: Knowledge) -> set[str]:
    """Name the services that a caller's own words or its like's answers lead to."""
    if caller.expected:
        return {caller.expected}
    if caller.kind == SpanKind.SERVER:
        return set()  # its name is its own, not that of whom it called
    names = {name_of(service) for service in known.answered((caller.service, caller.called, caller.peer_name))}
    if caller.peer_name:
        # the first label of a host name is the service's in Kubernetes (cart.shop.svc.cluster.local) and in Compose
        names |= {*known.reached(caller.peer_name), caller.peer_name, caller.peer_name.split(".")[0]}
    return names - {""}


def _sure(caller: CallerIdentity, known: Knowledge) -> bool:
    """Say whether a caller means whom it names: its like was answered before, or it gives a service's own name."""
    return bool(caller.expected or known.answered((caller.service, caller.called, caller.peer_name)) or not known.reached(caller.peer_name))


def _sole_service(receivers: Iterable[ReceiverIdentity], key: Callable[[ReceiverIdentity], str]) -> dict[str, str]:
    """Give the names that lead to one service only."""
    found: dict[str, set[str]] = {}
    for receiver in receivers:
        if receiver.kind == SpanKind.SERVER and (text := key(receiver)):
            found.setdefault(text, set()).add(receiver.service)
    return {text: next(iter(services)) for text, services in found.items() if len(services) == 1}


def _fits(caller: _Calling, receiver: _Taking) -> bool:
    """Say whether a receiver may answer: kinds that go together, and one identity in common."""
    system, destination = caller.place
    if receiver.consumer:
        if caller.kind == SpanKind.CLIENT and not system:
            return False
        return (caller.place == receiver.place and bool(destination)) or (caller.kind == SpanKind.PRODUCER and receiver.service in caller.services)
    if caller.kind == SpanKind.CLIENT and system:
        return False
    return receiver.service in caller.services or bool(caller.address and caller.address == receiver.address)
