"""The rows of message flows, gathered by kind: each kind once, with how many there were when.

Late spans change what was counted; then rows with negative counts come in a later minute. A kind's counts can therefore be read in two ways. What must not
be overlooked (old use, unknown versions) is counted as if each correction took away the oldest there is, so that no correction of something before the window
hides what is in it. What serves as evidence (units) is counted as if it took away what is in the window. The truth lies between the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.model.messages import KIND

Numbers = npt.NDArray[np.int64]
MINUTE: Final = 60
LONGEST_BUCKET_MINUTES: Final = 60
"""Counts are kept by minute, and by hour when they are older: a row may hold what came so much after its minute."""

_SERIES: Final = ("minute", "messages", "traces", "first_time_unix_nano", "last_time_unix_nano")
_IDS: Final = ("trace_id_high", "trace_id_low", "span_id")


@dataclass(frozen=True, slots=True)
class Kind:
    """Messages that are alike, and how many there were of them.

    Attributes:
        columns: the values of KIND that they share; texts are '' where nothing is known.
        minutes: of arrival (unix), ascending.
        messages: how many came, or less than zero where earlier ones are taken back.
        left: how many of them are left if corrections take away the oldest; of attempts at a message that is counted elsewhere, how many traces.
        traces: how many traces are counted here.
        first: when the first of the row was sent or taken, unix nanoseconds by its sender's clock.
        last: when the last was.
        ids: (trace id high, low, span id) of one of each row.
        bucket_minutes: how many minutes a row may stand for.
    """

    columns: Mapping[str, Any]
    minutes: Numbers
    messages: Numbers
    left: Numbers
    traces: Numbers
    first: Numbers
    last: Numbers
    ids: tuple[npt.NDArray[np.uint64], ...]
    bucket_minutes: int

    def __getitem__(self, column: str) -> Any:
        """Give the value of one column."""
        return self.columns[column]

    def touching(self, since: float, until: float) -> npt.NDArray[np.bool_]:
        """Say which rows may hold something of a time and are not taken back."""
        return (self.left > 0) & (self.minutes * MINUTE < until) & ((self.minutes + self.bucket_minutes) * MINUTE > since)

    def seen(self, since: float, until: float) -> int:
        """Count the messages that may be of a time: never too few."""
        return int(self.left[self.touching(since, until)].sum())

    def counted(self, since: float, until: float, *, whole: bool) -> int:
        """Count the traces that are of a time for certain: never too many.

        Args:
            since: unix seconds.
            until: unix seconds.
            whole: leave out rows that may hold something of after `until`; needless where nothing can have come after it.
        """
        ends = self.minutes + self.bucket_minutes if whole else self.minutes
        inside = (self.minutes * MINUTE >= since) & ((ends * MINUTE <= until) if whole else (ends * MINUTE < until))
        return int(self.traces[inside].sum())

    def example(self, rows: npt.NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
        """Give (last time, trace id high, low, span id) of the newest of some rows; None of no row."""
        some = np.flatnonzero(rows)
        newest = some[self.last[some] == self.last[some].max(initial=np.iinfo(np.int64).min)]
        return max(((int(self.last[row]), int(self.ids[0][row]), int(self.ids[1][row]), int(self.ids[2][row])) for row in newest), default=None)


def kinds(flows: pa.Table, bucket_minutes: int = LONGEST_BUCKET_MINUTES) -> tuple[Kind, ...]:
    """Gather the rows of flows (FLOWS, in any order and any number of parts) by kind."""
    if not flows.num_rows:
        return ()
    numbers, _ = kind_numbers(flows)
    series = {name: flows.column(name).to_numpy().astype(np.int64) for name in _SERIES}
    ids = tuple(pc.fill_null(flows.column(name), 0).to_numpy().astype(np.uint64) for name in _IDS)
    # the order of rows is theirs alone, not that in which they came; what is added comes before what is taken back
    order = np.lexsort((*reversed(ids), series["last_time_unix_nano"], series["traces"], -series["messages"], series["minute"], numbers))
    starts = np.searchsorted(numbers[order], np.arange(int(numbers.max()) + 2))
    firsts = flows.select(list(KIND)).take(pa.array(order[starts[:-1]])).to_pylist()
    found = []
    for number, columns in enumerate(firsts):
        rows = order[starts[number] : starts[number + 1]]
        own = [series[name][rows] for name in _SERIES]
        values = {name: _plain(value) if name != "probability" else value for name, value in columns.items()}
        left = np.maximum(_left(own[1]), _left(own[2]))
        found.append(Kind(values, own[0], own[1], left, own[2], own[3], own[4], tuple(one[rows] for one in ids), bucket_minutes))
    return tuple(sorted(found, key=_sorting))


def _plain(value: Any) -> Any:
    """A text that is not known is ''; what arrives as null means the same."""
    return "" if value is None else value


def _sorting(kind: Kind) -> tuple[str, ...]:
    return tuple(repr(kind.columns[name]) for name in KIND)


def kind_numbers(rows: pa.Table) -> tuple[Numbers, Numbers]:
    """Give the number of each row's kind, by the columns of KIND, and one row of each."""
    numbers = np.zeros(rows.num_rows, np.int64)
    for name in KIND:
        encoded = rows.column(name).combine_chunks().dictionary_encode("encode")
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        if not codes.any():
            continue
        # made dense at each step, so that the product stays small however many columns there are
        _, numbers = np.unique(numbers * (int(codes.max()) + 1) + codes, return_inverse=True)
    _, firsts = np.unique(numbers, return_index=True)
    return numbers.astype(np.int64), firsts.astype(np.int64)


def _left(counts: Numbers) -> Numbers:
    """Give how many of each row are left, where corrections take away the oldest that came before them.

    One for which nothing is there any more takes away nothing of what comes later.
    """
    left = np.maximum(counts, 0)
    if (counts >= 0).all():
        return left
    waiting: deque[int] = deque()
    for row, count in enumerate(counts.tolist()):
        if count > 0:
            waiting.append(row)
        due = -count
        while due > 0 and waiting:
            taken = min(due, int(left[waiting[0]]))
            left[waiting[0]] -= taken
            due -= taken
            if not left[waiting[0]]:
                waiting.popleft()
    return left
