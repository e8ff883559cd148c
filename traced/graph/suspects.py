"""What to mend first: findings that one defect explains, grouped under a smallest set of suspects, ranked.

Each finding claims the suspects that its cause implicates (`traced.graph.defects`), and a cheap set of them that covers all findings is
chosen (`traced.graph.covering`). Pure: the same findings in any order give the same suspects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from traced.graph.causes import UNKNOWN
from traced.graph.covering import Candidate, Claims, cover
from traced.graph.defects import NOT_KNOWN, PARENT, SAID_BY_ITSELF, At, Defect, Role, Tell, roles_of, said_of
from traced.graph.together import Together
from traced.model.finding import Finding
from traced.model.occurrence import Level
from traced.model.suspect import Suspect, SuspectKind, Suspects

MAX_FINDINGS: Final = 5_000
"""Findings that are grouped, the worst first; the others are counted."""
MAX_HEARD: Final = 32
"""Other findings' suspects that one finding may follow from under one word; without a bound many roots of one service and many
broken edges into it would be millions of pairs."""
_LEVELS: Final = {level: rank for rank, level in enumerate(Level)}


def group(findings: Iterable[Finding], together: Together = MappingProxyType({})) -> Suspects:
    """Give the suspects that explain the findings, what to mend first in front; each finding belongs to one.

    The worst level comes first; of one level that of which the cause is known, then who explains more findings of the level, then whom more
    detectors point at, then more occurrences.

    Args:
        findings: in any order.
        together: what `graph.together.silent_callees` says of their traces.
    """
    ordered = sorted(findings, key=lambda f: (_LEVELS[f.level], -f.count, f.id, f.service, f.fingerprint))
    considered = ordered[:MAX_FINDINGS]
    claims = claims_of(considered, together)
    explained: dict[Candidate, list[tuple[Finding, bool]]] = defaultdict(list)
    if considered:
        for finding, mine, candidate in zip(considered, claims, cover(claims), strict=True):
            explained[candidate].append((finding, mine[candidate]))
    ranked = sorted(explained.items(), key=lambda item: _urgency(item[0], [finding for finding, _ in item[1]]))
    suspects = (_suspect(rank, candidate, its_own) for rank, (candidate, its_own) in enumerate(ranked, start=1))
    return Suspects(tuple(suspects), len(ordered) - len(considered))


# ---------------------------------------------------------------------- what a finding claims


def claims_of(findings: Sequence[Finding], together: Together = MappingProxyType({})) -> list[Claims]:
    """Give the suspects of each finding: True where it names one, False where it follows from one that another finding names."""
    claims: list[dict[Candidate, bool]] = []
    told: dict[Tell, set[Candidate]] = defaultdict(set)
    for finding in findings:
        named: dict[Candidate, bool] = {}
        for role in _roles(finding, names=True):
            candidates = dict.fromkeys(_candidates(finding, role), True)
            named |= candidates
            if role.tell:
                told[_key(finding, role.tell)].update(candidates)
        claims.append(named or {_itself(finding): True})
    known = {candidate for named in claims for candidate in named}
    _follow(findings, claims, known, told, together)
    for finding, mine in zip(findings, claims, strict=True):  # what explains an orphan explains that its trace has no root
        if any(role.tell == PARENT for role in _roles(finding, names=True)):
            told[_key(finding, PARENT)].update(mine)
    _follow(findings, claims, known, told, together)
    return list(claims)


def _follow(
    findings: Sequence[Finding],
    claims: Sequence[dict[Candidate, bool]],
    known: set[Candidate],
    told: Mapping[Tell, set[Candidate]],
    together: Together,
) -> None:
    """Add to each finding what it follows from, among the suspects that are named."""
    heard = {key: sorted(candidates)[:MAX_HEARD] for key, candidates in told.items()}
    for finding, mine in zip(findings, claims, strict=True):
        for role in _roles(finding, names=False):
            if role.at is At.TOLD:
                follows: Iterable[Candidate] = heard.get(_key(finding, role.tell), ())
            elif role.at is At.SAME_TRACES and role.defect is not None:
                follows = [Candidate(SuspectKind.SERVICE, role.defect, service) for service in together.get(finding.fingerprint, ())]
            else:
                follows = _candidates(finding, role)
            for candidate in known.intersection(follows):
                mine.setdefault(candidate, False)


def _roles(finding: Finding, *, names: bool) -> Iterator[Role]:
    return (role for role in roles_of(finding.id, finding.cause) if role.names is names)


def _key(finding: Finding, tell: Tell) -> Tell:
    """Give a word with what it is said of."""
    return (tell[0], *(str(getattr(finding, name)) for name in tell[1:]))


def _candidates(finding: Finding, role: Role) -> Iterable[Candidate]:
    """Give the suspects of one role; none where the finding does not name what the role needs."""
    if role.at is At.CLOCKS:
        return _clocks(finding)
    place = _places(finding).get(role.at)
    if role.defect is None or place is None:
        return ()
    about = finding.signal_name if role.at is At.OPERATION else finding.id if role.defect is Defect.UNDECIDED else ""
    kind, service, peer = place
    return (Candidate(kind, role.defect, service, peer, about),)


def _places(finding: Finding) -> dict[At, tuple[SuspectKind, str, str]]:
    """Give the places around a finding as (kind, service, peer)."""
    service, peer, lost_by = finding.service, finding.peer, finding.context.get("lost_by")
    places = {
        At.SERVICE: (SuspectKind.SERVICE, service, ""),
        At.OPERATION: (SuspectKind.OPERATION, service, ""),
        At.CALLER: (SuspectKind.CALLER, service, ""),
    }
    if peer:
        places[At.PEER] = (SuspectKind.SERVICE, peer, "")
        places[At.CALLED] = places[At.SERVICE]
        places[At.EDGE_IN] = (SuspectKind.EDGE, service, peer)
        places[At.EDGE_OUT] = (SuspectKind.EDGE, peer, service)
    else:
        places[At.NAMELESS_CALLER] = places[At.CALLER]
    if isinstance(lost_by, str) and lost_by not in ("", service, peer):
        places[At.COLLECTOR] = (SuspectKind.COLLECTOR, lost_by, "")
    return places


def _clocks(finding: Finding) -> Iterator[Candidate]:
    """Give the pair of clocks, and each clock as the one that is wrong: ahead of several others, or behind them."""
    client, server, offset = (finding.context.get(name) for name in ("client_clock", "server_clock", "offset_at_least_ms"))
    if not (isinstance(client, str) and isinstance(server, str) and isinstance(offset, int | float)):
        return
    yield Candidate(SuspectKind.HOST_PAIR, Defect.CLOCKS_DIFFER, about=" and ".join(sorted((client, server))))
    ahead, behind = (server, client) if offset > 0 else (client, server)
    yield Candidate(SuspectKind.HOST, Defect.CLOCK_AHEAD, about=ahead)
    yield Candidate(SuspectKind.HOST, Defect.CLOCK_BEHIND, about=behind)


def _itself(finding: Finding) -> Candidate:
    """Give what a finding says where it lacks what its roles need."""
    return Candidate(SuspectKind.SERVICE, Defect.UNDECIDED, finding.service, about=finding.id)


# ---------------------------------------------------------------------- how a suspect is shown


def _urgency(candidate: Candidate, findings: Sequence[Finding]) -> tuple[int, bool, int, int, int, Candidate]:
    """Give what sorts suspects: less is more urgent."""
    worst = min(_LEVELS[finding.level] for finding in findings)
    bad = sum(_LEVELS[finding.level] == worst for finding in findings)
    detectors = {finding.id for finding in findings}
    return (worst, candidate.defect in NOT_KNOWN, -bad, -len(detectors), -sum(finding.count for finding in findings), candidate)


def _suspect(rank: int, candidate: Candidate, explained: Sequence[tuple[Finding, bool]]) -> Suspect:
    findings = [finding for finding, _ in explained]
    naming = [finding for finding, names in explained if names]
    lead = naming[0]
    instances = {finding.instance if finding.service == candidate.service else "" for finding in naming}
    (instance,) = instances if candidate.kind is SuspectKind.SERVICE and len(instances) == 1 else ("",)
    return Suspect(
        rank=rank,
        kind=SuspectKind.INSTANCE if instance else candidate.kind,
        defect=str(candidate.defect),
        known=candidate.defect not in NOT_KNOWN,
        place=_place(candidate),
        service=candidate.service or lead.service,
        peer=candidate.peer if candidate.service else lead.peer,
        instance=instance,
        level=min((finding.level for finding in findings), key=_LEVELS.__getitem__),
        confidence=sum(finding.confidence * finding.count for finding in naming) / max(1, sum(finding.count for finding in naming)),
        findings=tuple(finding.fingerprint for finding in findings),
        occurrences=sum(finding.count for finding in findings),
        message=_message(candidate, naming, instance),
        # where some were decided with a cause and others before one was known, the cause says what to do
        how_to_fix=next((finding for finding in naming if finding.cause != UNKNOWN), lead).how_to_fix,
    )


def _message(candidate: Candidate, naming: Sequence[Finding], instance: str) -> str:
    """Say what is wrong: by the finding's own sentence where there is one finding and it speaks of this very place."""
    if len(naming) == 1 and candidate.defect in SAID_BY_ITSELF:
        return naming[0].message
    said = said_of(candidate.defect, candidate.kind, _place(candidate), candidate.service, candidate.peer)
    return f"{said.removesuffix('.')}, all of it from instance {instance}." if instance else said


def _place(candidate: Candidate) -> str:
    """Name a place as people say it."""
    service = candidate.service or "a service without a name"
    match candidate.kind:
        case SuspectKind.EDGE:
            return f"{candidate.peer} → {service}"
        case SuspectKind.CALLER:
            return f"what calls {service}"
        case SuspectKind.OPERATION:
            return f"{candidate.about} of {service}"
        case SuspectKind.HOST | SuspectKind.HOST_PAIR:
            return candidate.about
        case _:
            return service
