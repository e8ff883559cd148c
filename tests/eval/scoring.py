"""Compares what was reported of one set with the truth about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto

from .claims import UNDECIDED, Allowed, Expected, Truth
from .evidence import Evidence
from .traces import Key
from .truth import JUDGED


class Verdict(StrEnum):
    """What a reported occurrence is."""

    FOUND = auto()
    AGAIN = auto()
    """Another span of an occurrence that was found already: neither right nor wrong."""
    ALLOWED = auto()
    FALSE = auto()
    ASIDE = auto()
    """Information about something that the truth does not speak of."""
    UNJUDGED = auto()


@dataclass(frozen=True, slots=True)
class Judged:
    """One reported occurrence with its verdict, and what it was compared with."""

    evidence: Evidence
    verdict: Verdict
    expected: Expected | None = None

    @property
    def asks_cause(self) -> bool:
        """Tell whether the truth knows a cause."""
        return self.expected is not None and bool(self.expected.causes)

    @property
    def decided(self) -> bool:
        """Tell whether a cause was decided on."""
        return self.evidence.cause not in UNDECIDED

    @property
    def cause_right(self) -> bool:
        """Tell whether the cause is one of the true ones; no cause where none was claimed is right."""
        return self.expected is not None and (not self.expected.causes or self.evidence.cause in ("", *self.expected.causes))

    @property
    def matched_right(self) -> bool:
        """Tell whether the span named as the match is the caller's."""
        return self.expected is not None and (not self.expected.matched or self.evidence.matched in self.expected.matched)

    @property
    def peer_right(self) -> bool:
        """Tell whether the other side is the true one."""
        return self.expected is not None and self.evidence.peer == self.expected.peer

    @property
    def right(self) -> bool:
        """Tell whether all that it says is true: the occurrence, its cause, its match, the absent span."""
        if self.verdict is not Verdict.FOUND or self.expected is None:
            return False
        missing = self.expected.missing
        return self.cause_right and self.matched_right and (not missing or self.evidence.missing_span_id in missing)


@dataclass(frozen=True)
class Judgement:
    """Everything about one set: what was reported, and what of the truth was not."""

    name: str
    judged: tuple[Judged, ...]
    missed: tuple[Expected, ...]


@dataclass
class _Open:
    """The truth while lines are taken from it."""

    expected: dict[tuple[str, Key], Expected] = field(default_factory=dict)
    allowed: dict[tuple[str, Key | None], list[Allowed]] = field(default_factory=dict)
    found: set[Expected] = field(default_factory=set)


def judge(name: str, truth: Truth, lines: Sequence[Evidence], judged_ids: Iterable[str] = JUDGED) -> Judgement:
    """Judge all lines about one set."""
    known, state = frozenset(judged_ids), _Open()
    for claim in truth.expected:
        state.expected |= {(claim.id, key): claim for key in claim.keys}
    for allowance in truth.allowed:
        state.allowed.setdefault((allowance.id, allowance.key), []).append(allowance)
    broken = {line.key for line in lines if line.id == "broken_propagation"}
    matched = {line.matched for line in lines if line.matched is not None}
    seen: set[tuple[str, Key]] = set()
    judged = []
    for line in lines:
        if line.id not in known:
            judged.append(Judged(line, Verdict.UNJUDGED))
            continue
        contradicts = (line.id == "unexpected_root" and line.key in broken) or (line.id == "missing_server_span" and line.key in matched)
        judged.append(Judged(line, Verdict.FALSE) if (line.id, line.key) in seen or contradicts else _judge(line, state))
        seen.add((line.id, line.key))
    return Judgement(name, tuple(judged), tuple(c for c in truth.expected if c not in state.found))


def _judge(line: Evidence, state: _Open) -> Judged:
    claim = state.expected.get((line.id, line.key))
    if claim is not None:
        verdict = Verdict.AGAIN if claim in state.found else Verdict.FOUND
        state.found.add(claim)
        return Judged(line, verdict, claim)
    for allowance in (*state.allowed.get((line.id, line.key), ()), *state.allowed.get((line.id, None), ())):
        if allowance.admits(line.cause):
            return Judged(line, Verdict.ALLOWED)
    return Judged(line, Verdict.FALSE if line.grave else Verdict.ASIDE)
