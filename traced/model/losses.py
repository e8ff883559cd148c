"""What an instance of a service, or a Collector, says of its own spans, as people and programs see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from traced.model.finding import timestamp
from traced.model.measurement import SDK_LOSSES, Quantity


@dataclass(frozen=True, slots=True)
class ReportedLoss:
    """Spans that one instance lost for one reason, by its own count over the last one to two hours.

    Attributes:
        quantity: how they were lost.
        reason: the error it names, or empty.
        component: the processor, exporter or receiver that counts, or empty.
        spans: how many (traces, of TAIL_TOO_EARLY).
        since_unix_nano: from when on, by its clock; 0 where that is not known.
        until_unix_nano: the newest loss.
        queue_capacity: of the smallest queue of the instance; 0 where that is not said.
    """

    service: str
    instance: str
    quantity: Quantity
    reason: str
    component: str
    spans: int
    since_unix_nano: int
    until_unix_nano: int
    queue_capacity: int

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `/api/v1/status`."""
        return {
            "quantity": str(self.quantity),
            "reason": self.reason or None,
            "component": self.component or None,
            "spans": self.spans,
            "since": timestamp(self.since_unix_nano) if self.since_unix_nano else None,
            "until": timestamp(self.until_unix_nano) if self.until_unix_nano else None,
        }


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What one instance counts over the last one to two hours; levels are the newest.

    Attributes:
        started: spans begun, sampled or not.
        not_sampled: of those, the ones that its sampler dropped.
        exported: spans that its exporters delivered; each exporter counts its own.
        live: spans begun and not ended.
        queue_size: of the fullest queue.
        queue_capacity: of the smallest queue; 0 where that is not said.
        until_unix_nano: the newest count, by its clock.
        losses: by reason, the largest first.
    """

    service: str
    instance: str
    started: int
    not_sampled: int
    exported: int
    live: int
    queue_size: int
    queue_capacity: int
    until_unix_nano: int
    losses: tuple[ReportedLoss, ...]

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape inside `/api/v1/status`."""
        return {
            "service": self.service,
            "instance": self.instance or None,
            "started": self.started,
            "not_sampled": self.not_sampled,
            "exported": self.exported,
            "live": self.live,
            "queue_size": self.queue_size,
            "queue_capacity": self.queue_capacity or None,
            "until": timestamp(self.until_unix_nano),
            "losses": [loss.as_dict() for loss in self.losses],
        }


_HOW: Final[Mapping[str, str]] = {
    Quantity.DROPPED: "the exporter of {by} dropped {spans} spans",
    Quantity.EXPORT_FAILED: "the exporter of {by} failed to send {spans} spans",
    Quantity.COLLECTOR_NOT_QUEUED: "meanwhile the Collector {by} had no room for {spans} spans",
    Quantity.COLLECTOR_SEND_FAILED: "meanwhile the Collector {by} failed to send {spans} spans",
    Quantity.COLLECTOR_DROPPED: "meanwhile the Collector {by} dropped {spans} spans",
    Quantity.TAIL_LATE: "meanwhile {spans} spans reached the tail sampler of {by} after it had decided about their traces",
    Quantity.TAIL_TOO_EARLY: "meanwhile the tail sampler of {by} let {spans} traces go before it could decide",
}
_REASONS: Final = {"queue_full": "queue full", "already_shutdown": "already shut down"}
_FIX_BY_REASON: Final = {
    "queue_full": "Enlarge the queue of {by} (OTEL_BSP_MAX_QUEUE_SIZE{now}), or export more often (OTEL_BSP_SCHEDULE_DELAY); see whether its endpoint is slow.",
    "already_shutdown": "Let {by} end its spans before it shuts its SDK down.",
}
_FIX: Final[Mapping[str, str]] = {
    Quantity.DROPPED: "See why the span processor of {by} drops spans: {reason}.",
    Quantity.EXPORT_FAILED: "See why the exporter of {by} fails ({reason}): its endpoint, its timeout (OTEL_EXPORTER_OTLP_TIMEOUT), limits on the way.",
}


def reported_in_words(context: Mapping[str, Any]) -> str:
    """Say what the loss ledger knows of an orphan, to be put behind the sentence about its cause; empty where it knows nothing.

    Args:
        context: of the occurrence: `lost_by`, `lost_how`, `lost_spans`, `lost_reason`, `lost_instance`; or `of_them_not_sampled`.
    """
    if context.get("of_them_not_sampled"):
        return f", as it counts itself: {context['of_them_not_sampled']} of {context['spans_begun_by_the_caller']} spans"
    how = _HOW.get(context.get("lost_how", ""))
    if how is None:
        return ""
    by = context["lost_by"]
    instance = context["lost_instance"]
    reason = _REASONS.get(context["lost_reason"], context["lost_reason"])
    said = how.format(by=f"{by} (instance {instance})" if instance else by, spans=context["lost_spans"])
    return f"; {said}, {reason}" if reason else f"; {said}"


def fix_of_reported(context: Mapping[str, Any]) -> str:
    """Say what to do about a loss that a service reports of itself; empty where it reports none."""
    if context.get("lost_how") not in SDK_LOSSES:
        return ""
    reason, capacity = context["lost_reason"], context["queue_capacity"]
    fix = _FIX_BY_REASON.get(reason, _FIX[context["lost_how"]])
    return fix.format(by=context["lost_by"], now=f", now {capacity}" if capacity else "", reason=reason or "it names no reason")
