"""A dual-publish migration as it was configured, and what is said about it: nouns that the settings make and that verdicts are made of.

Times are unix seconds, durations seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Shape(StrEnum):
    """How old and new live side by side; it decides what can be proved."""

    TWO_DESTINATIONS = "two_destinations"
    """Each schema has a destination (or a route) of its own."""
    TWO_MESSAGES = "two_messages"
    """Both are sent to one destination, each in messages of its own."""
    ONE_MESSAGE = "one_message"
    """One message holds the fields of both."""


class Gate(StrEnum):
    """What one asks before a step that is hard to take back."""

    STOP_PUBLISH = "stop-publish"
    """Does anyone use the old schema from now on?"""
    REMOVE_SCHEMA = "remove-schema"
    """And can any stored old message still be read?"""


class Verdict(StrEnum):
    """The answer of a gate; NOT_SAFE beats NOT_ENOUGH_EVIDENCE beats SAFE."""

    SAFE = "SAFE"
    NOT_SAFE = "NOT_SAFE"
    NOT_ENOUGH_EVIDENCE = "NOT_ENOUGH_EVIDENCE"


EXIT_CODES: Final[Mapping[Verdict, int]] = {Verdict.SAFE: 0, Verdict.NOT_SAFE: 1, Verdict.NOT_ENOUGH_EVIDENCE: 3}
"""Of `traced migration check`; whatever is asked of the output, only SAFE is 0."""


class Phase(StrEnum):
    """How far a migration has got."""

    NOT_STARTED = "not_started"
    DUAL_PUBLISH = "dual_publish"
    CONSUMERS_MOVING = "consumers_moving"
    CONSUMERS_MOVED = "consumers_moved"
    OLD_REMOVED = "old_removed"
    UNKNOWN = "unknown"


class State(StrEnum):
    """Of a condition: broken makes NOT_SAFE, unknown NOT_ENOUGH_EVIDENCE."""

    MET = "met"
    BROKEN = "broken"
    UNKNOWN = "unknown"


class Code(StrEnum):
    """The conditions of the two gates, by what is said where one is not met."""

    OLD_USE_SEEN = "old_use_seen"
    OLD_STILL_PUBLISHED = "old_still_published"
    OLD_MESSAGE_PARKED = "old_message_parked"
    SUNSET_NOT_REACHED = "sunset_not_reached"
    NO_INVENTORY = "no_inventory"
    INVENTORY_INCOMPLETE = "inventory_incomplete"
    CONSUMER_NOT_SEEN = "consumer_not_seen"
    UNKNOWN_VERSION = "unknown_version"
    WINDOW_TOO_SHORT = "window_too_short"
    SAMPLING_UNKNOWN = "sampling_unknown"
    SHARE_BOUND_TOO_WIDE = "share_bound_too_wide"
    CAPTURE_GAP = "capture_gap"
    OLD_NOT_OFFERED = "old_not_offered"
    SHAPE_CANNOT_PROVE = "shape_cannot_prove"
    CONSUMER_UNRESOLVED = "consumer_unresolved"
    SERVICE_SILENT = "service_silent"
    ATTESTATION_MISSING = "attestation_missing"


REMOVE_ONLY: Final = frozenset({Code.OLD_STILL_PUBLISHED, Code.OLD_MESSAGE_PARKED, Code.ATTESTATION_MISSING})
"""Conditions that only `remove-schema` has."""


def conditions_of(gate: Gate) -> tuple[Code, ...]:
    """Name the conditions of a gate, in the order in which they are shown."""
    return tuple(code for code in Code if gate is Gate.REMOVE_SCHEMA or code not in REMOVE_ONLY)


class AttestationKind(StrEnum):
    """What people say of stored old messages, since spans never prove that there is none."""

    RETENTION_ELAPSED = "retention_elapsed"
    """The topic's retention has gone by since the last old message; also of compacted topics, and of readers that begin at the earliest."""
    TOPIC_SCANNED = "topic_scanned"
    """The topic was read through, and holds no old message: as good as elapsed retention."""
    DEAD_LETTERS_EMPTY = "dead_letters_empty"
    """Queues of dead letters, of retries and of delayed messages hold no old one."""
    STORES_CHECKED = "stores_checked"
    """Message stores, outboxes and backups from which messages are sent again hold no old one."""
    SNAPSHOTS_EXPIRED = "snapshots_expired"
    """Snapshots to which a subscription may seek (Pub/Sub keeps them up to seven days) are gone."""


INSTEAD_OF: Final[Mapping[AttestationKind, AttestationKind]] = {AttestationKind.RETENTION_ELAPSED: AttestationKind.TOPIC_SCANNED}
"""What may be attested in the place of something else."""
REQUIRED_ATTESTATIONS: Final = (AttestationKind.RETENTION_ELAPSED, AttestationKind.DEAD_LETTERS_EMPTY, AttestationKind.STORES_CHECKED)
REQUIRED_BY_SYSTEM: Final[Mapping[str, tuple[AttestationKind, ...]]] = {"gcp_pubsub": (*REQUIRED_ATTESTATIONS, AttestationKind.SNAPSHOTS_EXPIRED)}

VERSION_ATTRIBUTES: Final[tuple[str, ...]] = (
    "message.schema.version",
    "messaging.header.schema_version",
    "messaging.header.schema-version",
    "messaging.header.ce_type",
    "messaging.header.ce_dataschema",
    "http.request.header.ce-type",
    "cloudevents.event_type",
    "destination",
    "route",
)
"""Where a version is looked for, in this order; `destination` and `route` are the names themselves."""
DISPOSITION_ATTRIBUTE: Final = "message.schema.disposition"
MAX_UNSEEN_SHARE: Final = 0.01
"""Which share of old use may be left unseen, where nothing else is configured."""
EVERY_SERVICE: Final = "*"
"""In declared sampling: services that are not named."""


