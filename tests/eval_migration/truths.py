"""Worlds: who really still reads the old schema, what its operator knows and says, and what there is to be seen.

In each world some consumers have moved for good. In a world that is not safe, one more, the culprit, still reads the old schema, in one of the ways below, and
will do so tomorrow: whether it was seen is left to chance. What an operator declares is true as far as the kind of world says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from .traffic import Stream

DAY: Final = 24
ABOUT: Final = {
    "declared": "what the operator declared holds",
    "undeclared": "rarer than anything that was declared",
    "outside": "not on the list, or not instrumented",
}


@dataclass
class World:
    """One world.

    Attributes:
        hours: for how long traced has been listening.
        streams: what happens.
        settings: the migration as its operator configured it.
        missed: spans of hours before now, (from, to), in which nobody listened.
    """

    chance: np.random.Generator
    hours: int
    probability: float
    declared: bool
    streams: list[Stream] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    missed: list[tuple[float, float]] = field(default_factory=list)

    def between(self, low: float, high: float) -> float:
        """Draw a number, by its size: as likely between 1 and 10 as between 10 and 100."""
        return float(np.exp(self.chance.uniform(np.log(low), np.log(high))))

    def takes(self, service: str, side: str, **given: Any) -> Stream:
        """Give a stream of consumptions of one side, as this world's shape has them."""
        two = self.settings["shape"] == "two_messages"
        place = {"destination": "orders", "version": {"old": "1", "new": "2"}[side]} if two else {"destination": f"orders.{side}"}
        how: dict[str, Any] = {"probability": self.probability, "said": None if self.declared else self.probability}
        return Stream("consumer", service, **place, **(how | ({"disposition": "handled"} if two else {}) | given))

    def add(self, *streams: Stream) -> None:
        """Let something happen."""
        self.streams += streams

    def lists(self, service: str, **given: Any) -> None:
        """Put a consumer on the list."""
        self.settings["consumers"].append({"service": service, **given})


def world(kind: str, chance: np.random.Generator) -> World:
    """Draw a world of a kind: how much is sampled and how it is known, for how long traced has listened, who publishes, who has moved."""
    probability = float(chance.choice([1.0, 1.0, 0.5, 0.25, 0.1, 0.05, 0.01]))
    days = int(chance.choice([10, 15, 21, 35, 60, 120, 200, 300]))
    one = World(chance, days * DAY, probability, bool(chance.random() < 0.3))
    shape = "two_messages" if chance.random() < 0.3 else "two_destinations"
    sides: dict[str, Any] = {"two_destinations": ({"destination": "orders.old"}, {"destination": "orders.new"})}
    sides["two_messages"] = ({"destination": "orders", "version": "1"}, {"destination": "orders", "version": "2"})
    old, new = sides[shape]
    one.settings = {"name": "m", "shape": shape, "old": old, "new": new, "consumers": []}
    if one.declared:
        one.settings["sampling"] = {"*": probability}
    rate = one.between(20, 20_000)
    for side in ("old", "new"):
        one.add(replace(one.takes("order", side), role="producer", disposition="", per_day=rate))
    for number in range(int(chance.integers(0, 4))):
        moved = one.between(15, 400) * DAY
        service = f"moved-{number}"
        one.lists(service)
        one.add(one.takes(service, "new", per_day=rate, since_hours=moved), one.takes(service, "old", per_day=rate, until_hours=moved))
    KINDS[kind].draw(one, rate)
    if not one.settings["consumers"]:
        one.lists("moved-0")
        one.add(one.takes("moved-0", "new", per_day=rate))
    return one


# ---------------------------------------------------------------------- it still reads the old schema


def not_moved(one: World, rate: float) -> None:
    """Nothing of it has moved."""
    one.lists("culprit")
    one.add(one.takes("culprit", "old", per_day=rate))


def reads_both(one: World, rate: float) -> None:
    """It takes the new, and was never unsubscribed from the old."""
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", per_day=rate))


def one_instance(one: World, rate: float) -> None:
    """One of its instances runs the old code."""
    one.lists("culprit")
    share = 1 / one.chance.integers(2, 30)
    one.add(one.takes("culprit", "new", per_day=rate * (1 - share)), one.takes("culprit", "old", per_day=rate * share))


def a_share(one: World, rate: float) -> None:
    """A flag or a tenant sends a share of its messages to the old code: more than the largest that was to be left unseen."""
    one.lists("culprit")
    share = one.between(0.01, 0.3)
    one.add(one.takes("culprit", "new", per_day=rate * (1 - share)), one.takes("culprit", "old", per_day=rate * share))


def less_than_a_share(one: World, rate: float) -> None:
    """The same, of less than max_unseen_share."""
    one.lists("culprit")
    share = one.between(0.0003, 0.01)
    one.add(one.takes("culprit", "new", per_day=rate * (1 - share)), one.takes("culprit", "old", per_day=rate * share))


