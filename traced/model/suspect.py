"""A suspect: one thing to mend, and the findings that go when it is mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from traced.model.occurrence import Level


class SuspectKind(StrEnum):
    """What sort of place a suspect is."""

    EDGE = "edge"
    HOST_PAIR = "host_pair"
    OPERATION = "operation"
    INSTANCE = "instance"
    """A service whose evidence all lies on one instance."""
    SERVICE = "service"
    HOST = "host"
    COLLECTOR = "collector"
    CALLER = "caller"
    """What calls a service, where nothing names it."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One place with one defect, which explains findings.

    Attributes:
        rank: 1 is what to mend first.
        kind: what sort of place it is.
        defect: what is wrong there, from the closed list of `traced.graph.defects`.
        known: what is to be mended is known; False where the findings only lie at this place.
        place: the place as people say it: `cart`, `web → cart`, `shop-a and shop-b`.
        service: the service; of an edge the one that is called; of hosts that of the finding that says most.
        peer: of an edge the one that calls; of hosts the other side of that finding; else empty.
        instance: its id where all evidence of a service lies on one instance, else empty.
        level: the worst of its findings.
        confidence: the chance that it is right, 0 to 1: the mean over the occurrences that name it.
        findings: fingerprints of what it explains, worst first; each open finding belongs to one suspect.
        occurrences: open occurrences of all of these.
        message: one sentence for people: what is wrong there.
        how_to_fix: the first step, of the finding that names it most often.
    """

    rank: int
    kind: SuspectKind
    defect: str
    known: bool
    place: str
    service: str
    peer: str
    instance: str
    level: Level
    confidence: float
    findings: tuple[str, ...]
    occurrences: int
    message: str
    how_to_fix: str

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `analyze --format json` and `/api/v1/findings`."""
        return {
            "rank": self.rank,
            "kind": str(self.kind),
            "defect": self.defect,
            "known": self.known,
            "place": self.place,
            "service": self.service,
            "peer": self.peer or None,
            "instance": self.instance or None,
            "level": str(self.level),
            "confidence": round(self.confidence, 4),
            "count": len(self.findings),
            "occurrences": self.occurrences,
            "findings": list(self.findings),
            "message": self.message,
            "how_to_fix": self.how_to_fix,
        }


@dataclass(frozen=True, slots=True)
class Suspects:
    """What to mend, first things first.

    Attributes:
        ranked: the suspects by rank.
        not_grouped: findings that a limit left out; the mildest.
    """

    ranked: tuple[Suspect, ...] = ()
    not_grouped: int = 0
