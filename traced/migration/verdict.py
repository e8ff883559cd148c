"""The verdict of a gate: all its conditions, each met, broken or unknown, and what follows from them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa

from traced.migration import conditions_evidence, conditions_use, phases
from traced.migration.belonging import Stand
from traced.migration.case import Case, Seen, case
from traced.migration.kinds import LONGEST_BUCKET_MINUTES, Kind, kinds
from traced.migration.statement import NOT_PROVABLE, PROVABLE, sentence, statements, warnings
from traced.model.migration import Code, Gate, Migration, State, conditions_of
from traced.model.verdict import Acceptance, Condition, GateVerdict, MigrationReport, Reason, verdict_of

MAX_REASONS: Final = 100
"""Reasons printed for one condition (a thousand unlisted consumers are one mistake); further ones are counted in a last one."""
MAX_EXAMPLES: Final = 5

CONDITIONS: Final[Mapping[Code, Callable[[Case], Iterator[Reason]]]] = {
    code: getattr(conditions_use if hasattr(conditions_use, code) else conditions_evidence, code) for code in Code
}
"""What each condition finds; the functions bear the names of the codes."""


def assess(
    migrations: Iterable[Migration],
    flows: pa.Table,
    seen: Seen,
    *,
    accepted: Sequence[Acceptance] = (),
    bucket_minutes: int = LONGEST_BUCKET_MINUTES,
) -> tuple[MigrationReport, ...]:
    """Say of each migration how far it has got, and give the verdicts of both gates.

    Args:
        migrations: as they were configured.
        flows: rows of FLOWS, in any order and number of parts, of all time that is known: a window takes what it needs.
        seen: when `traced` listened, whom it saw, and what time it is.
        accepted: reasons that somebody accepts; they are printed, and change no verdict.
        bucket_minutes: how many minutes a row of `flows` may stand for.
    """
    gathered = kinds(flows, bucket_minutes)
    return tuple(report(migration, gathered, seen, accepted) for migration in migrations)


def report(migration: Migration, gathered: Sequence[Kind], seen: Seen, accepted: Sequence[Acceptance] = ()) -> MigrationReport:
    """Say how far one migration has got, and give both verdicts."""
    both = {gate: case(migration, gathered, seen, gate) for gate in Gate}
    of_phase = both[Gate.STOP_PUBLISH]
    verdicts = tuple(judge(one, accepted) for one in both.values())
    return MigrationReport(migration.name, phases.phase(of_phase), verdicts, phases.producers(of_phase), phases.consumers(of_phase))


def judge(of: Case, accepted: Sequence[Acceptance] = ()) -> GateVerdict:
    """Give the verdict of one gate with all its reasons, not only the first."""
    reasons = [reason for code in conditions_of(of.gate) for reason in _bounded(list(CONDITIONS[code](of)))]
    verdict = verdict_of(reasons)
    migration, look = of.migration, of.window
    return GateVerdict(
        migration=migration.name,
        gate=of.gate,
        verdict=verdict,
        shape=migration.shape,
        sentence=sentence(of, verdict, reasons),
        provable=PROVABLE[migration.shape],
        not_provable=NOT_PROVABLE[migration.shape],
        as_of_unix_seconds=look.until,
        valid_until_unix_seconds=look.until + migration.valid_for_seconds,
        since_unix_seconds=look.since,
        exposed_until_unix_seconds=look.exposed_until,
        needed_seconds=look.needed_seconds,
        listened_seconds=look.listened_seconds,
        confidence=migration.confidence,
        reasons=tuple(reasons),
        conditions=tuple(_condition(code, [r for r in reasons if r.code is code]) for code in conditions_of(of.gate)),
        consumers=statements(of),
        services_seen=tuple(sorted(of.seen.services)),
        left_out=_left_out(of),
        warnings=warnings(of),
        accepted=tuple(accepted),
    )


def _bounded(reasons: list[Reason]) -> list[Reason]:
    if len(reasons) <= MAX_REASONS:
        return reasons
    rest = len(reasons) - MAX_REASONS
    return [*reasons[:MAX_REASONS], Reason(reasons[0].code, reasons[0].state, f"and {rest} more like these")]


def _condition(code: Code, reasons: Sequence[Reason]) -> Condition:
    """Put together what is said of one condition."""
    if not reasons:
        return Condition(code, State.MET, MET[code])
    state = State.BROKEN if any(r.state is State.BROKEN for r in reasons) else State.UNKNOWN
    examples = tuple(dict.fromkeys(example for reason in reasons for example in reason.examples))[:MAX_EXAMPLES]
    return Condition(code, state, "; ".join(reason.detail for reason in reasons), examples)


def _left_out(of: Case) -> tuple[str, ...]:
    """Name the consumers that are listed and do not count, with why, and what they took of the old schema."""
    found = []
    for listed in of.migration.consumers:
        if listed.relay or listed.excluded:
            rows = [m.of.kind for m in of.matches if m.listed == listed and m.of.stand is Stand.OLD]
            taken = sum(of.in_window(kind) for kind in rows)
            why = f"excluded: {listed.excluded}" if listed.excluded else "relay"
            found.append(f"{listed.name} ({why}; took {taken:,} old)")
        elif listed.decommissioned_unix_seconds is not None:
            found.append(f"{listed.name} (decommissioned, says {listed.decommissioned_by})")
    return tuple(found)


MET: Final[Mapping[Code, str]] = {
    Code.OLD_USE_SEEN: "no consumer, listed or not, was seen using the old schema",
    Code.OLD_STILL_PUBLISHED: "nobody published the old schema since the cutoff",
    Code.OLD_MESSAGE_PARKED: "no old message was seen going to dead letters, failing, or being sent again",
    Code.SUNSET_NOT_REACHED: "the old schema is promised to nobody for longer",
    Code.NO_INVENTORY: "the consumers are listed",
    Code.INVENTORY_INCOMPLETE: "nobody was seen who is not on the list",
    Code.CONSUMER_NOT_SEEN: "each consumer was seen using the new schema",
    Code.UNKNOWN_VERSION: "the version of each message is known",
    Code.WINDOW_TOO_SHORT: "the window is long enough",
    Code.SAMPLING_UNKNOWN: "it is known with which probability each consumer's traces are kept",
    Code.SHARE_BOUND_TOO_WIDE: "enough traces of each consumer were seen",
    Code.CAPTURE_GAP: "no more of the window is missing than may be",
    Code.OLD_NOT_OFFERED: "the old schema was on offer throughout",
    Code.SHAPE_CANNOT_PROVE: "each consumption says what it proves",
    Code.CONSUMER_UNRESOLVED: "it is known of each consumption whose it is",
    Code.SERVICE_SILENT: "each service of the list sends spans here",
    Code.ATTESTATION_MISSING: "what has to be attested is",
}
