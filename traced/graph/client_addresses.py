"""From which client addresses callers report: called spans with their parent here, and without, over two windows of time that take turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Codes, Ints, distinct
from traced.graph.operations import Operated, Operation
from traced.graph.relation import Relation
from traced.graph.windows import turned

MAX_OPERATIONS: Final = 5_000
MAX_ADDRESSES: Final = 256
MAX_SAVED: Final = 10_000
"""Addresses of one window that are kept across a restart: those of which most spans came."""

_Counts = dict[Operation, dict[str, list[int]]]
"""By the called operation and the client's address: spans with their parent here, and without."""


class ClientAddresses:
    """Counts; `dropped` counts spans of operations and addresses that a limit left out."""

    def __init__(self) -> None:
        """Start knowing nothing."""
        self._now: _Counts = {}
        self._before: _Counts = {}
        self._turned = 0.0
        self.dropped = 0

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is full of time (unix seconds)."""
        self._turned, over = turned(self._turned, now)
        if over:
            self._now, self._before = {}, self._now

    def learn(self, made: Relation, seen: Operated, sign: int = 1) -> None:
        """Count the called spans of each operation with their parent here, and without, by who called; with sign -1 take it back."""
        forest = made.forest
        rows = np.flatnonzero(forest.receiving & (forest.absent | (forest.parent >= 0)))
        address = Codes.from_column(forest.spans.column("client_address").take(pa.array(rows)))
        width = 2 * len(address.texts)
        codes, place = distinct(seen.of[rows] * width + 2 * address.of + forest.absent[rows], max(1, len(seen.operations) * width))
        for code, times in zip(codes.tolist(), np.bincount(place, minlength=len(codes)).tolist(), strict=True):
            text = address.texts[code % width // 2]
            known = self._of(seen.operations[code // width]) if text else None
            if known is not None and (text in known or len(known) < MAX_ADDRESSES):
                counts = known.setdefault(text, [0, 0])
                counts[code % 2] = max(0, counts[code % 2] + sign * times)
            elif text:
                self.dropped += 1

    def _of(self, operation: Operation) -> dict[str, list[int]] | None:
        if operation not in self._now and len(self._now) >= MAX_OPERATIONS:
            return None
        return self._now.setdefault(operation, {})

    def of(self, operation: Operation) -> dict[str, tuple[int, int]]:
        """Give, by client address, how many spans of an operation had their parent here, and how many had not, in both windows."""
        now, before = self._now.get(operation, {}), self._before.get(operation, {})
        nothing = [0, 0]
        return {at: (now.get(at, nothing)[0] + before.get(at, nothing)[0], now.get(at, nothing)[1] + before.get(at, nothing)[1]) for at in {**before, **now}}

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give both windows as JSON values, as far as MAX_SAVED goes."""
        return {"turned": self._turned, "windows": [_dump(window) for window in (self._before, self._now)]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        before, now = (_load(window) for window in state["windows"])
        self._turned, self._before, self._now = float(state["turned"]), before, now


def _dump(window: _Counts) -> list[list[Any]]:
    rows: list[list[Any]] = [[*operation, address, *counts] for operation, addresses in window.items() for address, counts in addresses.items()]
    return sorted(rows, key=lambda row: -row[-1] - row[-2])[:MAX_SAVED] if len(rows) > MAX_SAVED else rows


def _load(rows: list[list[Any]]) -> _Counts:
    window: _Counts = {}
    for *operation, address, present, absent in rows:
        service, kind, name = operation
        window.setdefault((str(service), int(kind), str(name)), {})[str(address)] = [int(present), int(absent)]
    return window


def addresses(made: Relation, rows: Ints) -> list[str]:
    """Give the client addresses of some spans, '' where they say none."""
    column = made.forest.spans.column("client_address").take(pa.array(rows))
    return [text or "" for text in column.to_pylist()]
