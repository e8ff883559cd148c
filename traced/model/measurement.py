"""What an SDK or a Collector counts of its own spans: begun, sampled, dropped, exported, failed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol


class Quantity(StrEnum):
    """What is counted; `reason` of a measurement is the detail named here."""

    STARTED = "started"
    """Spans begun in an SDK; the sampling result."""
    LIVE = "live"
    """Spans begun and not ended yet; the sampling result."""
    QUEUE_SIZE = "queue_size"
    QUEUE_CAPACITY = "queue_capacity"
    PROCESSED = "processed"
    """Spans that a processor handed to its exporter."""
    DROPPED = "dropped"
    """Spans that a processor did not take or keep; the error."""
    INFLIGHT = "inflight"
    EXPORTED = "exported"
    EXPORT_FAILED = "export_failed"
    """Spans that an exporter could not send; the error."""
    COLLECTOR_REFUSED = "collector_refused"
    """Spans that a Collector's receiver or processor did not take: its sender may have come again with them."""
    COLLECTOR_NOT_QUEUED = "collector_not_queued"
    """Spans for which the queue of a Collector's exporter had no room."""
    COLLECTOR_SEND_FAILED = "collector_send_failed"
    COLLECTOR_DROPPED = "collector_dropped"
    """Spans that a Collector's processor dropped."""
    TAIL_LATE = "tail_late"
    """Spans that reached a tail sampler after it had decided about their trace."""
    TAIL_TOO_EARLY = "tail_too_early"
    """Traces that a tail sampler had to let go before it could decide."""


SDK_LOSSES: Final = (Quantity.DROPPED, Quantity.EXPORT_FAILED)
"""Spans that never left the process that made them."""
PIPELINE_LOSSES: Final = (Quantity.COLLECTOR_NOT_QUEUED, Quantity.COLLECTOR_SEND_FAILED, Quantity.COLLECTOR_DROPPED)
"""Spans that a Collector took and did not pass on."""
LOSSES: Final = (*SDK_LOSSES, *PIPELINE_LOSSES, Quantity.COLLECTOR_REFUSED, Quantity.TAIL_LATE, Quantity.TAIL_TOO_EARLY)
"""All that may explain why a span is not here."""
NOT_SAMPLED: Final = "DROP"


class Temporality(StrEnum):
    """How the values of one series follow each other."""

    CUMULATIVE = "cumulative"
    """Each holds everything since the start."""
    DELTA = "delta"
    """Each holds what came since the one before."""
    LEVEL = "level"
    """Each is how much there is at the time."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One data point.

    Attributes:
        service: `service.name` of who counts: of the application, or of the Collector.
        instance: `service.instance.id`, or empty.
        quantity: what is counted.
        reason: the detail that the quantity names, or empty.
        component: the processor, exporter or receiver that counts, or empty.
        origin: of STARTED, where the parent was: `none`, `local`, `remote`, or empty.
        series: tells this series from all others: a hash of resource, metric and attributes.
        temporality: how its values follow each other.
        start_time_unix_nano: since when it counts; 0 where that is not said.
        time_unix_nano: until when.
        value: spans (or traces), at least 0.
    """

    service: str
    instance: str
    quantity: Quantity
    reason: str
    component: str
    origin: str
    series: str
    temporality: Temporality
    start_time_unix_nano: int
    time_unix_nano: int
    value: int


@dataclass(frozen=True, slots=True)
class Measurements:
    """One export request of metrics, decoded.

    Attributes:
        points: data points that are of use here.
        ignored: metrics that are not, and were not read.
        rejected: data points of use that are invalid, by reason.
    """

    points: tuple[Measurement, ...] = ()
    ignored: int = 0
    rejected: dict[str, int] = field(default_factory=dict)

    @property
    def received(self) -> int:
        """Count the data points of use, valid or not."""
        return len(self.points) + sum(self.rejected.values())


class MeasurementConsumer(Protocol):
    """Whoever takes measurements: the receiver knows no more of its neighbour than this."""

    def measured(self, points: tuple[Measurement, ...]) -> bool:
        """Take data points, all or none; say whether there was room."""
        ...
