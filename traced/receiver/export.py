"""One export request, whatever carried it: decode, hand over, wait until it is durable, say what became of it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from traced.errors import OverloadedError, TracedError
from traced.model.batch import Batch, BatchConsumer, Receipt, Signal
from traced.model.measurement import MeasurementConsumer, Measurements
from traced.receiver.admission import Admission
from traced.receiver.encoding import delimited, number
from traced.receiver.measuring import decode_metrics
from traced.receiver.refusals import RefusalReason, RefusedError, Transport, refusal_of
from traced.receiver.status import MAX_MESSAGE_CHARACTERS, RpcCode
from traced.receiver.wire import Limits
from traced.telemetry import Telemetry

_log = structlog.get_logger(__name__)

UNKNOWN_SIGNAL: Final = "unknown"
"""The label `signal` of refusals whose path names none."""


DECODING_AT_ONCE: Final = max(2, min(8, os.cpu_count() or 2))
"""Requests being inflated, converted and decoded at the same time. More would not be faster, but their working memory,
which for hostile input is many times the request, would add up."""


LARGE_BYTES: Final = 16 * 2**20
"""A request beyond this is inflated and decoded while no other such is: what that takes is up to seven times the request."""


_REJECTED: Final = {Signal.TRACES: "rejectedSpans", Signal.LOGS: "rejectedLogRecords", Signal.METRICS: "rejectedDataPoints"}
_NOUNS: Final = {Signal.TRACES: "spans", Signal.LOGS: "log records", Signal.METRICS: "data points"}


class Decoder(Protocol):
    """Turns protobuf bytes into a batch; raises InvalidRequestError or TooLargeError."""

    def __call__(self, body: bytes, limits: Limits, /) -> Batch:
        """Decode one request."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender is told of a request that was taken.

    Attributes:
        signal: traces, logs or metrics.
        rejected: how many of its items were invalid and are not stored.
        message: why, or a warning where everything was stored but not unchanged; "" where there is nothing to say.
    """

    signal: Signal
    rejected: int = 0
    message: str = ""

    def to_protobuf(self) -> bytes:
        """Encode Export*ServiceResponse {partial_success 1 {rejected 1, error_message 2}}; nothing to say is no bytes."""
        if not self.rejected and not self.message:
            return b""
        return delimited(1, number(1, self.rejected) + delimited(2, self.message.encode()))

    def to_json(self) -> bytes:
        """Encode the same as proto3 JSON, where 64-bit integers are strings."""
        if not self.rejected and not self.message:
            return b"{}"
        partial: dict[str, Any] = {"errorMessage": self.message}
        if self.rejected:
            partial[_REJECTED[self.signal]] = str(self.rejected)
        return json.dumps({"partialSuccess": partial}).encode()


class Exporter:
    """Takes requests from the transports to the consumer, and counts what becomes of them."""

    def __init__(
        self,
        consumer: BatchConsumer,
        decoders: Mapping[Signal, Decoder],
        admission: Admission,
        telemetry: Telemetry,
        *,
        limits: Limits,
        timeout_seconds: float,
        measurements: MeasurementConsumer | None = None,
    ) -> None:
        """Keep the parts; nothing starts.

        Args:
            consumer: takes batches.
            decoders: one per signal.
            admission: says when senders shall come back.
            telemetry: counts.
            limits: for the decoders.
            timeout_seconds: how long a request waits for its commit.
            measurements: takes what SDKs count of their spans; None: nobody asks for it.
        """
        self._consumer = consumer
        self._decoders = decoders
        self._admission = admission
        self._telemetry = telemetry
        self._limits = limits
        self._timeout_seconds = timeout_seconds
        self._measurements = measurements
        self._decoding = threading.BoundedSemaphore(DECODING_AT_ONCE)
        self._decoding_large = threading.Lock()
        self._gate = threading.Condition()
        self._handing_over = 0
        self._stopped: Future[None] = Future()

    def export(self, signal: Signal, transport: Transport, read: Callable[[], bytes], announced_bytes: int = 0) -> Answer:
        """Take one request and wait until it is durable; the caller holds an admission slot.

        Args:
            signal: traces, logs or metrics.
            transport: the label for counters.
            read: gives the request as protobuf; what it raises is counted like an error of the decoder.
            announced_bytes: how large the request is after decompression, as far as it says so itself.

        Raises:
            RefusedError: nothing was acknowledged; counted already.
        """
        started = time.monotonic()
        try:
            answer = self._export(signal, transport, read, announced_bytes)
        except TracedError as error:
            raise self.refuse(error, signal, transport) from None
        except Exception:  # noqa: BLE001 -- the root of a transport's thread: a sender gets an answer whatever happens
            _log.exception("request_failed", signal=signal.value, transport=transport.value)
            unexpected = RefusedError("an error inside traced; the request was not stored", reason=RefusalReason.INTERNAL_ERROR, code=RpcCode.INTERNAL)
            raise self.refuse(unexpected, signal, transport) from None
        self._telemetry.ack_seconds.labels(transport.value).observe(time.monotonic() - started)
        return answer

    def refuse(self, error: TracedError, signal: Signal | None, transport: Transport) -> RefusedError:
        """Say what an error means to the sender, and count it."""
        refusal = refusal_of(error)
        self._telemetry.refused.labels(signal.value if signal else UNKNOWN_SIGNAL, transport.value, refusal.reason.value).inc()
        return refusal

    def stop(self, timeout_seconds: float) -> None:
        """Hand nothing more to the consumer, and answer what still waits with a retryable error.

        Args:
            timeout_seconds: how long a hand-over under way may take to end.
        """
        with self._gate:
            if not self._stopped.done():
                self._stopped.set_result(None)
            self._gate.wait_for(lambda: self._handing_over == 0, timeout_seconds)

    def _export(self, signal: Signal, transport: Transport, read: Callable[[], bytes], announced_bytes: int) -> Answer:
        batch = self._decoded(signal, read, announced_bytes)
        if isinstance(batch, Measurements):
            return self._measure(transport, batch)
        rejected, altered = batch.rejected, batch.altered
        received, valid = batch.received, batch.items.num_rows
        if valid:
            future = self._hand_over(batch)
            # while it waits, the consumer alone decides how long the batch stays in memory
            del batch
            receipt = self._durable(future)
            self._telemetry.last_arrival.set(receipt.arrival_time_unix_nano / 1e9)
            self._telemetry.accepted.labels(signal.value, transport.value).inc(valid)
        for reason, count in rejected.items():
            self._telemetry.rejected_items.labels(signal.value, reason).inc(count)
        for reason, count in altered.items():
            self._telemetry.altered_items.labels(signal.value, reason).inc(count)
        return Answer(signal, sum(rejected.values()), _message(signal, received, rejected, altered))

    def _decoded(self, signal: Signal, read: Callable[[], bytes], announced_bytes: int) -> Batch | Measurements:
        with self._turn(announced_bytes):
            body = read()
            if len(body) <= LARGE_BYTES or announced_bytes > LARGE_BYTES:
                return self._decode(signal, body)
        # larger than it said: it queues again, with the large ones; holding no place meanwhile, which the one before it may need
        with self._turn(len(body)):
            return self._decode(signal, body)

    def _decode(self, signal: Signal, body: bytes) -> Batch | Measurements:
        return decode_metrics(body, self._limits) if signal is Signal.METRICS else self._decoders[signal](body, self._limits)

    @contextmanager
    def _turn(self, size: int) -> Iterator[None]:
        """Wait until a request of so many bytes may be inflated and decoded."""
        with self._decoding_large if size > LARGE_BYTES else nullcontext(), self._decoding:
            yield

    def _measure(self, transport: Transport, taken: Measurements) -> Answer:
        """Take a request of metrics: what is of use here is handed over, the rest is acknowledged and counted."""
        if taken.points and self._measurements is not None and not self._measurements.measured(taken.points):
            raise self._overloaded("too many data points wait for the analysis; none of this request was taken", RefusalReason.QUEUE_FULL)
        self._telemetry.accepted.labels(Signal.METRICS.value, transport.value).inc(len(taken.points))
        self._telemetry.ignored_metrics.labels(transport.value).inc(taken.ignored)
        for reason, count in taken.rejected.items():
            self._telemetry.rejected_items.labels(Signal.METRICS.value, reason).inc(count)
        return Answer(Signal.METRICS, sum(taken.rejected.values()), _message(Signal.METRICS, taken.received, taken.rejected, {}))

    def _hand_over(self, batch: Batch) -> Future[Receipt]:
        with self._gate:
            if self._stopped.done():
                raise self._overloaded("traced is shutting down; nothing of this request was stored", RefusalReason.SHUTTING_DOWN)
            self._handing_over += 1
        try:
            return self._consumer.accept(batch)
        except OverloadedError:
            raise
        except TracedError as error:
            # what ails the store may pass; the request itself is sound
            _log.error("hand_over_failed", exc_info=error)
            raise self._overloaded("the store did not take this request", RefusalReason.STORE_FAILED) from None
        finally:
            with self._gate:
                self._handing_over -= 1
                self._gate.notify_all()

    def _durable(self, future: Future[Receipt]) -> Receipt:
        either: tuple[Future[Any], ...] = (future, self._stopped)
        wait(either, self._timeout_seconds, FIRST_COMPLETED)
        if not future.done():
            # the batch may become durable yet; sent again, it is recognised and kept once
            if self._stopped.done():
                raise self._overloaded("traced is shutting down before this request was known to be stored", RefusalReason.SHUTTING_DOWN)
            raise self._overloaded(f"the commit took longer than {self._timeout_seconds:g} s", RefusalReason.COMMIT_TIMEOUT)
        if future.cancelled():
            raise self._overloaded("the commit was cancelled; the request was not acknowledged", RefusalReason.STORE_FAILED)
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, OverloadedError):
            raise error
        _log.error("commit_failed", exc_info=error)
        raise self._overloaded("the commit failed; the request was not acknowledged", RefusalReason.STORE_FAILED)

    def _overloaded(self, message: str, reason: RefusalReason) -> OverloadedError:
        return OverloadedError(message, retry_after_seconds=self._admission.retry_after_seconds(), reason=reason.value)


def _message(signal: Signal, received: int, rejected: Mapping[str, int], altered: Mapping[str, int]) -> str:
    """Say in English what was rejected, and what was stored with a change."""
    noun = _NOUNS[signal]
    parts = []
    if rejected:
        kept = "taken" if signal is Signal.METRICS else "stored"
        parts.append(f"{sum(rejected.values())} of {received} {noun} rejected ({_counts(rejected)}); the others are {kept}, do not send them again.")
    if altered:
        parts.append(f"Stored with changes: {_counts(altered)}.")
    return " ".join(parts)[:MAX_MESSAGE_CHARACTERS]


def _counts(by_reason: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(by_reason.items()))