@dataclass(frozen=True, slots=True)
class Side:
    """Where one of the two schemas is found.

    Attributes:
        destinations: all spellings of its destination.
        routes: of a contract of HTTP or RPC, its routes (or the names of its methods).
        versions: all spellings of its version; they are compared as text.
    """

    destinations: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Name its destinations and routes."""
        return self.destinations + self.routes


@dataclass(frozen=True, slots=True)
class Listed:
    """One consumer of the inventory.

    Attributes:
        service: its `service.name`.
        namespace: its `service.namespace`; "" for any.
        group: its group or subscription; "" for all groups that the service has: each of them has to be seen.
        longest_period_seconds: the longest time between two of its runs; None where the migration says it, or nobody.
        traces_per_run: how many traces a run makes at least, before sampling.
        decommissioned_by: who says that it is gone; "" where it is not.
        decommissioned_unix_seconds: since when.
        relay: it copies messages and does not interpret them.
        excluded: why it does not count; "" where it does.
    """

    service: str
    namespace: str = ""
    group: str = ""
    longest_period_seconds: float | None = None
    traces_per_run: int = 1
    decommissioned_by: str = ""
    decommissioned_unix_seconds: float | None = None
    relay: bool = False
    excluded: str = ""

    @property
    def name(self) -> str:
        """Name it as people read it: namespace/service/group, as far as they are given."""
        return "/".join(part for part in (self.namespace, self.service, self.group) if part)


@dataclass(frozen=True, slots=True)
class Attestation:
    """What somebody says of stored messages, and when it was so."""

    kind: AttestationKind
    at_unix_seconds: float
    by: str
    expires_unix_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration as it was configured; what each value means for a verdict is said in docs/configuration.md.

    Attributes:
        sampling: declared probabilities with which a service's traces are kept, by service; "*" stands for the others.
        tolerated_gap_seconds: how much of a window may be missing.
        other_versions: spellings that are neither old nor new: of other subjects on the channel, or of other migrations.
        sunset_unix_seconds: until when the old schema was promised; None where nobody did.
    """

    name: str
    shape: Shape
    old: Side
    new: Side
    consumers: tuple[Listed, ...] = ()
    system: str = ""
    environment: str = ""
    longest_period_seconds: float | None = None
    confidence: float = 0.95
    version_attributes: tuple[str, ...] = VERSION_ATTRIBUTES
    disposition_attribute: str = DISPOSITION_ATTRIBUTE
    business_key_attribute: str = ""
    sampling: Mapping[str, float] = field(default_factory=dict)
    max_unseen_share: float = MAX_UNSEEN_SHARE
    min_window_seconds: float = 14 * 86400.0
    valid_for_seconds: float = 86400.0
    max_unknown: float = 0.0
    cutoff_unix_seconds: float | None = None
    attestations: tuple[Attestation, ...] = ()
    required_attestations: tuple[AttestationKind, ...] = REQUIRED_ATTESTATIONS
    tolerated_gap_seconds: float = 0.0
    other_versions: tuple[str, ...] = ()
    sunset_unix_seconds: float | None = None

    @property
    def contract(self) -> bool:
        """Whether it is about calls (HTTP, RPC): then who calls chooses, and nothing is stored."""
        return bool(self.old.routes or self.new.routes)


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """One verdict as it is remembered.

    Attributes:
        reasons: the codes that were not met, each once, in the order of `Code`.
        explicit: somebody asked; else it is here because the verdict changed.
    """

    migration: str
    gate: Gate
    verdict: Verdict
    as_of_unix_seconds: float
    valid_until_unix_seconds: float
    reasons: tuple[Code, ...] = ()
    explicit: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON, as it is stored."""
        return {
            "migration": self.migration,
            "gate": str(self.gate),
            "verdict": str(self.verdict),
            "as_of": self.as_of_unix_seconds,
            "valid_until": self.valid_until_unix_seconds,
            "reasons": [str(code) for code in self.reasons],
            "explicit": self.explicit,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> VerdictRecord:
        """Read what `as_dict` gave.

        Raises:
            ValueError, KeyError, TypeError: it is not of that form.
        """
        return cls(
            str(stored["migration"]),
            Gate(stored["gate"]),
            Verdict(stored["verdict"]),
            float(stored["as_of"]),
            float(stored["valid_until"]),
            tuple(Code(code) for code in stored["reasons"]),
            bool(stored["explicit"]),
        )


MAX_RECORDS: Final = 200
"""Verdicts remembered of one gate of one migration: a check by every deployment of some weeks, or the changes of years."""


def recorded(history: Sequence[VerdictRecord], verdict: VerdictRecord, limit: int = MAX_RECORDS) -> tuple[VerdictRecord, ...]:
    """Give the history of one gate with a new verdict, the oldest first.

    A verdict is recorded if somebody asked for it, or if it or its reasons are others than those before. Of more than `limit` the oldest go; the one before the
    first that is kept is never needed to understand it, since each says all its reasons.
    """
    last = history[-1] if history else None
    if not verdict.explicit and last is not None and (last.verdict, last.reasons) == (verdict.verdict, verdict.reasons):
        return tuple(history)
    return (*history, verdict)[-limit:]
