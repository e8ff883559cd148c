"""One export request that came from a file instead of the network."""

from __future__ import annotations

from dataclasses import dataclass

from traced.model.batch import Signal


@dataclass(frozen=True, slots=True)
class InputRequest:
    """An export request, not decoded yet.

    Attributes:
        signal: traces, logs or metrics.
        body: a protobuf Export*ServiceRequest.
        origin: where it stood, for messages to people: file name and line (or message) number.
    """

    signal: Signal
    body: bytes
    origin: str
