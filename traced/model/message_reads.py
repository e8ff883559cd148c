"""What is asked of the message log, and the shapes of what it answers; times in unix seconds of arrival."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from traced.model.messages import MESSAGES


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of arrival: `since` <= arrival < `until`, unix seconds."""

    since: float
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages; each field lists what is taken, and an empty one takes everything.

    `groups`: of consumers. `trace_ids`: (high, low). Versions are compared as texts: whoever takes "1" and "v1" for one names both.
    """

    destinations: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    trace_ids: tuple[tuple[int, int], ...] = ()


EVERYTHING: Final = MessageFilter()

PAIRINGS: Final = pa.schema(
    [
        ("environment", pa.string()),
        ("service_namespace", pa.string()),
        ("service_name", pa.string()),
        ("traces_old_only", pa.int64()),
        ("traces_both", pa.int64()),
        ("traces_new_only", pa.int64()),
        ("keys_old_only", pa.int64()),
        ("keys_both", pa.int64()),
        ("keys_new_only", pa.int64()),
        ("old_messages", pa.int64()),
        ("new_messages", pa.int64()),
        ("failed_messages", pa.int64()),
        ("old_only_trace_id_high", pa.uint64()),
        ("old_only_trace_id_low", pa.uint64()),
        ("new_only_trace_id_high", pa.uint64()),
        ("new_only_trace_id_low", pa.uint64()),
    ],
)
"""How one producer published both schemas: one row a producer that published either.

`traces_*`: traces in which it published the old schema only, both, the new only. `keys_*`: the same by business key, whatever the trace: an outbox
publishes the two in different ones. `failed_messages`: publications with an error, which count nowhere else. `old_only_*`, `new_only_*`: the latest
such trace, 0 where there is none. Messages that are published again (`replayed`), or to where dead letters are kept, count nowhere.
"""


@dataclass(frozen=True, slots=True)
class MessageRows:
    """Rows of the message log.

    Attributes:
        rows: as MESSAGES, the newest first.
        more: whether there are more than were asked for.
    """

    rows: pa.Table
    more: bool = False


NO_ROWS: Final = MessageRows(MESSAGES.empty_table())
