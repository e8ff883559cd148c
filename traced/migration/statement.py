"""What a verdict says in words: its first line, what its shape can prove, and what each consumer's silence is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from traced.migration.belonging import Stand, Use
from traced.migration.case import Case
from traced.migration.evidence import Evidence
from traced.migration.statistics import least_share, share_bound, share_bound_of, unseen_uses
from traced.migration.words import count, duration, quoted, share
from traced.model.messages import VersionSource
from traced.model.migration import MAX_UNSEEN_SHARE, Gate, Migration, Shape, State, Verdict
from traced.model.verdict import ConsumerStatement, Reason

PROVABLE: Final[Mapping[Shape, str]] = {
    Shape.TWO_DESTINATIONS: "Use and non-use of the old schema, by who takes from its destination.",
    Shape.TWO_MESSAGES: "Not receiving the old schema while it is offered, and ignoring it where the consumer says so (disposition).",
    Shape.ONE_MESSAGE: "Which version a consumer used, only where its code records it.",
}
NOT_PROVABLE: Final[Mapping[Shape, str]] = {
    Shape.TWO_DESTINATIONS: "Whether who copies or archives messages also interprets them; anything about services that do not export here.",
    Shape.TWO_MESSAGES: "What a consumer does with an old message that it receives, unless it says so; anything about services that do not export here.",
    Shape.ONE_MESSAGE: "Anything from messaging spans alone: every consumer receives both schemas; anything about services that do not export here.",
}
_DO: Final = {Gate.STOP_PUBLISH: "stop publishing the old schema", Gate.REMOVE_SCHEMA: "remove the old schema"}
_SHOWN: Final = 3


def sentence(of: Case, verdict: Verdict, reasons: Sequence[Reason]) -> str:
    """Give the verdict in one line, for somebody who was woken by it."""
    name, do = quoted(of.migration.name), _DO[of.gate]
    if verdict is Verdict.SAFE:
        bounds = [one.unseen_share for one in statements(of) if one.unseen_share is not None]
        most = (
            f"at {of.migration.confidence:.4g} confidence at most {share(max(bounds))} of what a consumer takes can be old"
            if bounds
            else "each periodic consumer ran often enough"
        )
        gaps = f", but for {duration(of.window.missing_seconds)} that were not captured" if of.window.gaps else ""
        return (
            f"SAFE to {do} of {name}: in {duration(of.window.until - of.window.since)}{gaps} all {count(len(of.consumers), 'consumer')} of the list "
            f"used the new schema and nobody was seen using the old; {most}. It says nothing about services that do not export here."
        )
    broken = [reason for reason in reasons if reason.state is State.BROKEN]
    shown = broken or list(reasons)
    details = "; ".join(reason.detail for reason in shown[:_SHOWN])
    more = f"; and {count(len(reasons) - min(len(shown), _SHOWN), 'more reason')}" if len(reasons) > min(len(shown), _SHOWN) else ""
    if verdict is Verdict.NOT_SAFE:
        return f"NOT SAFE, do not {do} of {name}: {details}{more}."
    return f"NOT ENOUGH EVIDENCE to {do} of {name}: {details}{more}."


def statements(of: Case) -> tuple[ConsumerStatement, ...]:
    """Say of each consumer that has to be seen what its silence about the old schema is worth."""
    return tuple(_statement(of, one) for one in of.consumers)


def _statement(of: Case, one: Evidence) -> ConsumerStatement:
    return ConsumerStatement(
        consumer=one.name,
        environment=one.of.environment,
        units=one.units,
        old=one.seen(Stand.OLD, of.window, Use.USED),
        unknown=one.seen(Stand.UNKNOWN, of.window),
        unproven=one.seen(Stand.OLD, of.window, Use.UNPROVEN),
        probability=one.probability,
        probability_source=one.probability_source,
        unseen_share=None if one.of.periodic else share_bound(one.units, of.doubt),
        unseen_uses=unseen_uses(one.probability, of.doubt),
        runs_needed=one.runs if one.of.periodic else None,
        needed_seconds=one.needed_seconds,
        clean_seconds=one.clean_seconds,
    )


def warnings(of: Case) -> tuple[str, ...]:
    """Give what makes one careful and changes no verdict."""
    return (*_failing(of), *_indirect(of), *_limits(of.migration))


def _failing(of: Case) -> Iterator[str]:
    """Name consumers with which new messages fail more often than old ones, beyond chance (95 %)."""
    for one in of.consumers:
        failed: Counter[Stand] = Counter()
        taken: Counter[Stand] = Counter()
        for kind, side, _ in one.of.of_use:
            messages = of.in_window(kind)
            taken[side] += messages
            failed[side] += messages if kind["error"] else 0
        new = least_share(failed[Stand.NEW], taken[Stand.NEW], 0.025)
        old = share_bound_of(failed[Stand.OLD], taken[Stand.OLD], 0.025) if taken[Stand.OLD] else 0.0
        if failed[Stand.NEW] and new > old:
            of_old = f"{failed[Stand.OLD]:,} of {taken[Stand.OLD]:,} old ones"
            yield f"{quoted(one.name)} fails with {failed[Stand.NEW]:,} of {taken[Stand.NEW]:,} new messages, and {of_old}"


def _indirect(of: Case) -> Iterator[str]:
    for one in of.consumers:
        inherited = [k for k, side, _ in one.of.of_use if side is Stand.NEW and of.in_window(k) and k["version_source"] == VersionSource.INHERITED]
        if inherited:
            yield f"of {quoted(one.name)} it is known in part only from the producer which version it took: that was published, not used"


def _limits(migration: Migration) -> Iterator[str]:
    if migration.max_unseen_share > MAX_UNSEEN_SHARE:
        yield f"max_unseen_share is {share(migration.max_unseen_share)}: so much old use may be left"
    if migration.max_unknown:
        yield f"max_unknown is {share(migration.max_unknown)}: so many messages may be of a version that nobody knows"
