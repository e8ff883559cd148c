"""The names under which SDKs and Collectors count their own spans, and what each of them says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from traced.model.measurement import Quantity

Attributes = Mapping[str, str]
"""Attributes as text, their keys spelled with underscores."""


class Counted(NamedTuple):
    """What one data point counts."""

    quantity: Quantity
    reason: str = ""
    component: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a metric counts.

    Attributes:
        name: the one spelling that stands for all.
        read: from a data point's attributes what it counts; None where it counts something else than spans.
        level: its values are levels, not counts.
        histogram: only how many values its histograms hold is of use.
    """

    name: str
    read: Callable[[Attributes], Counted | None]
    level: bool = False
    histogram: bool = False


def _component(attributes: Attributes) -> str:
    return attributes.get("otel_component_name", "")


def _started(attributes: Attributes) -> Counted:
    return Counted(Quantity.STARTED, attributes.get("otel_span_sampling_result", ""), origin=attributes.get("otel_span_parent_origin", ""))


def _live(attributes: Attributes) -> Counted:
    return Counted(Quantity.LIVE, attributes.get("otel_span_sampling_result", ""))


def _ended_well_or_not(well: Quantity, failed: Quantity) -> Callable[[Attributes], Counted]:
    def read(attributes: Attributes) -> Counted:
        error = attributes.get("error_type", "")
        return Counted(failed if error else well, error, _component(attributes))

    return read


def _at_component(quantity: Quantity) -> Callable[[Attributes], Counted]:
    return lambda attributes: Counted(quantity, component=_component(attributes))


def _java_processed(attributes: Attributes) -> Counted | None:
    component = attributes.get("processorType", attributes.get("spanProcessorType", ""))
    if attributes.get("dropped") == "true":
        return Counted(Quantity.DROPPED, "queue_full", component)
    return Counted(Quantity.PROCESSED, component=component)


def _java_queue(attributes: Attributes) -> Counted | None:
    # the processor of log records counts under the same name
    component = attributes.get("processorType", attributes.get("spanProcessorType", ""))
    return Counted(Quantity.QUEUE_SIZE, component=component) if component == "BatchSpanProcessor" else None


def _java_exported(attributes: Attributes) -> Counted | None:
    if attributes.get("type") != "span":
        return None
    return Counted(Quantity.EXPORT_FAILED if attributes.get("success") == "false" else Quantity.EXPORTED)


def _collector(quantity: Quantity) -> Callable[[Attributes], Counted]:
    def read(attributes: Attributes) -> Counted:
        return Counted(quantity, component=next((attributes[kind] for kind in ("receiver", "processor", "exporter") if attributes.get(kind)), ""))

    return read


_SDK: Final = (
    Meaning("otel.sdk.span.started", _started),
    Meaning("otel.sdk.span.live", _live, level=True),
    Meaning("otel.sdk.processor.span.processed", _ended_well_or_not(Quantity.PROCESSED, Quantity.DROPPED)),
    Meaning("otel.sdk.processor.span.queue.size", _at_component(Quantity.QUEUE_SIZE), level=True),
    Meaning("otel.sdk.processor.span.queue.capacity", _at_component(Quantity.QUEUE_CAPACITY), level=True),
    Meaning("otel.sdk.exporter.span.exported", _ended_well_or_not(Quantity.EXPORTED, Quantity.EXPORT_FAILED)),
    Meaning("otel.sdk.exporter.span.inflight", _at_component(Quantity.INFLIGHT), level=True),
)
_JAVA: Final = (
    Meaning("processedSpans", _java_processed),
    Meaning("queueSize", _java_queue, level=True),
    Meaning("otlp.exporter.exported", _java_exported),
    Meaning("zipkin.exporter.exported", _java_exported),
)
_COLLECTOR: Final = (
    Meaning("otelcol_receiver_refused_spans", _collector(Quantity.COLLECTOR_REFUSED)),
    Meaning("otelcol_processor_refused_spans", _collector(Quantity.COLLECTOR_REFUSED)),
    Meaning("otelcol_processor_dropped_spans", _collector(Quantity.COLLECTOR_DROPPED)),
    Meaning("otelcol_exporter_enqueue_failed_spans", _collector(Quantity.COLLECTOR_NOT_QUEUED)),
    Meaning("otelcol_exporter_send_failed_spans", _collector(Quantity.COLLECTOR_SEND_FAILED)),
    Meaning("otelcol_processor_tail_sampling_sampling_late_span_age", _collector(Quantity.TAIL_LATE), histogram=True),
    Meaning("otelcol_processor_tail_sampling_sampling_trace_dropped_too_early", _collector(Quantity.TAIL_TOO_EARLY)),
)

MARKS: Final = (b"otel.sdk.", b"otel_sdk_", b"otelcol_", b"processedSpans", b"queueSize", b"exporter.exported", b"exporter_exported")
"""Every spelling of every name holds one of these."""


def _spellings(name: str) -> set[str]:
    """Give a name with dots and with underscores, as it was before the conventions settled (`.count`), and as Prometheus ends counters."""
    names = {name, f"{name}.count"} if name.startswith("otel.sdk.") else {name}
    names |= {spelled.replace(".", "_") for spelled in names}
    return names | {f"{spelled}_total" for spelled in names}


_MEANINGS: Final = {spelled.encode(): meaning for meaning in (*_SDK, *_JAVA, *_COLLECTOR) for spelled in _spellings(meaning.name)}


def meaning_of(name: bytes) -> Meaning | None:
    """Say what a metric of this name counts; None where it is none of ours."""
    return _MEANINGS.get(name)
