"""What is said of a migration: its phase, who sends and takes what, and the verdict of each gate with all its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from traced.model.finding import Example, timestamp
from traced.model.migration import EXIT_CODES, Code, Gate, Phase, Shape, State, Verdict, VerdictRecord

_NANOS: Final = 1_000_000_000


def moment(unix_seconds: float) -> str:
    """Give a time as RFC 3339 in UTC with nanoseconds, as all surfaces do."""
    return timestamp(round(unix_seconds) * _NANOS)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a gate from being safe.

    Attributes:
        state: broken (the answer is no) or unknown (it cannot be said).
        consumer: whom it is about, where it is about one; else empty.
        next_safe_actions: what would settle it.
    """

    code: Code
    state: State
    detail: str
    consumer: str = ""
    examples: tuple[Example, ...] = ()
    next_safe_actions: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside a verdict's `reasons`."""
        return {
            "code": str(self.code),
            "state": str(self.state),
            "consumer": self.consumer or None,
            "detail": self.detail,
            "examples": [one.as_dict() for one in self.examples],
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a gate with all that is said of it."""

    code: Code
    state: State
    detail: str
    examples: tuple[Example, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `conditions`."""
        return {"name": str(self.code), "state": str(self.state), "detail": self.detail, "examples": [one.as_dict() for one in self.examples]}


@dataclass(frozen=True, slots=True)
class ConsumerStatement:
    """What the window says of one consumer of the inventory.

    Attributes:
        units: sampled traces in which it used the new schema: at least so many.
        old: messages of the old schema that it used.
        unknown: messages of an unknown version that it took.
        unproven: messages of which only the receipt is known.
        probability: with which its traces are kept, the smallest that is known; None where nobody says.
        probability_source: measured, declared, both or unknown.
        unseen_share: the largest share of old use that is still possible; None of one that is judged by its runs.
        unseen_uses: how many old uses may have gone unseen; None where the probability is not known.
        runs_needed: of a periodic consumer; None of others, or where the probability is not known.
        needed_seconds: how much listening time it takes to see an old use that comes once in its longest period; None where the probability is not known.
        clean_seconds: how much there is.
    """

    consumer: str
    environment: str
    units: int
    old: int
    unknown: int
    unproven: int
    probability: float | None
    probability_source: str
    unseen_share: float | None
    unseen_uses: int | None
    runs_needed: int | None
    needed_seconds: float | None
    clean_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside a verdict's `consumers`."""
        return {
            "consumer": self.consumer,
            "environment": self.environment or None,
            "units": self.units,
            "old": self.old,
            "unknown": self.unknown,
            "unproven": self.unproven,
            "p": self.probability,
            "p_source": self.probability_source,
            "unseen_share": None if self.unseen_share is None else round(self.unseen_share, 6),
            "unseen_uses": self.unseen_uses,
            "runs_needed": self.runs_needed,
            "needed_seconds": None if self.needed_seconds is None else round(self.needed_seconds),
            "clean_seconds": round(self.clean_seconds),
        }


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A reason that somebody accepts (`--accept CODE:REASON`): printed and counted; it never makes a SAFE."""

    code: Code
    reason: str


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """The answer of one gate.

    Attributes:
        sentence: the answer in one line, for somebody who was woken by it.
        since_unix_seconds: the begin of the window; `as_of_unix_seconds` is its end.
        exposed_until_unix_seconds: until when the old schema counts as on offer: the end, or the cutoff.
        needed_seconds: how much listening time the exposed part of the window had to hold.
        listened_seconds: how much it held.
        reasons: all of them, in the order of `Code`.
        left_out: consumers that are listed and do not count, each with why.
        warnings: what makes one careful and changes no verdict.
    """

    migration: str
    gate: Gate
    verdict: Verdict
    shape: Shape
    sentence: str
    provable: str
    not_provable: str
    as_of_unix_seconds: float
    valid_until_unix_seconds: float
    since_unix_seconds: float
    exposed_until_unix_seconds: float
    needed_seconds: float
    listened_seconds: float
    confidence: float
    reasons: tuple[Reason, ...]
    conditions: tuple[Condition, ...]
    consumers: tuple[ConsumerStatement, ...]
    services_seen: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    accepted: tuple[Acceptance, ...] = ()

    @property
    def exit_code(self) -> int:
        """Give the exit code of `traced migration check`: the same for every format."""
        return EXIT_CODES[self.verdict]

    @property
    def next_safe_actions(self) -> tuple[str, ...]:
        """Give what would settle the reasons, each once."""
        return tuple(dict.fromkeys(action for reason in self.reasons for action in reason.next_safe_actions))

    def record(self, *, explicit: bool) -> VerdictRecord:
        """Give it as it is remembered."""
        codes = tuple(dict.fromkeys(reason.code for reason in self.reasons))
        return VerdictRecord(self.migration, self.gate, self.verdict, self.as_of_unix_seconds, self.valid_until_unix_seconds, codes, explicit)

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `traced migration check`, and of `gates` in `analyze`."""
        return {
            "status": "ok",
            "migration": self.migration,
            "gate": str(self.gate),
            "verdict": str(self.verdict),
            "sentence": self.sentence,
            "shape": str(self.shape),
            "provable": self.provable,
            "not_provable": self.not_provable,
            "as_of": moment(self.as_of_unix_seconds),
            "valid_until": moment(self.valid_until_unix_seconds),
            "window": {
                "from": moment(self.since_unix_seconds),
                "to": moment(self.as_of_unix_seconds),
                "exposed_until": moment(self.exposed_until_unix_seconds),
                "needed_seconds": round(self.needed_seconds),
                "listened_seconds": round(self.listened_seconds),
            },
            "confidence": self.confidence,
            "reasons": [one.as_dict() for one in self.reasons],
            "conditions": [one.as_dict() for one in self.conditions],
            "consumers": [one.as_dict() for one in self.consumers],
            "services_seen": list(self.services_seen),
            "left_out": list(self.left_out),
            "warnings": list(self.warnings),
            "accepted": [{"code": str(one.code), "reason": one.reason} for one in self.accepted],
            "next_safe_actions": list(self.next_safe_actions),
        }


@dataclass(frozen=True, slots=True)
class ProducerCount:
    """What one service published in the window: sampled messages.

    Attributes:
        both_messages: how many messages went out in both schemas: the smaller of the two numbers.
        unknown_messages: of which no version is known.
        last_old_unix_seconds: when the last old one came; None where none did.
    """

    service: str
    old_messages: int
    new_messages: int
    both_messages: int
    unknown_messages: int
    last_old_unix_seconds: float | None

    @property
    def publishes(self) -> str:
        """Say what it publishes: `old`, `both`, `new` or `unknown`."""
        if self.old_messages and self.new_messages:
            return "both"
        return "old" if self.old_messages else "new" if self.new_messages else "unknown"

    @property
    def complete(self) -> float | None:
        """Give how complete its dual publishing is, 0 to 1; None where it sends none."""
        most = max(self.old_messages, self.new_messages)
        return self.both_messages / most if most else None

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `producers`."""
        return {
            "service": self.service,
            "publishes": self.publishes,
            "old_messages": self.old_messages,
            "new_messages": self.new_messages,
            "both_messages": self.both_messages,
            "unknown_messages": self.unknown_messages,
            "complete": None if self.complete is None else round(self.complete, 4),
            "last_old": None if self.last_old_unix_seconds is None else moment(self.last_old_unix_seconds),
        }


@dataclass(frozen=True, slots=True)
class ConsumerCount:
    """What one consumer took of one version in the window: sampled messages.

    Attributes:
        side: old, new, unknown or other.
        first_seen_unix_nano: by the consumer's clock.
        last_seen_unix_nano: likewise.
        longest_silence_seconds: the longest time without any in the window, up to its end.
        trend: none, begun, growing, steady, shrinking or gone: the second half of the window against the first.
    """

    service: str
    consumer: str
    side: str
    message_schema_version: str
    messages: int
    first_seen_unix_nano: int
    last_seen_unix_nano: int
    longest_silence_seconds: float
    trend: str

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `consumers` of a migration."""
        return {
            "service": self.service,
            "consumer": self.consumer,
            "side": self.side,
            "message_schema_version": self.message_schema_version,
            "messages": self.messages,
            "first_seen": timestamp(self.first_seen_unix_nano),
            "last_seen": timestamp(self.last_seen_unix_nano),
            "longest_silence_seconds": round(self.longest_silence_seconds),
            "trend": self.trend,
        }


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """All that is said of one migration."""

    name: str
    phase: Phase
    gates: tuple[GateVerdict, ...]
    producers: tuple[ProducerCount, ...]
    consumers: tuple[ConsumerCount, ...]

    def gate(self, wanted: Gate) -> GateVerdict:
        """Give the verdict of one gate."""
        return next(one for one in self.gates if one.gate is wanted)

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `analyze` and of `/api/v1/migrations/{name}`."""
        return {
            "name": self.name,
            "phase": str(self.phase),
            "gates": [one.as_dict() for one in self.gates],
            "producers": [one.as_dict() for one in self.producers],
            "consumers": [one.as_dict() for one in self.consumers],
        }


@dataclass(frozen=True, slots=True)
class FoundMigration:
    """Two schemas that flow side by side, of which no configuration speaks.

    Attributes:
        detail: what was seen, in a sentence.
        configuration: the YAML to add, a list of one under `migrations:`.
    """

    name: str
    detail: str
    configuration: str

    def as_dict(self) -> dict[str, str]:
        """Give the JSON shape inside `found`."""
        return {"name": self.name, "detail": self.detail, "configuration": self.configuration}


def verdict_of(reasons: Sequence[Reason]) -> Verdict:
    """Give the verdict that reasons make: NOT_SAFE beats NOT_ENOUGH_EVIDENCE beats SAFE."""
    states = {reason.state for reason in reasons}
    return Verdict.NOT_SAFE if State.BROKEN in states else Verdict.NOT_ENOUGH_EVIDENCE if states else Verdict.SAFE
