"""The conditions that ask whether the old schema is still in use, or may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from traced.migration.belonging import Stand, Use, use
from traced.migration.case import Case, counts
from traced.migration.inventory import Matched
from traced.migration.kinds import MINUTE, Kind
from traced.migration.statistics import share_bound_of
from traced.migration.words import count, duration, listed, quoted, share
from traced.model.messages import Role
from traced.model.migration import AttestationKind, Code, Shape, State
from traced.model.verdict import Reason, moment

_NANOS: Final = 1_000_000_000
_LATE_SECONDS: Final = 900.0
"""How much later than it was sent an old message may arrive and still be of before the cutoff, as its sender's clock says."""
_PAUSE_SECONDS: Final = 86400.0
"""From so long a silence on old use is said to have come back."""


def old_use_seen(case: Case) -> Iterator[Reason]:
    """Find consumers, listed or not, that used the old schema in the window: one sighting suffices, whatever the sampling."""
    by_name: dict[str, list[Kind]] = defaultdict(list)
    for one in case.consumed(Stand.OLD):
        if use(case.migration, one.of.kind.columns, Stand.OLD) is Use.USED:
            by_name[_named(one)].append(one.of.kind)
    for name, kinds in sorted(by_name.items()):
        messages = sum(case.in_window(kind) for kind in kinds)
        minutes = sorted({int(m) for kind in kinds for m in kind.minutes[kind.touching(case.window.since, case.window.until)]})
        last = max(0.0, case.window.until - (minutes[-1] + 1) * MINUTE)
        again = ""
        if len(minutes) > 1 and (pause := max(b - a for a, b in pairwise(minutes)) * MINUTE) >= _PAUSE_SECONDS:
            again = f", again after {duration(pause)} without any"
        replayed = sum(case.in_window(kind) for kind in kinds if kind["replayed"])
        stored = f"; {count(replayed, 'message')} of them stored or replayed" if replayed else ""
        yield Reason(
            Code.OLD_USE_SEEN,
            State.BROKEN,
            f"{quoted(name)} used the old schema: {count(messages, 'message')} seen, the last {duration(last)} before the end of the window{again}{stored}",
            name,
            case.examples(kinds),
            (f"Move {quoted(name)} to the new schema; if it only copies messages list it with `role: relay`, if it does not count with `excluded: WHY`.",),
        )


def _named(one: Matched) -> str:
    environment = f" ({one.identity.environment})" if one.identity.environment else ""
    return f"{one.identity.name}{'' if one.listed is not None else ', which is not on the list'}{environment}"


def shape_cannot_prove(case: Case) -> Iterator[Reason]:
    """Find receipts of which this shape cannot tell whether they were uses."""
    sides = (Stand.OLD,) if case.migration.shape is Shape.TWO_MESSAGES else (Stand.OLD, Stand.NEW, Stand.UNKNOWN)
    by_name: dict[str, list[Kind]] = defaultdict(list)
    for one in case.consumed(*sides):
        if use(case.migration, one.of.kind.columns, one.of.stand) is Use.UNPROVEN:
            by_name[_named(one)].append(one.of.kind)
    one_message = case.migration.shape is Shape.ONE_MESSAGE
    attribute = case.migration.version_attributes[0] if one_message else case.migration.disposition_attribute
    what = (
        "messages without saying which version it used"
        if one_message
        else "old messages, which every subscriber does while both are sent, without saying whether it used them"
    )
    for name, kinds in sorted(by_name.items()):
        advice = f"Let {quoted(name)} set {attribute} on the span that processes a message" + (
            "." if one_message else " to `handled` or `ignored`, or keep old messages from it by a filter of the broker."
        )
        seen = sum(case.in_window(kind) for kind in kinds)
        yield Reason(Code.SHAPE_CANNOT_PROVE, State.UNKNOWN, f"{quoted(name)} received {what}: {count(seen, 'message')}", name, case.examples(kinds), (advice,))


def unknown_version(case: Case) -> Iterator[Reason]:
    """Find services of whose messages on the channel too many have no version that is known."""
    unknown: dict[tuple[str, str], list[Kind]] = defaultdict(list)
    known: dict[tuple[str, str], int] = defaultdict(int)
    # a message that holds both schemas has no version of its own
    produced = [] if case.migration.shape is Shape.ONE_MESSAGE else case.produced(*Stand)
    for one in (*(m.of for m in case.consumed(*Stand)), *produced):
        key = (one.kind["service_name"], one.kind["role"])
        if one.stand is Stand.UNKNOWN:
            unknown[key].append(one.kind)
        elif one.stand is not Stand.OTHER:
            known[key] += max(0, one.kind.counted(case.window.since, case.window.until, whole=False))
    for kind in case.nameless:
        if case.in_window(kind):
            unknown[kind["service_name"], "nameless"].append(kind)
    for (service, role), kinds in sorted(unknown.items()):
        messages = sum(case.in_window(kind) for kind in kinds)
        bound = share_bound_of(messages, messages + known[service, role], case.doubt)
        if bound <= case.migration.max_unknown:
            continue
        spelled = sorted({kind["message_schema_version"] for kind in kinds} - {""})
        if role == "nameless":
            what, advice = (
                "took messages of which no destination is known",
                f"Let the instrumentation of {quoted(service)} name the destination (messaging.destination.name).",
            )
        elif spelled:
            what = f"{_does(role)} messages of other versions ({listed(spelled)})"
            advice = f"Add {listed(spelled)} to `old.version` or `new.version` if it is another spelling, or to `other_versions` if it is of another subject."
        else:
            what, advice = (
                f"{_does(role)} messages without a version",
                f"Let {quoted(service)} set {case.migration.version_attributes[0]}, or name in `version_attributes` where it stands.",
            )
        limit = f", and the largest share that is possible, {share(bound)}, is above max_unknown" if case.migration.max_unknown else ""
        yield Reason(
            Code.UNKNOWN_VERSION, State.UNKNOWN, f"{quoted(service)} {what}: {count(messages, 'message')}{limit}", service, case.examples(kinds), (advice,)
        )


