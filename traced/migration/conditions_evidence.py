"""The conditions that ask whether enough was seen, of everybody, for long enough: without them silence proves nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from traced.migration.belonging import Stand, Use, use
from traced.migration.case import Case, counts, meant
from traced.migration.evidence import Evidence, traces_in, uses_before
from traced.migration.expected import active, period_of
from traced.migration.inventory import decommissioned
from traced.migration.kinds import MINUTE, Kind
from traced.migration.statistics import share_bound, silence_needed, units_needed
from traced.migration.words import count, duration, listed, quoted, share
from traced.model.messages import Role
from traced.model.migration import EVERY_SERVICE, INSTEAD_OF, Code, Shape, State
from traced.model.verdict import Reason, moment

_PAUSE_OF_WINDOW: Final = 0.25
"""For which part of the least window the old schema may be silent and still counts as on offer throughout: a weekend of two weeks, not a week."""


def no_inventory(case: Case) -> Iterator[Reason]:
    """Say where nobody listed the consumers: a list made from what was seen cannot name whom nobody sees.

    A list on which nobody counts is none: that all of nobody has moved says nothing.
    """
    if not case.consumers:
        seen = sorted({one.identity.name for one in case.consumed(Stand.OLD, Stand.NEW, Stand.UNKNOWN)})
        beside = f"; seen were {listed(seen)}" if seen else ""
        advice = "List under `consumers` everybody who is subscribed, by asking the broker (kafka-consumer-groups.sh --list, rabbitmqctl list_bindings …)."
        what = "of the consumers that are listed none counts" if case.migration.consumers else "no consumers are listed"
        yield Reason(Code.NO_INVENTORY, State.UNKNOWN, f"{what}{beside}", "", (), (advice,))


def inventory_incomplete(case: Case) -> Iterator[Reason]:
    """Find consumers that the list does not know, or says to be gone: then it may be wrong of others too."""
    if not case.migration.consumers:
        return
    unlisted: dict[str, list[Kind]] = defaultdict(list)
    back: dict[str, list[Kind]] = defaultdict(list)
    for one in case.consumed(Stand.OLD, Stand.NEW, Stand.UNKNOWN):
        if one.listed is None and not one.unresolved:
            unlisted[one.identity.name].append(one.of.kind)
        elif one.listed is not None and decommissioned(one.listed, case.window.until):
            since = max(one.listed.decommissioned_unix_seconds or 0.0, case.window.since)
            if one.of.kind.seen(since, case.window.until):
                back[one.identity.name].append(one.of.kind)
    for name, kinds in sorted(unlisted.items()):
        taken = count(sum(case.in_window(kind) for kind in kinds), "message")
        advice = f"Add {quoted(name)} to `consumers` (with `role: relay` or `excluded: WHY` where that is so), and ask the broker who else is subscribed."
        yield Reason(Code.INVENTORY_INCOMPLETE, State.UNKNOWN, f"{quoted(name)} is not listed, and took {taken}", name, case.examples(kinds), (advice,))
    for name, kinds in sorted(back.items()):
        advice = f"Find out who still runs {quoted(name)}, or correct when it was decommissioned."
        yield Reason(
            Code.INVENTORY_INCOMPLETE,
            State.UNKNOWN,
            f"{quoted(name)} is said to be decommissioned, and took messages since",
            name,
            case.examples(kinds),
            (advice,),
        )


def consumer_not_seen(case: Case) -> Iterator[Reason]:
    """Find listed consumers that were not seen using the new schema."""
    for one in case.consumers:
        if one.units:
            continue
        where = f" in {quoted(one.of.environment)}" if one.of.environment else ""
        hint = meant(one.of.listed.service, case.seen.services) if one.of.listed.service not in case.seen.services else ""
        new = one.seen(Stand.NEW, case.window)
        what = f"{count(new, 'new message')} of it failed, were ignored, replayed, or are of a time that is not looked at" if new else "took no new message"
        advice = (
            f"See that {quoted(one.name)} takes the new schema and exports its spans here; if it is gone, list it with `decommissioned: {{by: WHO, at: WHEN}}`."
        )
        yield Reason(Code.CONSUMER_NOT_SEEN, State.UNKNOWN, f"{quoted(one.name)}{where}: {what}{hint}", one.name, (), (advice,))


def window_too_short(case: Case) -> Iterator[Reason]:
    """Find consumers that may have run, and used the old schema, without being seen."""
    look, migration = case.window, case.migration
    if look.listened_seconds < migration.min_window_seconds - 1:
        detail = f"listened for {duration(look.listened_seconds)} of the {duration(migration.min_window_seconds)} of min_window"
        advice = f"Let traced listen for {duration(migration.min_window_seconds - look.listened_seconds)} more{_before(case)}, then ask again."
        yield Reason(Code.WINDOW_TOO_SHORT, State.UNKNOWN, detail, "", (), (advice,))
    for one in case.consumers:
        need, period, clean = one.needed_seconds, period_of(migration, one.of.listed), one.clean_seconds
        if need is None or clean >= need - 1:
            continue
        per_run = one.of.listed.traces_per_run
        sampled = f" at p = {one.probability:g} and {count(per_run, 'trace')} a run" if one.probability and one.probability < 1 else ""
        fit = f"{count(max(0, int(clean / period + 1e-9) - 1), 'run')} of {one.runs} needed{sampled}"
        there = "are there" if one.clean_since <= case.listening.begin else "went by without an old or an unknown one"
        detail = f"{quoted(one.name)}: {fit}; at one in {duration(period)} that takes {duration(need)}, of which {duration(clean)} {there}"
        say = "how rarely it takes anything (longest_period) and how many traces each run makes (traces_per_run)"
        advice = f"Wait {duration(need - clean)}{_before(case)}; or sample {quoted(one.name)} more often, or say {say}."
        yield Reason(Code.WINDOW_TOO_SHORT, State.UNKNOWN, detail, one.name, (), (advice,))
    yield from _may_come_again(case)


def _may_come_again(case: Case) -> Iterator[Reason]:
    """Find consumers, listed or not, whose old uses before the window came so rarely that their silence is nothing unusual."""
    look = case.window
    by_name: dict[str, list[Kind]] = defaultdict(list)
    for one in case.matches:
        if one.of.stand is Stand.OLD and counts(one) and use(case.migration, one.of.kind.columns, Stand.OLD) is Use.USED:
            by_name[one.identity.name].append(one.of.kind)
    for name, kinds in sorted(by_name.items()):
        times, uses = uses_before(kinds, look.exposed_until)
        if not len(times) or times[-1] + MINUTE >= look.since:
            continue  # of none there is nothing to say, and one in the window is enough by itself
        silent, needed = look.exposed_until - float(times[-1]), silence_needed(times, uses, min(case.listening.begin, float(times[0])), case.doubt)
        if silent < needed:
            rarely = f"so rarely that {duration(silent)} without are not unusual"
            detail = f"{quoted(name)} used the old schema {count(int(uses.sum()), 'time')} before the window, {rarely}"
            advice = f"Find out what made {quoted(name)} use the old schema, and wait until {duration(needed)} went by without{_before(case)}."
            yield Reason(Code.WINDOW_TOO_SHORT, State.UNKNOWN, detail, name, case.examples(kinds, 0.0), (advice,))


def _before(case: Case) -> str:
    return " with the old schema on offer" if case.window.exposed_until == case.window.until else " (before the cutoff: publish the old schema again meanwhile)"


def sampling_unknown(case: Case) -> Iterator[Reason]:
    """Find consumers of which nobody knows how much of them is seen."""
    for one in case.consumers:
        tail = one.of.listed.service in case.seen.tail_sampled
        if (one.probability is not None or not one.taken) and not tail:
            continue
        why = (
            "its traces are chosen by their outcome, which no probability describes"
            if tail
            else "its spans do not say with which probability they were kept, and none is declared"
        )
        advice = (
            f"Keep all traces of the channel (a policy of the tail sampler), or sample {quoted(one.name)} by head."
            if tail
            else f"Declare it under `sampling: {{{quoted(one.of.listed.service)}: 1.0}}` (`{EVERY_SERVICE}` for all), or use a sampler that writes `ot=th`."
        )
        yield Reason(Code.SAMPLING_UNKNOWN, State.UNKNOWN, f"{quoted(one.name)}: {why}", one.name, (), (advice,))


def share_bound_too_wide(case: Case) -> Iterator[Reason]:
    """Find consumers of which too few traces were seen to exclude a share of old use; those that run rarely are judged by their runs."""
    limit = case.migration.max_unseen_share
    for one in case.consumers:
        bound = share_bound(one.units, case.doubt)
        if one.of.periodic or not one.units or bound <= limit:
            continue
        needed = units_needed(limit, case.doubt)
        detail = f"{quoted(one.name)}: of {count(one.units, 'trace')} none is old, which leaves up to {share(bound)}; {needed} are needed for {share(limit)}"
        wait = f"Wait for {needed - one.units} more traces of {quoted(one.name)} (a longer min_window, more sampling)"
        advice = f"{wait}, say how rarely it runs (longest_period), or accept a larger max_unseen_share."
        yield Reason(Code.SHARE_BOUND_TOO_WIDE, State.UNKNOWN, detail, one.name, (), (advice,))


def capture_gap(case: Case) -> Iterator[Reason]:
    """Say where more of the window is missing than may be."""
    look, tolerated = case.window, case.migration.tolerated_gap_seconds
    if not look.gaps or look.missing_seconds <= tolerated:
        return
    by_reason = Counter(str(gap.reason) for gap in look.gaps)
    lost = sum(gap.items for gap in look.gaps)
    last = look.gaps[-1]
    reasons = ", ".join(f"{times} {reason}" for reason, times in sorted(by_reason.items()))
    detail = (
        f"{duration(look.missing_seconds)} of the window are missing in {count(len(look.gaps), 'gap')} ({reasons})"
        f"{f', with {lost:,} lost items' if lost else ''}; the last from {moment(last.since_unix_seconds)} to {moment(last.until_unix_seconds)}"
    )
    advice = "Wait until the window holds no gap, or, where nothing that matters runs at such times, allow some with `tolerated_gap`."
    yield Reason(Code.CAPTURE_GAP, State.UNKNOWN, detail, "", (), (advice,))


def old_not_offered(case: Case) -> Iterator[Reason]:
    """Say where silence proves nothing, because there were too few old messages that anybody could have taken, or none for a while."""
    if case.migration.contract:
        return  # who calls chooses: nobody has to offer the old route
    offered, minutes = _offers(case)
    rare = bool(case.consumers) and all(one.of.periodic for one in case.consumers)
    needed = max((one.runs or 1 for one in case.consumers), default=1) if rare else units_needed(case.migration.max_unseen_share, case.doubt)
    advice = "Keep publishing the old schema until this gate is SAFE, and see that its producers export their spans here."
    if offered < needed:
        detail = f"{count(offered, 'trace')} with old messages in the window, {needed} are needed: who takes none may just have been offered none"
        yield Reason(Code.OLD_NOT_OFFERED, State.UNKNOWN, detail, "", (), (advice,))
        return
    pause, allowed = (
        _longest_pause(case, minutes),
        max(case.migration.longest_period_seconds or 0.0, case.migration.min_window_seconds * _PAUSE_OF_WINDOW, _resolution(case)),
    )
    if pause > allowed:
        detail = f"the old schema was not on offer throughout: for {duration(pause)} of the window none was published"
        yield Reason(Code.OLD_NOT_OFFERED, State.UNKNOWN, detail, "", (), (advice,))


def _offers(case: Case) -> tuple[int, list[int]]:
    """Count the traces in which the old schema was on offer, never too many (see `evidence`), and give the minutes of it.

    A message that holds both schemas offers the old one. What was taken of the old was on offer too, even where its producer exports nothing.
    """
    traces: dict[tuple[str, ...], int] = defaultdict(int)
    minutes: set[int] = set()
    everything = case.migration.shape is Shape.ONE_MESSAGE
    since = min([case.window.since, *(one.units_since for one in case.consumers)])
    for one in case.belonging:
        kind = one.kind
        sent_in_vain = kind["error"] and kind["role"] == Role.PRODUCER
        if (one.stand is Stand.OLD or everything) and not (sent_in_vain or kind["replayed"] or kind["dead_letter"]):
            who = (kind["role"], kind["environment"], kind["service_namespace"], kind["service_name"], kind["consumer_group"])
            traces[*who, kind["destination"], kind["message_schema_version"]] += traces_in(kind, since, case.window)
            minutes.update(kind.minutes[kind.touching(case.window.since, case.window.exposed_until)].tolist())
    return max(traces.values(), default=0), sorted(minutes)


def _longest_pause(case: Case, minutes: list[int]) -> float:
    """Give the longest time in the exposed part of the window in which nothing old was published."""
    inside = [min(max(minute * MINUTE, case.window.since), case.window.exposed_until) for minute in minutes]
    return max(b - a for a, b in pairwise([case.window.since, *inside, case.window.exposed_until]))


def _resolution(case: Case) -> float:
    """Give the pause that rows of counts cannot tell from none: what came first in one of them and last in the next."""
    return 2.0 * MINUTE * max((one.kind.bucket_minutes for one in case.belonging), default=1)


def service_silent(case: Case) -> Iterator[Reason]:
    """Find services of the list that send nothing here, or consumers that took messages and do so no more: they may run on elsewhere, unseen."""
    services = sorted({one.service for one in active(case.migration, case.window.until)})
    for service in services:
        last = case.seen.services.get(service)
        if last is None or last < case.window.since:
            hint = meant(service, case.seen.services) if last is None else ""
            detail = f"{quoted(service)} sent no spans at all in the window{hint}"
            advice = f"See that {quoted(service)} is instrumented and exports here; correct its name in `consumers` if it is called otherwise."
            yield Reason(Code.SERVICE_SILENT, State.UNKNOWN, detail, service, (), (advice,))
    for one in case.consumers:
        silent, allowed = one.silence(case.window)[0], _silence_allowed(case, one)
        if one.taken and silent > allowed:
            detail = f"{quoted(one.name)} took nothing for {duration(silent)}, longer than is usual with it ({duration(allowed)} at most)"
            advice = f"See whether {quoted(one.name)} still runs, and under the same name and group; if it was stopped for good, list it as decommissioned."
            yield Reason(Code.SERVICE_SILENT, State.UNKNOWN, detail, one.name, (), (advice,))


def _silence_allowed(case: Case, one: Evidence) -> float:
    """Give for how long a consumer may take nothing: twice its longest pause so far, or twice its period."""
    return max(2 * one.silence(case.window)[1], 2 * period_of(case.migration, one.of.listed))


def attestation_missing(case: Case) -> Iterator[Reason]:
    """Find what nobody attests: spans prove that stored old messages are there, never that they are not."""
    migration, now = case.migration, case.window.until
    if migration.contract:
        return  # calls are not stored
    since = migration.cutoff_unix_seconds if migration.cutoff_unix_seconds is not None else now
    for kind in migration.required_attestations:
        wanted = {kind, INSTEAD_OF.get(kind, kind)}
        given = [one for one in migration.attestations if one.kind in wanted]
        valid = [one for one in given if since <= one.at_unix_seconds <= now and (one.expires_unix_seconds is None or one.expires_unix_seconds > now)]
        if valid:
            continue
        why = "what is there is expired, of before the cutoff, or of the future" if given else "nobody said so"
        advice = f"Check it, then add to `attestations`: {{kind: {kind}, at: TIME, by: NAME}}."
        yield Reason(Code.ATTESTATION_MISSING, State.UNKNOWN, f"{kind}: {why}", "", (), (advice,))
