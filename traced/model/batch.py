"""One export request, decoded: what the receiver hands to whoever consumes it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import pyarrow as pa

Fingerprint = tuple[int, int]
"""A 128-bit hash as two unsigned words."""
NO_FINGERPRINT: Final[Fingerprint] = (0, 0)


class Signal(StrEnum):
    """OTLP's signals that `traced` takes."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"
    """Only what SDKs and Collectors count of their own spans; never in a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The valid items of one export request, as columns.

    Attributes:
        signal: traces or logs.
        items: COMPACT_SPANS or COMPACT_LOGS rows.
        attributes: ATTRIBUTE_DICTIONARY; `attribute_ids` anywhere in this batch are its row numbers.
        resources: RESOURCES; `resource_id` is its row number.
        scopes: SCOPES; `scope_id` is its row number.
        size_bytes: the request's size after decompression, for admission and for the queue's bound.
        rejected: how many items were invalid, by reason.
        altered: how many items were stored with a change (cut, clamped), by reason.
        fingerprint: of the whole request, by which log records are recognised that come again; NO_FINGERPRINT where that cannot be told.
    """

    signal: Signal
    items: pa.RecordBatch
    attributes: pa.RecordBatch
    resources: pa.RecordBatch
    scopes: pa.RecordBatch
    size_bytes: int
    rejected: dict[str, int]
    altered: dict[str, int]
    fingerprint: Fingerprint = NO_FINGERPRINT

    @property
    def received(self) -> int:
        """Count all items of the request, valid or not."""
        return int(self.items.num_rows) + sum(self.rejected.values())


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch whose commit is on disk.

    Attributes:
        stored: items stored.
        repeated: items already stored before, not stored again.
        arrival_time_unix_nano: the commit group's time, which windows and retention go by.
    """

    stored: int
    repeated: int
    arrival_time_unix_nano: int


class BatchConsumer(Protocol):
    """Whoever takes decoded batches: the receiver knows no more of its neighbour than this."""

    def accept(self, batch: Batch) -> Future[Receipt]:
        """Take a batch; the future is done when the batch is durable.

        Raises:
            OverloadedError: at once, or in the future: nothing was stored, the sender may come back.
        """
        ...
