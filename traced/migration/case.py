"""Everything that the conditions of one gate look at, put together once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from traced.migration.belonging import Stand, nameless
from traced.migration.evidence import Evidence, evidence
from traced.migration.inventory import Belonging, Matched, belongings, matched
from traced.migration.kinds import MINUTE, Kind
from traced.migration.listening import Window, window
from traced.migration.statistics import doubt_each, runs_needed, window_needed
from traced.model.capture import Capture
from traced.model.finding import Example
from traced.model.messages import Role
from traced.model.migration import Gate, Migration

EXAMPLES: Final = 5
UNSAID_PERIOD_SECONDS: Final = 86400.0
"""How rarely a consumer is taken to run of which nobody says it."""
_ROUNDS: Final = 20
"""How often a window is made longer because of what the longer window shows; each adds what it needs, so two or three are the rule."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known beside the messages.

    Attributes:
        capture: when `traced` listened, and what it missed.
        services: when each service sent its last span of any kind (unix seconds), by `service.name`.
        as_of_unix_seconds: now: when the verdict is asked for.
        tail_sampled: services whose traces are chosen by their outcome: there is no probability of these.
    """

    capture: Capture
    services: Mapping[str, float]
    as_of_unix_seconds: float
    tail_sampled: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class Case:
    """One gate of one migration with what was seen.

    Attributes:
        nameless: consumptions of listed services of which nobody knows from where they are.
        doubt: what each consumer may have of it.
    """

    migration: Migration
    gate: Gate
    seen: Seen
    window: Window
    belonging: tuple[Belonging, ...]
    matches: tuple[Matched, ...]
    nameless: tuple[Kind, ...]
    consumers: tuple[Evidence, ...]
    doubt: float

    @property
    def first_look(self) -> float:
        """Give when `traced` began to listen, or first saw something of the migration, if that was earlier."""
        begins = [one.since_unix_seconds for one in self.seen.capture.intervals]
        minutes = [int(one.kind.minutes[0]) * MINUTE for one in self.belonging]
        return float(min([*begins, *minutes], default=self.window.since))

    def produced(self, *sides: Stand) -> list[Belonging]:
        """Give the kinds of publications of some sides that the window holds."""
        return [one for one in self.belonging if one.kind["role"] == Role.PRODUCER and one.stand in sides and self.in_window(one.kind)]

    def consumed(self, *sides: Stand) -> list[Matched]:
        """Give the kinds of consumptions of some sides that the window holds, but for those that the inventory says do not count."""
        return [one for one in self.matches if one.of.stand in sides and counts(one) and self.in_window(one.of.kind)]

    def in_window(self, kind: Kind) -> int:
        """Count the messages of a kind in the window; never too few."""
        return kind.seen(self.window.since, self.window.until)

    def examples(self, kinds: Iterable[Kind], since: float | None = None) -> tuple[Example, ...]:
        """Give the newest messages of some kinds in the window."""
        since = self.window.since if since is None else since
        found = [kind.example(kind.touching(since, self.window.until)) for kind in kinds]
        newest = sorted({one for one in found if one is not None}, reverse=True)
        return tuple(Example((high, low), span) for _, high, low, span in newest[:EXAMPLES])


def counts(one: Matched) -> bool:
    """Say whether what a consumer takes counts: it is no relay, and not excluded."""
    return one.listed is None or not (one.listed.relay or one.listed.excluded)


def case(migration: Migration, kinds: Sequence[Kind], seen: Seen, gate: Gate) -> Case:
    """Put together what a gate's conditions look at, over a window as long as it has to be."""
    until = seen.as_of_unix_seconds
    cutoff = migration.cutoff_unix_seconds
    exposed = until if cutoff is None or cutoff > until else cutoff
    belonging = belongings(migration, kinds)
    matches = matched(migration, belonging)
    needed = migration.min_window_seconds
    for _ in range(_ROUNDS):
        look = window(seen.capture, until, exposed, needed)
        found = evidence(migration, belonging, matches, look)
        doubt = doubt_each(migration.confidence, len(found))
        longer = max([needed, *(need for one in found if (need := window_of(migration, one, doubt, look)) is not None)])
        if longer <= needed:
            break
        needed = longer
    return Case(migration, gate, seen, look, belonging, matches, _nameless(migration, kinds), found, doubt)


def period_of(migration: Migration, one: Evidence) -> float:
    """Give the longest time between two runs of a consumer; a day where nobody says it.

    Without any period sampled uses that are rare, but not excluded by their share, would go unseen: at p = 0.01 one that comes daily is missed in two weeks
    with a chance of 0.87.
    """
    own = one.listed.longest_period_seconds
    said = migration.longest_period_seconds if own is None else own
    return UNSAID_PERIOD_SECONDS if said is None else said


def runs_of(one: Evidence, doubt: float, look: Window) -> int | None:
    """Give how many runs a consumer's window has to hold; None where its probability is not known.

    Each gap may hide one: what is restarted every week at a certain hour meets the job of that hour.
    """
    if one.probability is None:
        return None
    return runs_needed(one.probability, one.listed.traces_per_run, doubt) + len(look.gaps)


def window_of(migration: Migration, one: Evidence, doubt: float, look: Window) -> float | None:
    """Give the listening time in which a consumer's old use would have been seen; None where nothing is known of its sampling."""
    runs = runs_of(one, doubt, look)
    return None if runs is None else window_needed(period_of(migration, one), runs)


def _nameless(migration: Migration, kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    services = {one.service for one in migration.consumers if not (one.relay or one.excluded)}
    return tuple(kind for kind in kinds if kind["role"] == Role.CONSUMER and kind["service_name"] in services and nameless(migration, kind.columns))


def meant(name: str, services: Iterable[str]) -> str:
    """Give the words "did you mean …?" with the service that a name nobody has is most like; empty where there is none."""
    close = difflib.get_close_matches(name, list(services), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
