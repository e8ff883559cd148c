"""Spans with what is known of them beyond what they say, and sets of traces: the currency of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

Value = str | int | bool | float
Key = tuple[str, str]
"""(trace id, span id), lower-case hex."""

MILLISECOND = 10**6
SECOND = 10**9
EPOCH = 1_760_000_000 * SECOND
"""When every generated world begins, in unix nanoseconds."""

SAMPLED = 0x01
HAS_IS_REMOTE = 0x100
IS_REMOTE = 0x200


class Kind(IntEnum):
    """OTLP's span kinds."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


SENDING = frozenset({Kind.CLIENT, Kind.PRODUCER})
RECEIVING = frozenset({Kind.SERVER, Kind.CONSUMER})


class Fate(StrEnum):
    """Why a span never arrived."""

    LOST = "lost"
    """Recorded, and lost on the way: queue, exporter, crash."""
    SAMPLED = "sampled"
    """Dropped on purpose by a sampler."""
    SILENT = "silent"
    """Its process never reports anything, though it passes contexts on."""
    WENT_SILENT = "went_silent"
    """Its service reported until a moment, and nothing since."""
    DISCONTINUED = "discontinued"
    """A new version does not record such spans any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One process: equal only to itself.

    Attributes:
        service: its `service.name`.
        instance: tells processes of one service apart.
        host: tells clocks apart; empty where nothing is known of it.
        language: its SDK's language; decides which flags it sends.
        attributes: what its spans carry as resource.
        flags: its SDK sets the bits that say whether a parent is remote.
    """

    service: str
    instance: str
    host: str
    language: str
    attributes: Mapping[str, Value]
    flags: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A span link; its target is (trace id, span id)."""

    target: Key
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it goes over the wire, and what only its maker knows.

    Attributes:
        uid: its place in the undamaged set, by which truth speaks of it; a repeat has the uid of what it repeats.
        start: unix nanoseconds by its own clock; so `end`.
        remote: its parent is in another process (known, whether `flags` says so or not).
        responded: a call that got a response; False where it was refused, timed out or cancelled.
        scope: attributes of the instrumentation scope.
    """

    uid: int
    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: Kind
    start: int
    end: int
    resource: Resource
    attributes: Mapping[str, Value] = field(default_factory=dict)
    remote: bool = False
    flags: int = 0
    trace_state: str = ""
    error: bool = False
    responded: bool = True
    links: tuple[Link, ...] = ()
    scope: Mapping[str, Value] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Name it as evidence does."""
        return (self.trace_id, self.span_id)

    @property
    def service(self) -> str:
        """Give its process's service."""
        return self.resource.service


@dataclass(frozen=True, eq=False)
class TraceSet:
    """What really happened, whole.

    Attributes:
        spans: each with its place as uid, in the order of their ends, those of processes that never report included.
        fates: what does not arrive even where nothing is damaged (uid to why).
        outside: services that are no part of the system: browsers, foreign callers.
    """

    name: str
    spans: tuple[Span, ...]
    fates: Mapping[int, Fate] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()
