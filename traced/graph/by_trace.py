"""What single traces showed of services: bounded, forgotten after two windows of time, and taken back when a trace is looked at again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, KeysView
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByTrace(Generic[Value]):
    """Remembers a value for each (service, trace key); the newest ones of each service, and of all."""

    def __init__(self, most_each: int, most: int) -> None:
        """Start with nothing.

        Args:
            most_each: traces remembered of one service.
            most: traces remembered in all; each may be of several services.
        """
        self._most_each, self._most = most_each, most
        self._values: dict[str, OrderedDict[int, tuple[Value, int]]] = {}
        self._traces: OrderedDict[int, set[str]] = OrderedDict()
        self._nothing: OrderedDict[int, tuple[Value, int]] = OrderedDict()
        self._window = 0
        self.changed: set[str] = set()
        """Services of which anything was put or forgotten; whoever keeps what follows from it empties it."""

    def __bool__(self) -> bool:
        return bool(self._traces)

    def services(self) -> KeysView[str]:
        """Give the services that anything is remembered of."""
        return self._values.keys()

    def of(self, service: str) -> list[Value]:
        """Give what is remembered of a service, in the order in which it came."""
        return [value for value, _ in self._values.get(service, self._nothing).values()]

    def get(self, service: str, trace: int) -> Value | None:
        """Give what a trace showed of a service, if anything."""
        found = self._values.get(service, self._nothing).get(trace)
        return None if found is None else found[0]

    def put(self, service: str, trace: int, value: Value) -> None:
        """Remember a value in place of an earlier one."""
        mine = self._values.setdefault(service, OrderedDict())
        mine[trace] = (value, self._window)
        self._traces.setdefault(trace, set()).add(service)
        self.changed.add(service)
        if len(mine) > self._most_each:
            self._forget(service, next(iter(mine)))
        if len(self._traces) > self._most:
            self.take_back([next(iter(self._traces))])

    def take_back(self, traces: Iterable[int]) -> None:
        """Forget what some traces showed, by their keys."""
        for trace in traces if self._traces else ():
            for service in list(self._traces.get(trace, ())):
                self._forget(service, trace)

    def turn(self) -> None:
        """Begin a window of time, and forget what came before the last one."""
        self._window += 1
        old = [(service, trace) for service, mine in self._values.items() for trace, (_, window) in mine.items() if window < self._window - 1]
        for service, trace in old:
            self._forget(service, trace)

    def _forget(self, service: str, trace: int) -> None:
        mine, services = self._values[service], self._traces[trace]
        del mine[trace]
        services.discard(service)
        if not mine:
            del self._values[service]
        if not services:
            del self._traces[trace]
        self.changed.add(service)

    # ------------------------------------------------------------------ across restarts

    def newest(self, most: int) -> list[tuple[int, str, Value, int]]:
        """Give what the newest traces showed: trace, service, value, and how many windows ago it came."""
        traces = list(self._traces.items())[-most:]
        return [(trace, service, *self._aged(service, trace)) for trace, services in traces for service in sorted(services)]

    def _aged(self, service: str, trace: int) -> tuple[Value, int]:
        value, window = self._values[service][trace]
        return value, self._window - window

    def restore(self, rows: Iterable[tuple[int, str, Value, int]]) -> None:
        """Take what `newest` gave before a restart, in place of what is remembered."""
        self._values, self._traces, self.changed = {}, OrderedDict(), set()
        for trace, service, value, windows_ago in rows:
            self.put(service, trace, value)
            self._values[service][trace] = (value, self._window - windows_ago)