def rare_branch(one: World, rate: float) -> None:
    """A rare branch of a busy consumer reads the old, between once a day and once a month."""
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", per_day=one.between(1 / 30, 1)))


def daily_branch(one: World, rate: float) -> None:
    """A branch of a busy consumer reads the old once to ten times a day."""
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", per_day=one.between(1, 10)))


def hourly_branch_said(one: World, rate: float) -> None:
    """A branch of a busy consumer reads the old once an hour, and the operator says that nothing is rarer."""
    one.settings["longest_period"] = "1h"
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", period_hours=1))


def _job(one: World) -> dict[str, Any]:
    period = int(one.chance.choice([1, 7, 7, 30])) * DAY
    return {"period_hours": period, "at_hour": int(one.chance.integers(0, period)), "per_run": round(one.between(1, 300))}


def _said(job: dict[str, Any]) -> dict[str, Any]:
    return {"longest_period": f"{job['period_hours']}h", "traces_per_run": job["per_run"]}


def job_declared(one: World, _rate: float) -> None:
    """A job reads the old, and the new too; how often it runs and how much is on the list."""
    job = _job(one)
    one.lists("culprit", **_said(job))
    one.add(one.takes("culprit", "new", **job), one.takes("culprit", "old", **job))


def job_undeclared(one: World, _rate: float) -> None:
    """The same job, of which the list has only the name."""
    job = _job(one)
    one.lists("culprit")
    one.add(one.takes("culprit", "new", **job), one.takes("culprit", "old", **job))


def job_inside_declared(one: World, rate: float) -> None:
    """A busy service with a job in it that reads the old; the list says how often it runs."""
    job = _job(one)
    one.lists("culprit", **_said(job))
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", **job))


def job_inside_undeclared(one: World, rate: float) -> None:
    """A busy service with a job in it that reads the old, and nobody says so."""
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", **_job(one)))


def job_for_all_declared(one: World, rate: float) -> None:
    """The same, and the migration says the longest period of any consumer."""
    job = _job(one)
    one.settings["longest_period"] = f"{job['period_hours']}h"
    one.lists("culprit", traces_per_run=job["per_run"])
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", **job))


def job_behind_gaps(one: World, _rate: float) -> None:
    """The daemon is restarted at the hour of a job, and such gaps are tolerated."""
    job = _job(one)
    one.settings["tolerated_gap"] = "24h"
    one.lists("culprit", **_said(job))
    one.add(one.takes("culprit", "new", **(job | {"at_hour": job["at_hour"] + 3})), one.takes("culprit", "old", **job))
    every = job["period_hours"] * int(one.chance.integers(1, 4))
    one.missed = [(float(at + 1), float(at)) for at in range(job["at_hour"], one.hours, every)][:20]


def gaps(one: World, rate: float) -> None:
    """The daemon was down for a while, and the culprit read the old just then: only now and then does it."""
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate))
    begin = one.chance.uniform(1, min(one.hours, 14 * DAY))
    length = one.between(0.2, 24)
    one.missed = [(begin, max(0.0, begin - length))]
    one.add(one.takes("culprit", "old", per_day=rate, since_hours=begin, until_hours=max(0.0, begin - length)))


def no_longer_offered(one: World, rate: float) -> None:
    """Producers stopped the old for a while, and the culprit would read it again."""
    stopped = one.between(1, 40) * DAY
    one.streams = [s.until(stopped) if s.role == "producer" and s == _old_of(one) else s for s in one.streams]
    one.lists("culprit")
    one.add(one.takes("culprit", "new", per_day=rate), one.takes("culprit", "old", per_day=rate, until_hours=stopped))


def _old_of(one: World) -> Stream:
    return one.streams[0]


def rolled_back(one: World, rate: float) -> None:
    """It had moved, and was rolled back within the last days."""
    one.lists("culprit")
    back = one.chance.uniform(0, 14 * DAY)
    one.add(one.takes("culprit", "new", per_day=rate, until_hours=back), one.takes("culprit", "old", per_day=rate, since_hours=back))


def sampled_apart(one: World, rate: float) -> None:
    """Old messages begin in another service, whose sampler keeps fewer of them."""
    apart = one.probability * one.between(0.01, 0.5)
    one.streams[0] = replace(one.streams[0], service="legacy", probability=apart, said=apart)
    one.lists("culprit")
    share = one.between(0.01, 1)
    one.add(one.takes("culprit", "new", per_day=rate, joined_by="parent"))
    one.add(one.takes("culprit", "old", per_day=rate * share, joined_by="parent", probability=apart, said=apart))


