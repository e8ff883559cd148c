"""Shapes of losses by name, and in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FILTERED: Final = "filtered"
"""It always hits the same spans."""
BATCH: Final = "batch"
"""One instance ended nothing for a while: an export of it was lost."""
RESTART: Final = "restart"
"""One instance ended, and another took its place."""
QUEUE_FULL: Final = "queue_full"
"""For a while one instance lost a share of its spans."""

_WORDS: Final = {
    FILTERED: ", as such spans always are",
    BATCH: ", with all that instance {instance} ended between {since} and {until}",
    RESTART: ", when instance {instance} ended after {since} and {replaced_by} took its place",
    QUEUE_FULL: ", in a burst: between {since} and {until} {missing} of {seen} spans of instance {instance} with children are missing, otherwise {elsewhere}",
}
_FIX: Final = {
    FILTERED: "The parents of {name!r} never come: a processor drops them, or {service} never ends them. Drop whole subtrees, not single spans, and end spans "
    "in a `finally`.",
    BATCH: "One export of {service} was lost, of its instance {instance}: look at the exporter of {service}, its timeout and retries, and at what answers it "
    "(the Collector, a proxy).",
    RESTART: "Let {service} flush its spans before it ends (shut the SDK's tracer provider down on SIGTERM), and give it the time for that.",
    QUEUE_FULL: "Enlarge the queue of {service} (OTEL_BSP_MAX_QUEUE_SIZE), or export more often (OTEL_BSP_SCHEDULE_DELAY): it had more spans than its "
    "exporter took.",
}


def shape_in_words(context: Mapping[str, Any]) -> str:
    """Say which shape a loss has, to be put behind the sentence about it; empty where that is not known.

    Args:
        context: of the occurrence: `loss_shape`, `loss_instance`, `loss_began` and `loss_ended` (RFC 3339), `replaced_by`; of a burst how many are `missing`
            of how many `seen`, in it and elsewhere.
    """
    words = _WORDS.get(context.get("loss_shape", ""), "")
    return words.format(
        instance=context.get("loss_instance"),
        since=context.get("loss_began"),
        until=context.get("loss_ended"),
        replaced_by=context.get("replaced_by"),
        missing=context.get("missing_in_burst"),
        seen=context.get("seen_in_burst"),
        elsewhere=f"{context.get('missing_elsewhere')} of {context.get('seen_elsewhere')}",
    )


def fix_of_shape(context: Mapping[str, Any], service: str, name: str) -> str:
    """Say what to do about a loss of a known shape, of a service and of what it calls the span below; empty where the shape is not known."""
    return _FIX.get(context.get("loss_shape", ""), "").format(service=service, name=name, instance=context.get("loss_instance"))