def _does(role: str) -> str:
    return "published" if role == Role.PRODUCER else "took"


def consumer_unresolved(case: Case) -> Iterator[Reason]:
    """Find consumptions of which the list cannot tell whose they are: several consumers share the service, and the span names no group."""
    by_service: dict[str, list[Kind]] = defaultdict(list)
    for one in case.consumed(Stand.OLD, Stand.NEW, Stand.UNKNOWN):
        if one.unresolved:
            by_service[one.identity.service].append(one.of.kind)
    for service, kinds in sorted(by_service.items()):
        messages = sum(case.in_window(kind) for kind in kinds)
        detail = f"{quoted(service)} took {count(messages, 'message')} without naming its group, and the list tells its groups apart"
        advice = f"Let the spans of {quoted(service)} name the group (messaging.consumer.group.name), or list the service without groups."
        yield Reason(Code.CONSUMER_UNRESOLVED, State.UNKNOWN, detail, service, case.examples(kinds), (advice,))


def old_still_published(case: Case) -> Iterator[Reason]:
    """Find producers that sent the old schema after the cutoff; without one that has passed nothing can be said."""
    cutoff = case.migration.cutoff_unix_seconds
    if cutoff is None:
        advice = "Stop publishing the old schema once the gate stop-publish is SAFE, and set `cutoff` to that time."
        yield Reason(
            Code.OLD_STILL_PUBLISHED, State.UNKNOWN, "no cutoff is configured: since when is the old schema not published any more?", "", (), (advice,)
        )
        return
    if cutoff > case.window.until:
        yield Reason(Code.OLD_STILL_PUBLISHED, State.UNKNOWN, f"the cutoff, {moment(cutoff)}, is not reached", "", (), ("Ask again after the cutoff.",))
        return
    by_service: dict[str, list[tuple[Kind, int]]] = defaultdict(list)
    for one in case.produced(Stand.OLD):
        after = 0 if one.kind["replayed"] or one.kind["dead_letter"] else sent_after(one.kind, cutoff, case.window.until)
        if after:
            by_service[one.kind["service_name"]].append((one.kind, after))
    for service, kinds in sorted(by_service.items()):
        detail = f"{quoted(service)} published the old schema after the cutoff: {count(sum(n for _, n in kinds), 'message')}"
        advice = f"Stop {quoted(service)} from publishing the old schema, or set `cutoff` to when it stopped."
        yield Reason(Code.OLD_STILL_PUBLISHED, State.BROKEN, detail, service, case.examples([k for k, _ in kinds], cutoff), (advice,))


def sent_after(kind: Kind, cutoff: float, until: float) -> int:
    """Count the messages of a kind that were sent after a time.

    What arrives a little after it may have been sent before; then the sender's clock decides. What arrives later was sent later, whatever a clock says.
    """
    arrived = kind.touching(cutoff, until)
    surely = kind.minutes * MINUTE >= cutoff + _LATE_SECONDS
    return int(kind.left[arrived & (surely | (kind.last >= int(cutoff * _NANOS)))].sum())


def old_message_parked(case: Case) -> Iterator[Reason]:
    """Find old messages that went to dead letters or retries, failed, or were sent again, and of which nobody attests since that they are gone."""
    if case.migration.contract:
        return  # calls are not stored
    settled = max(
        (a.at_unix_seconds for a in case.migration.attestations if a.kind is AttestationKind.DEAD_LETTERS_EMPTY and a.at_unix_seconds <= case.window.until),
        default=float("-inf"),
    )
    by_service: dict[str, list[tuple[Kind, int]]] = defaultdict(list)
    for one in (*(m.of for m in case.matches if counts(m)), *(one for one in case.belonging if one.kind["role"] == Role.PRODUCER)):
        kind = one.kind
        failed = kind["error"] and kind["role"] == Role.CONSUMER
        again = kind["replayed"] and kind["role"] == Role.PRODUCER
        # of dead letters it may be any version that nobody can read
        side = one.stand is Stand.OLD or (kind["dead_letter"] and one.stand is Stand.UNKNOWN)
        if side and (kind["dead_letter"] or failed or again) and (parked := kind.seen(max(settled, 0.0), case.window.until)):
            by_service[kind["service_name"]].append((kind, parked))
    for service, kinds in sorted(by_service.items()):
        where = sorted({kind["destination"] for kind, _ in kinds if kind["dead_letter"]})
        place = f" ({listed(where)})" if where else ""
        detail = (
            f"{count(sum(n for _, n in kinds), 'old message')} of {quoted(service)} failed, or went to dead letters or retries{place}, and may still be there"
        )
        advice = (
            "Empty the queues of dead letters, retries and delayed messages of old messages, then attest it: {kind: dead_letters_empty, at: TIME, by: NAME}."
        )
        yield Reason(Code.OLD_MESSAGE_PARKED, State.BROKEN, detail, service, case.examples([k for k, _ in kinds], max(settled, 0.0)), (advice,))


def sunset_not_reached(case: Case) -> Iterator[Reason]:
    """Say where the old schema is promised for longer than until now."""
    sunset = case.migration.sunset_unix_seconds
    if sunset is not None and sunset > case.window.until:
        advice = f"Wait until {moment(sunset)}, or agree on another date with those to whom it was promised."
        yield Reason(Code.SUNSET_NOT_REACHED, State.BROKEN, f"the old schema is promised until {moment(sunset)}", "", (), (advice,))
