"""What was learned over the last hours, bounded: how regularly calls are answered, clocks, repeats, names.

Counts live in two windows that take turns, so that what is shown covers between one and two windows of time. Pure: the time is
given from outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from traced.graph.called import callee_name
from traced.graph.clocks import Clocks
from traced.graph.responses import answered_by_service
from traced.graph.service_keys import name_of
from traced.graph.windows import turned

MAX_SLOTS: Final = 20_000
MAX_ALIASES: Final = 5_000
MAX_INSTANCES: Final = 20_000
Row = dict[str, Any]
_NOBODY: Final[Counter[str]] = Counter()


@dataclass(slots=True)
class _Window:
    slots: dict[tuple[str, str, str, str], Counter[str]] = field(default_factory=dict)
    spans: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeats: Counter[tuple[str, str]] = field(default_factory=Counter)
    aliases: dict[str, Counter[str]] = field(default_factory=dict)
    answered: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)
    """The slots' answers by (service, name, peer): found again from the slots, whatever their outcome."""

    def answer(self, call: tuple[str, str, str], callee: str, calls: int) -> None:
        if callee:
            self.answered.setdefault(call, Counter())[callee] += calls


class History:
    """The two windows."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now, self._before = _Window(), _Window()
        self.clocks = Clocks()
        self._turned = 0.0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Count what limits left out."""
        return self._dropped + self.clocks.dropped

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self.clocks.turn(now)
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = _Window(), self._now

    def learn_slots(self, rows: Sequence[Row], sign: int = 1) -> None:
        """Add rows of `relation.slots`; with sign -1 take back what was learned of traces that are looked at again."""
        # who is answered first: calls that nobody answers are only counted of addresses where somebody may answer
        for row in sorted(rows, key=lambda r: r["callee"] == ""):
            key = (row["service"], row["name"], row["peer"], row["outcome"])
            callees = self._now.slots.get(key)
            if callees is None:
                if len(self._now.slots) >= MAX_SLOTS:
                    self._dropped += 1
                    continue
                callees = self._now.slots[key] = Counter()
            callees[row["callee"]] += sign * row["calls"]
            self._now.answer(key[:3], row["callee"], sign * row["calls"])
            if row["peer"]:
                self._learn_alias(row["peer"], name_of(row["callee"]), sign * row["calls"])

    def _learn_alias(self, address: str, service: str, calls: int) -> None:
        known = self._now.aliases.get(address)
        if known is None:
            if not service:
                return
            if len(self._now.aliases) >= MAX_ALIASES:
                self._dropped += 1
                return
            known = self._now.aliases[address] = Counter()
        known[service] += calls

    def learn_clocks(self, rows: Iterable[Row]) -> None:
        """Take rows of `queries/analysis/clock_pairs.sql`."""
        self.clocks.learn(rows)

    def learn_instances(self, spans: Mapping[tuple[str, str], int], repeats: Mapping[tuple[str, str], int]) -> None:
        """Add spans and repeats by (service, instance)."""
        for known, more in ((self._now.spans, spans), (self._now.repeats, repeats)):
            for instance, number in more.items():
                if instance in known or len(known) < MAX_INSTANCES:
                    known[instance] += number
                else:
                    self._dropped += 1

    # ------------------------------------------------------------------ what detectors read

    def aliases(self) -> dict[str, str]:
        """Give addresses and peer names whose calls are mostly answered, and by one service only; '' where several answer."""
        together: dict[str, Counter[str]] = {}
        for window in (self._before, self._now):
            for address, services in window.aliases.items():
                together.setdefault(address, Counter()).update(services)
        meanings = {}
        for address, calls in together.items():
            names = [service for service, number in calls.items() if service and number > 0]
            if len(names) == 1 and calls[names[0]] >= calls[""]:
                meanings[address] = names[0]
            elif len(names) > 1:
                meanings[address] = ""
        return meanings

    def answered(self, call: tuple[str, str, str]) -> frozenset[str]:
        """Give the keys of the services that answered the like of a call: (the caller's key, what it is called, peer name)."""
        windows = (self._before.answered, self._now.answered)
        return frozenset(service for window in windows for service, number in window.get(call, _NOBODY).items() if number > 0)

    def reached(self, address: str) -> frozenset[str]:
        """Give the services that were reached at an address or under a peer name."""
        windows = (self._before.aliases, self._now.aliases)
        return frozenset(service for window in windows for service, number in window.get(address, _NOBODY).items() if service and number > 0)

    def unanswered(self) -> dict[str, int]:
        """Give, by whom they name (`called.callee_name`), the calls that were answered, of services whose calls there no span ever answered."""
        together: dict[tuple[str, str], tuple[int, int]] = {}
        for window in (self._before, self._now):
            for (service, name, peer, outcome), callees in window.slots.items():
                callee = callee_name(peer, name)
                if callee:
                    silent, spoken = together.get((service, callee), (0, 0))
                    named = callees.total() - callees[""]
                    together[service, callee] = (silent + (callees[""] if answered_by_service(outcome) else 0), spoken + named)
        by_callee: Counter[str] = Counter()
        for (_, callee), (silent, spoken) in together.items():
            if not spoken:
                by_callee[callee] += silent
        return dict(by_callee)

    def tables(self, instances: Iterable[tuple[str, str]] = ()) -> dict[str, pa.Table]:
        """Give `slot_history`, `clock_history` and, of some (service, instance), `instance_history`."""
        return {"slot_history": self._slot_table(), "clock_history": self.clocks.table(), "instance_history": self._instance_table(instances)}

    def _slot_table(self) -> pa.Table:
        rows = []
        for key in {**self._before.slots, **self._now.slots}:
            # adding leaves out what was taken back
            callees = self._before.slots.get(key, Counter()) + self._now.slots.get(key, Counter())
            calls, unanswered = callees.total(), callees.get("", 0)
            named = {name: n for name, n in callees.items() if name}
            if named:
                callee = max(sorted(named), key=named.__getitem__)
                rows.append((*key, name_of(callee), calls - unanswered, calls))
        names = ["service", "name", "peer", "outcome", "callee", "answered", "calls"]
        return _table(rows, names, [pa.string()] * 5 + [pa.int64()] * 2)

    def _instance_table(self, instances: Iterable[tuple[str, str]]) -> pa.Table:
        windows = (self._before, self._now)
        rows = [(*key, sum(w.spans.get(key, 0) for w in windows), sum(w.repeats.get(key, 0) for w in windows)) for key in instances]
        return _table(rows, ["service", "instance", "spans", "repeats"], [pa.string()] * 2 + [pa.int64()] * 2)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        return {"turned": self._turned, "windows": [_dump_window(w) for w in (self._before, self._now)], "clocks": self.clocks.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_load_window(w) for w in state["windows"])
        self.clocks.load(state["clocks"])
        self._turned, self._before, self._now = float(state["turned"]), before, now


def _dump_window(window: _Window) -> dict[str, Any]:
    return {
        "slots": [[*key, dict(callees)] for key, callees in window.slots.items()],
        "spans": [[*key, n] for key, n in window.spans.items()],
        "repeats": [[*key, n] for key, n in window.repeats.items()],
        "aliases": {address: dict(services) for address, services in window.aliases.items()},
    }


def _load_window(state: Mapping[str, Any]) -> _Window:
    window = _Window(
        slots={(service, name, peer, outcome): Counter(callees) for service, name, peer, outcome, callees in state["slots"]},
        spans=Counter({(service, instance): n for service, instance, n in state["spans"]}),
        repeats=Counter({(service, instance): n for service, instance, n in state["repeats"]}),
        aliases={address: Counter(services) for address, services in state["aliases"].items()},
    )
    for (service, name, peer, _), callees in window.slots.items():
        for callee, calls in callees.items():
            window.answer((service, name, peer), callee, calls)
    return window


def _table(rows: list[tuple[Any, ...]], names: list[str], kinds: list[pa.DataType]) -> pa.Table:
    columns: list[list[Any]] = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in names]
    return pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names=names)
