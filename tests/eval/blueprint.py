"""The words in which a world is described: services, what they offer, what they do for it, who asks.

Durations are medians of lognormal distributions in milliseconds; shares are chances from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

PROXY_SUFFIX = "-proxy"
"""What a sidecar is called after its pod's service."""


class Address(Enum):
    """How callers name a service in `server.address`."""

    NAME = auto()
    DNS = auto()
    IP = auto()


class Retry(Enum):
    """How a call is repeated when it fails."""

    NEVER = auto()
    WITHIN = auto()
    """Below the instrumentation: one CLIENT span, a SERVER span for each attempt."""
    ACROSS = auto()
    """Above it: a CLIENT span for each attempt."""


class Delivery(Enum):
    """How a consumer's spans belong to the message's."""

    PARENT = auto()
    LINK = auto()
    BATCH = auto()
    """A listener takes what has come since its last run: one root CONSUMER span with a link to each message."""
    JOB = auto()
    """A scheduled job polls: an INTERNAL root, a CLIENT span that receives, a CONSUMER span with a link for each message."""


@dataclass(frozen=True)
class Service:
    """One service.

    Attributes:
        language: its SDK; decides names of spans and flags (`dotnet` sets none here).
        address: how others name it.
        old: it follows the semantic conventions of 2022 and sends no flags.
        clients: it emits CLIENT spans; a gateway like nginx emits SERVER spans only.
        reports: its spans arrive; a browser passes a context on and reports elsewhere.
    """

    name: str
    language: str = "java"
    instances: int = 2
    namespace: str = ""
    version: str = "2.3.1"
    port: int = 8080
    address: Address = Address.NAME
    old: bool = False
    clients: bool = True
    reports: bool = True


@dataclass(frozen=True)
class Local:
    """Own work in an INTERNAL span."""

    name: str
    steps: tuple[Step, ...] = ()
    work: float = 1.0


@dataclass(frozen=True)
class Later:
    """Work that goes on after the answer was given: an INTERNAL span that ends after its parent."""

    name: str
    steps: tuple[Step, ...] = ()
    after: float = 20.0


@dataclass(frozen=True)
class Call:
    """A call of another service.

    Attributes:
        endpoint: which, by its name.
        share: how often it happens.
        refused: how often nobody answers; `timeout` after how many ms the caller gives up (0: never).
        via: the name of a gateway in between that emits nothing and passes headers on; then `bounced` is how often it answers 503
            itself, and `cached` how often 200.
        stream: the caller may close early while the server goes on.
        attempt_span: the client library puts an INTERNAL span between CLIENT and SERVER.
    """

    endpoint: str
    share: float = 1.0
    refused: float = 0.0
    timeout: float = 0.0
    retry: Retry = Retry.NEVER
    via: str = ""
    bounced: float = 0.0
    cached: float = 0.0
    stream: bool = False
    attempt_span: bool = False


@dataclass(frozen=True)
class Query:
    """A database or cache, which has no spans of its own."""

    system: str
    statement: str
    address: str
    work: float = 1.5
    share: float = 1.0


@dataclass(frozen=True)
class Outside:
    """A call of somebody else's API."""

    host: str
    method: str = "POST"
    work: float = 40.0


@dataclass(frozen=True)
class Publish:
    """A message sent."""

    topic: str
    share: float = 1.0


@dataclass(frozen=True)
class Together:
    """Steps that begin at once."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Wait:
    """Time without a span."""

    work: float


Step = Local | Later | Call | Query | Outside | Publish | Together | Wait


@dataclass(frozen=True)
class Endpoint:
    """What a service offers.

    Attributes:
        name: `GET /cart/{id}` for HTTP, `shop.Cart/Get` for gRPC.
        work: its own time.
        errors: how often it fails with `failure` as status; `missing` how often it answers 404 (HTTP only).
    """

    name: str
    service: str
    steps: tuple[Step, ...] = ()
    work: float = 2.0
    errors: float = 0.0
    failure: int = 500
    missing: float = 0.0

    @property
    def http(self) -> bool:
        """Tell HTTP from gRPC."""
        return " /" in self.name


@dataclass(frozen=True)
class Topic:
    """A destination of messages; Kafka numbers them by partition, other brokers give each an id."""

    name: str
    system: str = "kafka"


@dataclass(frozen=True)
class Subscription:
    """Who consumes.

    Attributes:
        delay: from sending to consuming.
        period: how often a batch is taken.
    """

    topic: str
    service: str
    steps: tuple[Step, ...] = ()
    delivery: Delivery = Delivery.PARENT
    group: str = ""
    delay: float = 15.0
    period: float = 2_000.0


@dataclass(frozen=True)
class Entry:
    """How traces begin: with a request for an endpoint, or with steps in a service that nobody asked for.

    Attributes:
        agent: the user agent of who asks.
    """

    weight: float
    endpoint: str = ""
    service: str = ""
    steps: tuple[Step, ...] = ()
    agent: str = "Mozilla/5.0"


@dataclass(frozen=True)
class Blueprint:
    """One world.

    Attributes:
        traces: how many requests come in.
        load: mean number of requests under way on an edge.
        sidecars: each pod has a proxy that adds its own SERVER and CLIENT span on the way in and out.
        outside: services that are no part of the system.
        numbered: each request has an id that all its SERVER and CLIENT spans carry as `request.id`.
    """

    name: str
    services: tuple[Service, ...]
    endpoints: tuple[Endpoint, ...]
    entries: tuple[Entry, ...]
    topics: tuple[Topic, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    sidecars: bool = False
    hosts: int = 4
    traces: int = 300
    load: float = 2.0
    outside: frozenset[str] = frozenset()
    numbered: bool = False
