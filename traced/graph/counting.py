"""One counter of an SDK or a Collector as its readings come: in any order, repeated, with gaps and restarts. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple


class Increase(NamedTuple):
    """So many more between two times (unix ns); `since` is 0 where that is not known."""

    since: int
    until: int
    number: int


class Counting(ABC):
    """What one counter said in the last windows of time.

    Readings are kept with the window in which they came. Beyond `max_readings` the earliest is folded: its time is forgotten, and its increase
    goes to a sum. What came before the window before this one is forgotten altogether.

    Attributes:
        dropped: readings of a time that was folded already, so that they might have been among those.
    """

    def __init__(self, start: int, max_readings: int) -> None:
        """Begin without readings; `start` is in unix ns, 0 where it is not said."""
        self.dropped = 0
        self._start = start
        self._max = max_readings
        self._floor = 0
        self._readings: dict[tuple[int, int], tuple[int, int]] = {}
        """(time, start) to (value, window)."""
        self._folded = [0, 0]
        self._known: tuple[Increase, ...] | None = ()
        """The increases, until a reading changes them, and their sum."""
        self._sum = 0

    def read(self, start: int, time: int, value: int, window: int) -> None:
        """Take a reading (unix ns); one that came before changes nothing."""
        if time <= self._floor:
            self.dropped += 1
            return
        known = self._readings.get((time, start))
        if known is not None and value <= known[0]:
            return
        self._readings[time, start] = (value, window if known is None else known[1])
        self._known = None
        if len(self._readings) > self._max and not self._thin():
            came = self._readings[min(self._readings)][1]
            self._folded[came >= window] += self._fold()

    def increases(self) -> tuple[Increase, ...]:
        """Give the increases of which the times are known, in the order of time."""
        if self._known is None:
            self._known = tuple(self._increases())
            self._sum = sum(increase.number for increase in self._known)
        return self._known

    @abstractmethod
    def _increases(self) -> Iterator[Increase]:
        """Work them out of the readings."""

    @property
    def total(self) -> int:
        """Give by how much it increased in the last windows."""
        self.increases()
        return sum(self._folded) + self._sum

    def turn(self, window: int) -> None:
        """Begin a window: forget what came before the one before."""
        while self._readings and self._readings[min(self._readings)][1] < window - 1:
            self._fold()
        self._folded = [self._folded[1], 0]

    def dump(self) -> list[Any]:
        """Give it as JSON values."""
        return [type(self).__name__, self._start, self._max, self._floor, self._seen(), [[*key, *one] for key, one in self._readings.items()], self._folded]

    def _thin(self) -> bool:
        """Take out a reading that says nothing new, if there is one."""
        return False

    def _seen(self) -> int:
        """Give the value that was folded last; -1 without one."""
        return -1

    def _fold(self) -> int:
        """Forget the time of the earliest reading; give its increase."""
        first = min(self._readings)
        gained = next((increase.number for increase in self.increases() if increase.until == first[0]), 0)
        self._forget(self._readings.pop(first)[0])
        self._floor = first[0]
        self._known = None
        return gained

    def _forget(self, value: int) -> None:
        """Note what is needed of a reading that goes: nothing, where each stands for itself."""
        del value


class Cumulative(Counting):
    """A counter of which each reading holds everything since its start.

    Within one start the value only grows, so the largest one is the sum, in whatever order readings come. Where the start is not said (0), the
    first reading is where counting begins, and a value that falls is a restart.
    """

    def __init__(self, start: int, max_readings: int) -> None:
        """Begin without readings."""
        super().__init__(start, max_readings)
        self._highest = 0 if start else -1

    def read(self, start: int, time: int, value: int, window: int) -> None:
        """Take a reading."""
        del start
        super().read(self._start, time, value, window)

    def _increases(self) -> Iterator[Increase]:
        """Give what each reading adds to those before it."""
        since, seen = self._floor or self._start, self._highest
        for key in sorted(self._readings):
            value = self._readings[key][0]
            restarted = value < seen and not self._start
            if restarted or value > seen >= 0:
                number = value if restarted else value - seen
                if number:
                    yield Increase(since, key[0], number)
            seen = value if restarted else max(seen, value)
            since = key[0]

    def _thin(self) -> bool:
        keys = sorted(self._readings)
        for before, key, after in zip(keys, keys[1:], keys[2:], strict=False):
            if self._readings[before][0] == self._readings[key][0] == self._readings[after][0]:
                # no increase begins or ends with it
                del self._readings[key]
                return True
        return False

    def _seen(self) -> int:
        return self._highest

    def _forget(self, value: int) -> None:
        self._highest = max(value, self._highest) if self._start else value


class Delta(Counting):
    """A counter of which each reading holds what came since the one before; each counts once, however often it comes."""

    def read(self, start: int, time: int, value: int, window: int) -> None:
        """Take a reading; that there was nothing more is not kept."""
        if value:
            super().read(start, time, value, window)

    def _increases(self) -> Iterator[Increase]:
        """Give the readings."""
        for time, start in sorted(self._readings):
            yield Increase(start, time, self._readings[time, start][0])


def load(state: list[Any]) -> Counting:
    """Make a counter of what `dump` gave.

    Raises:
        ValueError, TypeError: this is no such state.
    """
    kind, start, most, floor, seen, readings, folded = state
    counting: Counting = Delta(int(start), int(most)) if kind == Delta.__name__ else Cumulative(int(start), int(most))
    if isinstance(counting, Cumulative):
        counting._highest = int(seen)  # noqa: SLF001 - the other half of `dump`
    counting._floor, counting._known = int(floor), None  # noqa: SLF001
    counting._readings = {(int(time), int(since)): (int(value), int(window)) for time, since, value, window in readings}  # noqa: SLF001
    before, now = folded
    counting._folded = [int(before), int(now)]  # noqa: SLF001
    return counting