def group_renamed(one: World, rate: float) -> None:
    """Its group was renamed when it was half moved: the new group reads both."""
    one.lists("culprit")
    when = one.chance.uniform(0, 20 * DAY)
    one.add(one.takes("culprit", "new", group="a", per_day=rate, until_hours=when), one.takes("culprit", "new", group="b", per_day=rate, since_hours=when))
    one.add(one.takes("culprit", "old", group="b", per_day=rate * one.between(0.01, 1), since_hours=when))


def second_group(one: World, rate: float) -> None:
    """It has two groups, and the small one still reads the old."""
    one.lists("culprit")
    small = one.between(0.001, 0.3)
    one.add(one.takes("culprit", "new", group="a", per_day=rate), one.takes("culprit", "new", group="b", per_day=rate * small * 0.9))
    one.add(one.takes("culprit", "old", group="b", per_day=rate * small * 0.1))


# ---------------------------------------------------------------------- nobody could know


def unlisted(one: World, rate: float) -> None:
    """Who reads the old is on no list."""
    one.add(one.takes("culprit", "old", per_day=rate * one.between(0.001, 1)))


def uninstrumented(one: World, rate: float) -> None:
    """Who reads the old is listed and sends no spans."""
    one.lists("culprit")
    one.add(one.takes("culprit", "old", per_day=rate, instrumented=False))


def instrumentation_lost(one: World, rate: float) -> None:
    """It took the new, then lost its instrumentation, and was rolled back."""
    one.lists("culprit")
    when = one.chance.uniform(0, 14 * DAY)
    one.add(one.takes("culprit", "new", per_day=rate, until_hours=when), one.takes("culprit", "old", per_day=rate, since_hours=when, instrumented=False))


def unlisted_and_uninstrumented(one: World, rate: float) -> None:
    """Nobody knows of it."""
    one.add(one.takes("culprit", "old", per_day=rate, instrumented=False))


# ---------------------------------------------------------------------- it is safe


def moved_long_ago(one: World, rate: float) -> None:
    """All have moved, before the window of two weeks."""
    one.streams = [s for s in one.streams if s.role == "producer"]
    one.settings["consumers"] = []
    for number in range(int(one.chance.integers(1, 6))):
        when = one.chance.uniform(15, 60) * DAY
        one.lists(f"moved-{number}")
        one.add(one.takes(f"moved-{number}", "new", per_day=rate, since_hours=when), one.takes(f"moved-{number}", "old", per_day=rate, until_hours=when))


def moved_and_said(one: World, rate: float) -> None:
    """The same, and the operator says that whatever a consumer uses it uses once an hour."""
    one.settings["longest_period"] = "1h"
    moved_long_ago(one, rate)


def moved_lately(one: World, rate: float) -> None:
    """All have moved, some within the window."""
    one.lists("late")
    when = one.chance.uniform(0.1, 14) * DAY
    one.add(one.takes("late", "new", per_day=rate, since_hours=when), one.takes("late", "old", per_day=rate, until_hours=when))


def quiet(one: World, rate: float) -> None:
    """All have moved long ago, and few messages come."""
    del rate
    moved_long_ago(one, one.between(1, 50))


def job_moved(one: World, rate: float) -> None:
    """All have moved long ago, among them a job whose period the list says."""
    moved_long_ago(one, rate)
    job = _job(one)
    one.lists("job", **_said(job))
    one.add(one.takes("job", "new", **job))


def moved_and_gaps(one: World, rate: float) -> None:
    """All have moved long ago; traced was restarted a few times, which is tolerated."""
    moved_long_ago(one, rate)
    one.settings["tolerated_gap"] = "1h"
    one.missed = [(float(at + 0.1), float(at)) for at in one.chance.integers(1, 14 * DAY, 3)]


@dataclass(frozen=True)
class Kind:
    """A kind of world: whether the old may go, what is assumed, and how it is drawn."""

    safe: bool
    about: str
    draw: Callable[[World, float], None]


_DECLARED = (not_moved, reads_both, one_instance, a_share, job_declared, job_inside_declared, job_for_all_declared, job_behind_gaps, gaps)
_DECLARED_TOO = (no_longer_offered, rolled_back, sampled_apart, group_renamed, second_group, daily_branch, hourly_branch_said)
KINDS: Final[dict[str, Kind]] = {
    **{draw.__name__: Kind(False, "declared", draw) for draw in (*_DECLARED, *_DECLARED_TOO)},
    **{draw.__name__: Kind(False, "undeclared", draw) for draw in (less_than_a_share, rare_branch, job_undeclared, job_inside_undeclared)},
    **{draw.__name__: Kind(False, "outside", draw) for draw in (unlisted, uninstrumented, instrumentation_lost, unlisted_and_uninstrumented)},
    **{draw.__name__: Kind(True, "declared", draw) for draw in (moved_long_ago, moved_and_said, moved_lately, quiet, job_moved, moved_and_gaps)},
}
