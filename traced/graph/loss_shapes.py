"""Which shape a loss has: a hole in what one instance ended, an instance that was replaced, or a burst in which it lost a share. Where the data decide."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import exp, lgamma
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from traced.graph.causes import LOCAL_LOSS, UPSTREAM_LOSS
from traced.graph.columns import Ints
from traced.graph.forest import Forest
from traced.graph.shares import at_least
from traced.graph.timelines import Instance, Timelines
from traced.model.loss_shapes import BATCH, QUEUE_FULL, RESTART

CHANCE: Final = 1e-3
"""So unlikely must it be that chance made a hole, a silence or a burst."""
ORDINARY: Final = 0.05
"""So likely must the longest pause within a burst be: else it is a hole, of which not enough is known."""
MIN_BESIDE: Final = 10
"""Traces that an instance took part in on each side of a hole, or before it was replaced: they say how often it ends something."""
MAX_BESIDE: Final = 50
OTHERS: Final = 0.5
"""Share of their usual rate that other instances keep up during a hole: else nothing was asked for."""
REPLACED_NANOS: Final = 120_000_000_000
"""So soon after its last span another instance takes a killed one's place."""
MIN_BURST: Final = 3
"""Absent spans that make a burst."""
BURST_SHARES: Final = (0.2, 0.8)
"""Share of an instance's spans within a burst that are absent: fewer are single losses, more a hole."""
ELSEWHERE: Final = 0.02
"""Share of its spans that may be absent otherwise."""
APART: Final = 20
"""Spans in a row that are there, which part two bursts; half as many are before and after one."""
MAX_JUDGED: Final = 1_000
"""Orphans of one pass of which the shape is looked for; those of others stay without."""

SHAPES: Final = pa.schema(
    [
        ("number", pa.int64()),
        ("shape", pa.string()),
        ("instance", pa.string()),
        ("since_unix_nano", pa.int64()),
        ("until_unix_nano", pa.int64()),
        ("missing", pa.int64()),
        ("seen", pa.int64()),
        ("missing_elsewhere", pa.int64()),
        ("seen_elsewhere", pa.int64()),
        ("replaced_by", pa.string()),
        ("chance", pa.float64()),
    ],
)
"""Shapes that orphans refer to by their number. `instance`: whose loss. `since`, `until`: of the hole, the silence before the next instance, or the burst.
`missing`, `seen`: of the spans that have children of the instance's own, those in a burst that are absent, and all there; of a hole or a silence, 0, and the
traces beside it that say how often the instance ends something. `…_elsewhere`: the same outside a burst. `replaced_by`: the next instance. `chance`: how
likely it were without such a loss."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A row of SHAPES without its number."""

    shape: str
    instance: str
    since: int
    until: int
    missing: int = 0
    seen: int = 0
    missing_elsewhere: int = 0
    seen_elsewhere: int = 0
    replaced_by: str = ""
    chance: float = 0.0


def with_shapes(causes: pa.Table, forest: Forest, timelines: Timelines) -> tuple[pa.Table, pa.Table]:
    """Give orphans with their causes and the number of their loss's shape (`shape`, null where the data do not decide), and these as SHAPES.

    Also `shape_awaited`: nothing is known yet of what the instance did afterwards, so that it may be told later.
    """
    count = causes.num_rows
    numbers, awaited, known = np.full(count, -1), np.zeros(count, bool), dict[Shape, int]()
    lost = _lost(causes, forest, timelines) if count else {}
    windows: dict[Instance, list[_Window]] = {}
    for window, whose in lost.values():
        for instance in whose:
            windows.setdefault(instance, []).append(window)
    judges = {instance: _Judge(instance, timelines, mine) for instance, mine in windows.items()}
    for at, (window, whose) in lost.items():
        found = [shape for instance in whose if (shape := judges[instance].shape(window)) is not None]
        # of a caller that is gone nobody knows which instance it was, unless one stands out
        if len(found) == 1:
            numbers[at] = known.setdefault(found[0], len(known))
        awaited[at] = not found and any(judges[instance].ends_with(window.until) for instance in whose)
    causes = causes.append_column("shape", pa.array(numbers, pa.int64(), mask=numbers < 0)).append_column("shape_awaited", pa.array(awaited))
    return causes, _table(known)


class _Window(NamedTuple):
    """When an absent span ended, as far as its child tells: not before that began, and as its like do. `local`: the child is of the same process."""

    trace: int
    since: int
    until: int
    local: bool


