"""The loss ledger: what SDKs and Collectors say of the spans they begin, sample, lose and export, over the last hours; bounded.

Two windows take turns as in `history`: what is told covers between one and two hours by arrival. Times inside the measurements are the
senders' own. Pure: the time is given from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from traced.graph import counting
from traced.graph.counting import Counting, Cumulative, Delta, Increase
from traced.graph.windows import turned
from traced.model.losses import ReportedLoss, ServiceAccount
from traced.model.measurement import LOSSES, NOT_SAMPLED, Measurement, Quantity, Temporality

MAX_SERIES: Final = 5_000
MAX_INSTANCES: Final = 2_000
LOSS_READINGS: Final = 32
"""Readings of a counter of losses whose times are kept; losses are told from pauses by them."""
OTHER_READINGS: Final = 8
"""Of other counters only the sum is asked for; so many readings may come out of order."""

MOST: Final = 2**63 - 1
"""Spans that are told of at most: what a column holds."""
OTHER: Final = ("__other__", "", "")
"""Whose losses are counted where too many services and reasons came."""

_LOSSES: Final = frozenset(LOSSES)


class Account(NamedTuple):
    """Whose count of what."""

    service: str
    instance: str
    quantity: Quantity
    reason: str
    component: str
    origin: str


class _Key(NamedTuple):
    """One counter: of a cumulative series, that since one start; of a delta series, all of it."""

    series: str
    since: int
    account: Account


@dataclass(frozen=True, slots=True)
class Lost:
    """What one instance of a service says it lost for one reason in the last windows.

    Attributes:
        account: whose, of what.
        spans: how many in all.
        increases: those of which the times are known, in their order.
    """

    account: Account
    spans: int
    increases: tuple[Increase, ...]


class LossLedger:
    """Accounts by service and instance; `dropped` counts measurements that a limit left out or that came too late to be placed."""

    def __init__(self, loss_readings: int = LOSS_READINGS) -> None:
        """Start knowing nothing; `loss_readings` bounds the times kept of one counter of losses."""
        self._loss_readings = loss_readings
        self._counters: dict[_Key, Counting] = {}
        self._heard: dict[_Key, int] = {}
        """The window in which a counter was read last."""
        self._levels: dict[Account, dict[str, tuple[int, int]]] = {}
        """By series: (time, value), the newest of each."""
        self._until: dict[tuple[str, str], int] = {}
        self._window = 0
        self._turned = 0.0
        self._lost: tuple[Lost, ...] | None = ()
        self.dropped = 0
        self.counted: Counter[tuple[str, str, str]] = Counter()
        """(service, quantity, reason) to spans lost; only grows."""

    def __bool__(self) -> bool:
        """Say whether anything was measured at all."""
        return bool(self._until)

    # ------------------------------------------------------------------ learning

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if not over:
            return
        self._window += 1
        for key in [key for key, window in self._heard.items() if window < self._window - 1]:
            del self._heard[key], self._counters[key]
        for counter in self._counters.values():
            counter.turn(self._window)
        alive = {(key.account.service, key.account.instance) for key in self._counters}
        self._levels = {account: level for account, level in self._levels.items() if (account.service, account.instance) in alive}
        self._until = {instance: until for instance, until in self._until.items() if instance in alive}
        self._lost = None

    def learn(self, points: Iterable[Measurement]) -> None:
        """Take measurements, in any order; what was taken before changes nothing."""
        for point in points:
            account = Account(point.service, point.instance, point.quantity, point.reason, point.component, point.origin)
            instance = (point.service, point.instance)
            if instance not in self._until and len(self._until) >= MAX_INSTANCES:
                self.dropped += 1
                continue
            taken = self._level(account, point) if point.temporality is Temporality.LEVEL else self._count(account, point)
            if taken:
                self._until[instance] = max(self._until.get(instance, 0), point.time_unix_nano)
                self._lost = None

    def _level(self, account: Account, point: Measurement) -> bool:
        known = self._levels.get(account)
        if known is None:
            if len(self._levels) >= MAX_SERIES:
                self.dropped += 1
                return False
            known = self._levels[account] = {}
        if point.series not in known and len(known) >= OTHER_READINGS:
            # processes of one name that came and went: the one that was silent longest
            del known[min(known, key=lambda series: known[series][0])]
        known[point.series] = max(known.get(point.series, (0, 0)), (point.time_unix_nano, point.value))
        return True

    def _count(self, account: Account, point: Measurement) -> bool:
        delta = point.temporality is Temporality.DELTA
        key = _Key(point.series, -1 if delta else point.start_time_unix_nano, account)
        counter = self._counters.get(key)
        if counter is None:
            if len(self._counters) >= MAX_SERIES:
                self.dropped += 1
                return False
            readings = self._loss_readings if account.quantity in _LOSSES else OTHER_READINGS
            counter = self._counters[key] = Delta(0, readings) if delta else Cumulative(point.start_time_unix_nano, readings)
        self._heard[key] = self._window
        loss = account.quantity in _LOSSES
        before, late = counter.total if loss else 0, counter.dropped
        counter.read(point.start_time_unix_nano, point.time_unix_nano, point.value, self._window)
        self.dropped += counter.dropped - late
        if loss and counter.total > before:
            labels = (account.service, str(account.quantity), account.reason)
            self.counted[labels if labels in self.counted or len(self.counted) < MAX_SERIES else OTHER] += counter.total - before
        return True

    # ------------------------------------------------------------------ what is known

    def lost(self) -> tuple[Lost, ...]:
        """Give every account of losses that is not zero, the largest first."""
        if self._lost is None:
            together: dict[Account, list[Counting]] = {}
            for key, counter in self._counters.items():
                if key.account.quantity in _LOSSES and counter.total:
                    together.setdefault(key.account, []).append(counter)
            lost = []
            for account, counters in together.items():
                increases = sorted((i for c in counters for i in c.increases()), key=lambda i: (i.until, i.since, i.number))
                lost.append(Lost(account, min(MOST, sum(c.total for c in counters)), tuple(increases)))
            self._lost = tuple(sorted(lost, key=lambda one: (-one.spans, one.account)))
        return self._lost

    def heard_until(self, service: str, instance: str = "") -> int:
        """Give until when (unix ns, by its own clock) a service, or one instance of it, has counted; 0 where it says nothing."""
        return max((until for (name, one), until in self._until.items() if name == service and (not instance or one in (instance, ""))), default=0)

    def capacity(self, service: str, instance: str) -> int:
        """Give the size of the smallest queue of an instance; 0 where that is not said."""
        sizes = self._level_values(Quantity.QUEUE_CAPACITY, service, instance)
        return min(sizes, default=0)

    def sampled(self, service: str) -> tuple[int, int] | None:
        """Give (spans begun, those of them that its sampler dropped) of a service in the last windows; None where it does not say."""
        begun: Counter[str] = Counter()
        for key, counter in self._counters.items():
            if key.account.service == service and key.account.quantity is Quantity.STARTED:
                begun[key.account.reason] += counter.total
        return (min(MOST, begun.total()), min(MOST, begun[NOT_SAMPLED])) if begun.total() else None

    def _level_values(self, quantity: Quantity, service: str, instance: str) -> list[int]:
        accounts = (a for a in self._levels if a.quantity is quantity and a.service == service and a.instance == instance)
        return [max(self._levels[account].values())[1] for account in accounts]

    def accounts(self, limit: int) -> tuple[ServiceAccount, ...]:
        """Give what each instance says, for people and programs: those that lost most first, at most so many."""
        sums: dict[tuple[str, str], Counter[Quantity]] = {instance: Counter() for instance in self._until}
        dropped: Counter[tuple[str, str]] = Counter()
        for key, counter in self._counters.items():
            instance = (key.account.service, key.account.instance)
            sums.setdefault(instance, Counter())[key.account.quantity] += counter.total
            if key.account.quantity is Quantity.STARTED and key.account.reason == NOT_SAMPLED:
                dropped[instance] += counter.total
        losses: dict[tuple[str, str], list[ReportedLoss]] = {}
        for one in self.lost():
            losses.setdefault((one.account.service, one.account.instance), []).append(reported(one, self))
        order = sorted(sums, key=lambda instance: (-sum(loss.spans for loss in losses.get(instance, ())), instance))[:limit]
        return tuple(
            ServiceAccount(
                service=instance[0],
                instance=instance[1],
                started=sums[instance][Quantity.STARTED],
                not_sampled=dropped[instance],
                exported=sums[instance][Quantity.EXPORTED],
                live=sum(self._level_values(Quantity.LIVE, *instance)),
                queue_size=max(self._level_values(Quantity.QUEUE_SIZE, *instance), default=0),
                queue_capacity=self.capacity(*instance),
                until_unix_nano=self._until.get(instance, 0),
                losses=tuple(losses.get(instance, ())),
            )
            for instance in order
        )

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give everything as JSON values."""
        return {
            "turned": self._turned,
            "window": self._window,
            "counters": [[key.series, key.since, list(key.account), self._heard[key], counter.dump()] for key, counter in self._counters.items()],
            "levels": [[list(account), [[series, *one] for series, one in level.items()]] for account, level in self._levels.items()],
            "until": [[*instance, until] for instance, until in self._until.items()],
            "counted": [[*labels, number] for labels, number in self.counted.items()],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        counters = {_Key(series, int(since), _account(account)): counting.load(one) for series, since, account, _, one in state["counters"]}
        heard = {_Key(series, int(since), _account(account)): int(window) for series, since, account, window, _ in state["counters"]}
        levels = {_account(account): {series: (int(time), int(value)) for series, time, value in level} for account, level in state["levels"]}
        until = {(service, instance): int(time) for service, instance, time in state["until"]}
        counted = Counter({(service, quantity, reason): int(number) for service, quantity, reason, number in state["counted"]})
        self._turned, self._window = float(state["turned"]), int(state["window"])
        self._counters, self._heard, self._levels, self._until, self.counted = counters, heard, levels, until, counted
        self._lost = None


def reported(one: Lost, ledger: LossLedger) -> ReportedLoss:
    """Say what was lost in the words of findings and status."""
    account = one.account
    return ReportedLoss(
        service=account.service,
        instance=account.instance,
        quantity=account.quantity,
        reason=account.reason,
        component=account.component,
        spans=one.spans,
        since_unix_nano=one.increases[0].since if one.increases else 0,
        until_unix_nano=one.increases[-1].until if one.increases else 0,
        queue_capacity=ledger.capacity(account.service, account.instance),
    )


def _account(values: list[Any]) -> Account:
    service, instance, quantity, reason, component, origin = values
    return Account(service, instance, Quantity(quantity), reason, component, origin)
