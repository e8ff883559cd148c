"""Everything that the conditions of one gate look at, put together once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from traced.migration.belonging import Stand, nameless
from traced.migration.evidence import Evidence, evidence, old_publications
from traced.migration.expected import active, expected, period_of
from traced.migration.inventory import Belonging, Matched, belongings, matched
from traced.migration.kinds import Kind
from traced.migration.listening import Listening, Window
from traced.migration.statistics import doubt_each, window_needed
from traced.model.capture import Capture
from traced.model.finding import Example
from traced.model.messages import Role
from traced.model.migration import Gate, Migration

EXAMPLES: Final = 5
_ROUNDS: Final = 20
"""How often a window is made longer because of the gaps that the longer window holds."""


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
    listening: Listening
    belonging: tuple[Belonging, ...]
    matches: tuple[Matched, ...]
    nameless: tuple[Kind, ...]
    consumers: tuple[Evidence, ...]
    doubt: float

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
    """Put together what a gate's conditions look at.

    The window is as long as `min_window`, and as two periods of who runs most rarely: so long it takes to see a run for certain where all traces are kept. What
    sampling asks for beyond that is asked of each consumer by itself, since one that moved before the window needs not wait for another's.
    """
    until = seen.as_of_unix_seconds
    cutoff = migration.cutoff_unix_seconds
    listening = Listening(seen.capture, until, until if cutoff is None or cutoff > until else cutoff)
    belonging = belongings(migration, kinds)
    matches = matched(migration, belonging)
    window = listening.window(migration.min_window_seconds)
    longest = max((period_of(migration, one) for one in active(migration, until)), default=0.0)
    for _ in range(_ROUNDS):
        needed = max(migration.min_window_seconds, window_needed(longest, 1 + len(window.gaps)))
        if needed <= window.needed_seconds:
            break
        window = listening.window(needed)
    everybody = expected(migration, belonging, matches, window)
    doubt, old_sent = doubt_each(migration.confidence, len(everybody)), old_publications(belonging)
    consumers = tuple(evidence(migration, one, window, listening, old_sent, doubt) for one in everybody)
    return Case(migration, gate, seen, window, listening, belonging, matches, _nameless(migration, kinds), consumers, doubt)


def _nameless(migration: Migration, kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    services = {one.service for one in migration.consumers if not (one.relay or one.excluded)}
    return tuple(kind for kind in kinds if kind["role"] == Role.CONSUMER and kind["service_name"] in services and nameless(migration, kind.columns))


def meant(name: str, services: Iterable[str]) -> str:
    """Give the words "did you mean …?" with the service that a name nobody has is most like; empty where there is none."""
    close = difflib.get_close_matches(name, list(services), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
