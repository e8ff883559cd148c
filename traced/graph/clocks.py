"""Between which bounds two clocks differ, over the last one to two hours: in slices of time, since a clock may drift and a call may mislead.

Source: that no delay is negative bounds the offset by each synchronous, answered call (Cristian, Probabilistic clock synchronization, 1989).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints
from traced.graph.windows import turned

MAX_PAIRS: Final = 5_000
MIN_CLOCK_PAIRS: Final = 20
"""Calls between two clocks from which on something is said of them."""
SHOW_AGAIN_SECONDS: Final = 600.0
SLICE_NANOS: Final = 15_000_000_000
MAX_SLICES: Final = 512
"""Slices of one pass."""
KEPT: Final = 4
"""Bounds remembered on either side of a slice: those that say most. So many of its calls may be left out at the most."""
LEFT_OUT: Final = 100
"""One call in so many may be left out where the bounds of all contradict each other."""
PROVING_SHARE_OF_A_PART: Final = 0.5
"""Share of the calls of a part that must exclude zero each by itself: among many parts one may fit by chance."""
_SHORTEST: Final = 4
"""Slices of the shortest length, the newest, before the oldest of them is put into one of twice that length, and so on."""
_OTHERS: Final = 2
_NEARLY: Final = 0.05
"""Bounds that move with a drifting clock are told again when they moved by so much of themselves."""
_MILLISECOND: Final = 1_000_000

Row = dict[str, Any]
Pair = tuple[str, str]
"""The client's clock and the server's."""

_FACTS: Final = {
    "median_duration": pa.float64(),
    "client_service": pa.string(),
    "server_service": pa.string(),
    "trace_id_high": pa.uint64(),
    "trace_id_low": pa.uint64(),
    "span_id": pa.uint64(),
    "start_time_unix_nano": pa.int64(),
    "seen": pa.bool_(),
}
_NUMBERS: Final = ("lower", "upper", "pairs", "ahead", "behind", "pairs_in_all")
HISTORY: Final = pa.schema(
    [("client_clock", pa.string()), ("server_clock", pa.string()), *((name, pa.int64()) for name in _NUMBERS), ("narrowed", pa.bool_()), *_FACTS.items()],
)
"""One row a pair of clocks. `lower`, `upper`: bounds of the server's offset (ns); they contradict each other where lower is above upper. `pairs`: calls
that give them, `ahead` and `behind`: of these, calls that exclude zero by a millisecond each alone. `narrowed`: only a part of `pairs_in_all` calls gives
them, because the bounds of all contradict each other. `seen`: it is to be told of now."""


def slice_numbers(times: Ints) -> Ints:
    """Number the slices of times (unix ns); times far from the others, which may be anything, are put into the slices at the ends."""
    numbers: Ints = times // SLICE_NANOS
    if not len(numbers):
        return numbers
    middle = int(np.median(numbers))
    return np.clip(numbers, middle - MAX_SLICES // 2, middle + MAX_SLICES // 2)


@dataclass(slots=True)
class Slice:
    """Calls of a time: how many, how many exclude zero alone, and the tightest bounds, the tightest first."""

    pairs: int = 0
    ahead: int = 0
    behind: int = 0
    lowers: list[int] = field(default_factory=list)
    uppers: list[int] = field(default_factory=list)

    def add(self, other: Slice, kept: int = KEPT) -> None:
        """Add another's calls."""
        self.pairs += other.pairs
        self.ahead += other.ahead
        self.behind += other.behind
        # one call may be seen again with its trace
        self.lowers = sorted({*self.lowers, *other.lowers}, reverse=True)[:kept]
        self.uppers = sorted({*self.uppers, *other.uppers})[:kept]

    def bounds(self, left_out: int = 0) -> tuple[int, int]:
        """Give the bounds, without so many of the tightest on either side."""
        return self.lowers[min(left_out, len(self.lowers) - 1)], self.uppers[min(left_out, len(self.uppers) - 1)]


