"""What is seen of services that publish and take messages: each message happens, and then its trace is kept or not.

A world runs in hours before now. Nothing here knows what the verdict assumes: messages come by day and week, in batches or one by one, and jobs at their hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS

NOW = 1_800_000_000
HOUR = 3600
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
_NO_DELAYS = [0] * (len(DELAY_BUCKETS_SECONDS) + 1)


@dataclass(frozen=True)
class Stream:
    """Messages that one service publishes, or takes, of one schema.

    Attributes:
        per_day: traces with such messages, before sampling.
        period_hours, at_hour, per_run: instead, a job that runs every so many hours, `at_hour` hours before now last, with so many traces a run.
        since_hours, until_hours: how long ago it began and ended; 0 is now.
        probability: with which its traces are kept.
        said: the probability that its spans say; None where they say none.
        batch: messages in a trace.
    """

    role: str
    service: str
    destination: str
    version: str = ""
    group: str = ""
    per_day: float = 0.0
    period_hours: int = 0
    at_hour: int = 0
    per_run: int = 1
    since_hours: float = 1e9
    until_hours: float = 0.0
    probability: float = 1.0
    said: float | None = 1.0
    batch: int = 1
    disposition: str = ""
    joined_by: str = "link"
    instrumented: bool = True

    def until(self, hours: float) -> Stream:
        """Give it as it is if it ends so long ago."""
        return replace(self, until_hours=hours)

    def since(self, hours: float) -> Stream:
        """Give it as it is if it begins so long ago."""
        return replace(self, since_hours=hours)

    def traces(self, hours: int, pattern: Floats, chance: np.random.Generator) -> Counts:
        """Give how many traces with it there are in each of the last hours, the newest first, before sampling."""
        ago = np.arange(hours)
        if self.period_hours:
            there = np.where((ago - self.at_hour) % self.period_hours == 0, self.per_run, 0)
        else:
            there = chance.poisson(self.per_day / 24 * pattern[:hours])
        # of the hour in which it begins or ends, a part
        share = np.clip(np.minimum(self.since_hours - ago, ago + 1 - self.until_hours), 0, 1)
        whole = chance.binomial(there, share) if not self.period_hours else np.where(share > 0.5, there, 0)
        return whole.astype(np.int64)


def pattern(hours: int, chance: np.random.Generator) -> Floats:
    """Give how busy each of the last hours is: 1 on average over a week, by day and by night, less at weekends."""
    ago = np.arange(hours) + chance.integers(0, 7 * 24)
    day = 1 + chance.uniform(0, 0.9) * np.sin(2 * np.pi * ago / 24)
    week = np.where(ago // 24 % 7 < 2, chance.uniform(0.05, 1), 1.0)
    return day * week / week.mean()


def observed(streams: Sequence[Stream], hours: int, chance: np.random.Generator, missed: npt.NDArray[np.bool_]) -> pa.Table:
    """Give the flows that are counted: of each trace, if it is kept, and if somebody listened in that hour."""
    by_hour = pattern(hours, chance)
    tables = []
    for number, stream in enumerate(streams):
        if not stream.instrumented:
            continue
        kept = chance.binomial(stream.traces(hours, by_hour, chance), stream.probability)
        seen = np.flatnonzero((kept > 0) & ~missed)
        if len(seen):
            tables.append(_table(stream, number, seen, kept[seen]))
    return pa.concat_tables(tables) if tables else FLOWS.empty_table()


def _table(stream: Stream, number: int, ago: Counts, kept: Counts) -> pa.Table:
    begin = NOW - (ago + 1) * HOUR
    rows = len(ago)
    same: dict[str, object] = {
        "role": stream.role,
        "service_name": stream.service,
        "consumer_group": stream.group,
        "destination": stream.destination,
        "message_schema_version": stream.version,
        "version_source": "attribute" if stream.version else "destination",
        "joined_by": stream.joined_by if stream.role == "consumer" else "",
        "disposition": stream.disposition,
        "probability": stream.said,
        "delay_buckets": _NO_DELAYS,
    }
    columns: dict[str, object] = {
        "minute": begin // 60,
        "messages": kept * stream.batch,
        "traces": kept,
        "first_time_unix_nano": begin * 10**9,
        "last_time_unix_nano": (begin + HOUR - 1) * 10**9,
        "trace_id_high": np.full(rows, number + 1, np.uint64),
        "trace_id_low": ago.astype(np.uint64),
        "span_id": np.full(rows, 1, np.uint64),
    }
    arrays = []
    for field in FLOWS:
        if field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        else:
            empty = "" if pa.types.is_string(field.type) else False if pa.types.is_boolean(field.type) else 0
            arrays.append(pa.repeat(pa.scalar(same.get(field.name, empty), field.type), rows))
    return pa.Table.from_arrays(arrays, schema=FLOWS)