def _lost(causes: pa.Table, forest: Forest, timelines: Timelines) -> dict[int, tuple[_Window, list[Instance]]]:
    """Give, of the rows that are losses, when the absent span ended and which instances may have lost it; those with an instance only."""
    rows = np.asarray(causes.column("row"))
    columns = (causes.column(name).to_pylist() for name in ("cause", "likely_caller", "parent_lasts"))
    lost: dict[int, tuple[_Window, list[Instance]]] = {}
    for at, (row, cause, caller, lasts) in enumerate(zip(rows.tolist(), *columns, strict=True)):
        if cause not in (LOCAL_LOSS, UPSTREAM_LOSS) or len(lost) == MAX_JUDGED:
            continue
        local = cause == LOCAL_LOSS
        window = _Window(int(forest.trace[row]), int(forest.start[row]), int(max(forest.end[row], forest.start[row] + lasts)), local)
        whose = [instance for instance in ([_own(forest, row)] if local else timelines.of_service(caller)) if instance[1]]
        if whose:
            lost[at] = (window, whose)
    return lost


def _table(shapes: Iterable[Shape]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(shapes):
        facts = {name: getattr(one, name) for name in SHAPES.names if hasattr(one, name)}
        rows.append({**facts, "number": number, "since_unix_nano": one.since, "until_unix_nano": one.until})
    return pa.Table.from_pylist(rows, schema=SHAPES)


def _own(forest: Forest, row: int) -> Instance:
    instances = forest.codes["service_instance_id"]
    return forest.service.texts[forest.service.of[row]], instances.texts[instances.of[row]]


class _Judge:
    """Looks at the timeline of one instance, and at the windows of what it may have lost."""

    def __init__(self, instance: Instance, timelines: Timelines, windows: list[_Window]) -> None:
        self._instance, self._timelines, self._windows = instance, timelines, windows
        self._ends, self._turns = timelines.ends(instance), timelines.turns(instance)
        self._parents, self._absent = timelines.parents(instance)
        traces = {window.trace: window for window in windows}.values()
        self._since, self._until = (np.array([getattr(window, name) for window in traces], np.int64) for name in ("since", "until"))

    def ends_with(self, time: int) -> bool:
        """Say whether nothing is known of the instance, or too little, after a time."""
        return bool(np.count_nonzero(self._turns > time) < MIN_BESIDE)

    def shape(self, window: _Window) -> Shape | None:
        """Give the shape of a loss; None where nothing tells."""
        if len(self._ends) < 2 * MIN_BESIDE:
            return None
        hole = next((one for one in self._holes if window.since <= one.until and window.until >= one.since), None)
        return self._restart(window) or hole or (self._burst(window) if window.local else None)

    @cached_property
    def _holes(self) -> list[Shape]:
        """Give the holes that any of the losses shows, the least likely by chance first: those of long spans touch one and do not show it."""
        found = (shape for window in set(self._windows) if (shape := self._hole(window)) is not None)
        return sorted(found, key=lambda shape: (shape.chance, shape.since))

    def _pause(self, since: int, until: int) -> tuple[int, int, int] | None:
        """Give the longest stretch within which the instance ended nothing, of those that touch a window: begin, end, and how many touch it."""
        first, last = np.searchsorted(self._ends, since, "right") - 1, np.searchsorted(self._ends, until)
        if first < 0 or last >= len(self._ends) or last <= first:
            return None
        gaps = np.diff(self._ends[first : last + 1])
        at = int(first + np.argmax(gaps))
        return int(self._ends[at]), int(self._ends[at + 1]), len(gaps)

    def _beside(self, begin: int, end: int) -> tuple[Ints, Ints]:
        before, after = int(np.searchsorted(self._turns, begin, "right")), int(np.searchsorted(self._turns, end))
        return self._turns[max(0, before - MAX_BESIDE) : before], self._turns[after : after + MAX_BESIDE]

    def _empty_by_chance(self, begin: int, end: int, times: int) -> float:
        """Give the chance that one of so many stretches is as long, if the instance's traces end at any time, as often as beside it."""
        before, after = self._beside(begin, end)
        beside = sum(int(turns[-1] - turns[0]) for turns in (before, after) if len(turns))
        rate = max(0, len(before) + len(after) - 2) / max(1, beside)
        return min(1.0, times * exp(-rate * (end - begin)))

    def _hole(self, window: _Window) -> Shape | None:
        """Look for a stretch in which the instance ended nothing, though it ended spans of many traces before and after, and others went on.

        Losses one by one would not lie together: that they do counts beside the length of the stretch.
        """
        pause = self._pause(window.since, window.until)
        if pause is None:
            return None
        begin, end, times = pause
        before, after = self._beside(begin, end)
        if min(len(before), len(after)) < MIN_BESIDE:
            return None
        empty = self._empty_by_chance(begin, end, times)
        if empty > ORDINARY:
            return None
        chance = empty * self._together_by_chance(begin, end)
        if chance > CHANCE or not self._others_go_on(int(before[0]), begin, end, int(after[-1])):
            return None
        return Shape(BATCH, self._instance[1], begin, end, seen=len(before) + len(after), chance=chance)

    def _together_by_chance(self, begin: int, end: int) -> float:
        """Give the chance that the losses of so many traces touch one stretch, if they lie anywhere."""
        touching = int(np.count_nonzero((self._since <= end) & (self._until >= begin)))
        reach = end - begin + float(np.mean(self._until - self._since))
        share = min(1.0, reach / max(1, int(self._ends[-1] - self._ends[0])))
        return at_least(touching - 1, len(self._since) - 1, share)

    def _others_go_on(self, first: int, begin: int, end: int, last: int) -> bool:
        others = self._timelines.others
        within = others(self._instance, begin, end) / max(1, end - begin)
        beside = (others(self._instance, first, begin) + others(self._instance, end, last)) / max(1, begin - first + last - end)
        return within >= OTHERS * beside > 0

    def _restart(self, window: _Window) -> Shape | None:
        """Look for another instance that began just after this one's last span, after which it ended nothing though it had often before."""
        own = self._timelines.life(self._instance)
        if own is None or window.until < own.last or window.since > own.last + REPLACED_NANOS:
            return None
        lives = {other: self._timelines.life(other) for other in self._timelines.of_service(self._instance[0])}
        next_ = [(life.first, other[1]) for other, life in lives.items() if life is not None and own.last < life.first <= own.last + REPLACED_NANOS]
        before = self._turns[-MAX_BESIDE:]
        if not next_ or len(before) < MIN_BESIDE:
            return None
        began, successor = min(next_)
        silent = max(life.last for life in lives.values() if life is not None) - own.last
        chance = exp(-(len(before) - 1) / max(1, int(before[-1] - before[0])) * silent)
        if chance > CHANCE:
            return None
        return Shape(RESTART, self._instance[1], own.last, began, seen=len(before), replaced_by=successor, chance=chance)

    def _burst(self, window: _Window) -> Shape | None:
        """Look for a stretch in which many of the instance's spans are absent and others are not, where next to none is absent before and after."""
        lost = np.flatnonzero(self._absent)
        mine = lost[(self._parents[lost] >= window.since) & (self._parents[lost] <= window.until)]
        if not len(mine):
            return None
        group = np.concatenate([[0], np.cumsum(np.diff(lost) > APART)])
        burst = lost[group == group[np.searchsorted(lost, mine[0])]]
        missing, seen = len(burst), int(burst[-1] - burst[0] + 1)
        rest, other = len(lost) - missing, len(self._absent) - seen
        edges = min(int(burst[0]), len(self._absent) - 1 - int(burst[-1]))
        few, many = BURST_SHARES
        if missing < MIN_BURST or not few * seen <= missing <= many * seen or edges < APART // 2 or rest > ELSEWHERE * other:
            return None
        begin, end = int(self._parents[burst[0]]), int(self._parents[burst[-1]])
        pause = self._pause(begin, max(end, window.until))
        if pause is None or self._empty_by_chance(*pause) < ORDINARY:
            return None
        # so many of all that are missing in one of the stretches of this length
        chance = min(1.0, len(self._absent) / seen * _tail(missing, seen, len(lost), len(self._absent)))
        return Shape(QUEUE_FULL, self._instance[1], begin, end, missing, seen, rest, other, chance=chance) if chance <= CHANCE else None


def _tail(hits: int, drawn: int, marked: int, whole: int) -> float:
    """Give the chance of drawing so many of the marked, or more (hypergeometric distribution)."""
    ways, fewest = _choices(whole, drawn), max(hits, drawn - whole + marked)
    return sum(exp(_choices(marked, n) + _choices(whole - marked, drawn - n) - ways) for n in range(fewest, min(drawn, marked) + 1))


def _choices(whole: int, part: int) -> float:
    return lgamma(whole + 1) - lgamma(part + 1) - lgamma(whole - part + 1)