class Slices:
    """Slices of doubling length, the newest the shortest: enough to look at ever newer parts, in little room."""

    def __init__(self) -> None:
        """Start with none."""
        self._slices: dict[tuple[int, int], Slice] = {}
        """By level and number: a slice of level n is 2**n of the shortest long."""

    def add(self, number: int, more: Slice) -> None:
        """Add calls to the slice of a number at level 0, or to the longer one that it is part of."""
        level = next((level for level in self._levels() if (level, number >> level) in self._slices), 0)
        self._slices.setdefault((level, number >> level), Slice()).add(more)
        level = 0
        while len(mine := sorted(n for at, n in self._slices if at == level)) > (_OTHERS if level else _SHORTEST):
            for oldest in mine[: len(mine) - (_OTHERS if level else _SHORTEST)]:
                self._slices.setdefault((level + 1, oldest >> 1), Slice()).add(self._slices.pop((level, oldest)))
            level += 1

    def _levels(self) -> list[int]:
        return sorted({level for level, _ in self._slices})

    def ordered(self) -> list[Slice]:
        """Give the slices, the oldest first."""
        return [self._slices[key] for key in sorted(self._slices, key=lambda key: (key[1] << key[0], -key[0]))]

    def dump(self) -> list[Any]:
        """Give them as JSON values."""
        return [[*key, one.pairs, one.ahead, one.behind, one.lowers, one.uppers] for key, one in self._slices.items()]

    @classmethod
    def loaded(cls, rows: Iterable[Any]) -> Slices:
        """Take what `dump` gave.

        Raises:
            ValueError, TypeError: it did not give this.
        """
        taken = cls()
        for level, number, pairs, ahead, behind, lowers, uppers in rows:
            if not lowers or not uppers:
                raise ValueError("a slice without bounds")
            taken._slices[int(level), int(number)] = Slice(int(pairs), int(ahead), int(behind), [int(x) for x in lowers], [int(x) for x in uppers])
        return taken


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known of one offset: see HISTORY."""

    lower: int
    upper: int
    pairs: int
    ahead: int
    behind: int
    pairs_in_all: int
    narrowed: bool = False


def bounds_of(before: Sequence[Slice], now: Sequence[Slice]) -> Bounds:
    """Conclude the bounds of an offset from slices, the oldest first, of which `now` has some.

    Where the bounds of all calls contradict each other, those of the present window count (the clock was set meanwhile); where these do too, the
    longest part up to the newest of which they do not, and which is off by itself; of that, one call in LEFT_OUT is left out where that helps.
    """
    slices = [*before, *now]
    whole, present = _whole(slices), _whole(now)
    for found in (whole, present):
        if found.lower <= found.upper:
            return replace(found, pairs_in_all=whole.pairs)
    if not any(_off(one) for one in slices):
        return whole
    part, longest = Slice(), whole
    for number, one in enumerate(reversed(slices), 1):
        part.add(one, KEPT * number)
        if part.pairs >= MIN_CLOCK_PAIRS and _off(part):
            sound = (part.bounds(left_out) for left_out in (0, part.pairs // LEFT_OUT))
            lower, upper = next(((lower, upper) for lower, upper in sound if lower <= upper), (1, 0))
            if lower <= upper:
                longest = Bounds(lower, upper, part.pairs, part.ahead, part.behind, whole.pairs, narrowed=True)
    return longest


def _whole(slices: Sequence[Slice]) -> Bounds:
    """Give what all calls say together."""
    pairs, ahead, behind = (sum(numbers) for numbers in zip(*((one.pairs, one.ahead, one.behind) for one in slices), strict=True))
    return Bounds(max(one.lowers[0] for one in slices), min(one.uppers[0] for one in slices), pairs, ahead, behind, pairs)


def _off(one: Slice) -> bool:
    """Say whether enough of some calls exclude zero alone, on one side."""
    return max(one.ahead, one.behind) >= PROVING_SHARE_OF_A_PART * one.pairs


class Clocks:
    """Learns pass by pass, in two windows that take turns; `dropped` counts pairs of clocks beyond the limit."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: dict[Pair, Slices] = {}
        self._before: dict[Pair, Slices] = {}
        self._facts: dict[Pair, Row] = {}
        self._time = self._turned = 0.0
        self._shown: dict[Pair, tuple[float, Bounds]] = {}
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._time = now
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now
            self._facts = {pair: facts for pair, facts in self._facts.items() if pair in self._before}
            self._shown = {pair: shown for pair, shown in self._shown.items() if pair in self._before}

    def learn(self, rows: Iterable[Row]) -> None:
        """Take rows of `queries/analysis/clock_pairs.sql`, one of each pair with its example; pairs not among them count as not seen now."""
        for facts in self._facts.values():
            facts["seen"] = False
        for row in rows:
            pair = (row["client_clock"], row["server_clock"])
            if pair not in self._now and len(self._now) >= MAX_PAIRS:
                self.dropped += 1
                continue
            self._now.setdefault(pair, Slices()).add(row["slice"], Slice(*(row[name] for name in ("pairs", "ahead", "behind", "lowers", "uppers"))))
            if "span_id" in row:
                known = self._facts.get(pair, row)
                services = {name: known[name] for name in ("client_service", "server_service")}
                self._facts[pair] = {**{name: row[name] for name in _FACTS if name != "seen"}, **services, "seen": True}

    def table(self) -> pa.Table:
        """Give `clock_history` (HISTORY)."""
        rows = []
        for pair, now in self._now.items():
            facts, before = self._facts[pair], self._before.get(pair)
            if not facts["seen"]:
                continue  # nothing is told of it, so nothing need be concluded
            found = bounds_of(before.ordered() if before else (), now.ordered())
            seen = found.pairs >= MIN_CLOCK_PAIRS and self._worth_showing(pair, found)
            numbers = {name: getattr(found, name) for name in (*_NUMBERS, "narrowed")}
            rows.append({"client_clock": pair[0], "server_clock": pair[1], **numbers, **facts, "seen": seen})
        return pa.Table.from_pylist(rows, schema=HISTORY)

    def _worth_showing(self, pair: Pair, found: Bounds) -> bool:
        """Say whether a pair of clocks is told again: what is known of it changed, or it was long ago. Every pass would be too often."""
        time, shown = self._shown.get(pair, (0.0, None))
        if shown is not None and _alike(shown, found) and 0 <= self._time - time < SHOW_AGAIN_SECONDS:
            return False
        self._shown[pair] = (self._time, found)
        return True

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values."""
        windows = [[[*pair, slices.dump()] for pair, slices in window.items()] for window in (self._before, self._now)]
        return {"turned": self._turned, "windows": windows, "facts": [[*pair, dict(facts)] for pair, facts in self._facts.items()]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = ({(str(client), str(server)): Slices.loaded(rows) for client, server, rows in window} for window in state["windows"])
        facts = {(str(client), str(server)): {name: known[name] for name in _FACTS} for client, server, known in state["facts"]}
        if not before.keys() | now.keys() <= facts.keys():
            raise KeyError("facts")
        self._turned, self._before, self._now, self._facts = float(state["turned"]), before, now, facts


def _alike(one: Bounds, other: Bounds) -> bool:
    if one.narrowed != other.narrowed or not one.narrowed:
        return (one.narrowed, one.lower, one.upper) == (other.narrowed, other.lower, other.upper)
    pairs = ((one.lower, other.lower), (one.upper, other.upper))
    return all(abs(a - b) <= max(_MILLISECOND, _NEARLY * abs(a)) for a, b in pairs)
