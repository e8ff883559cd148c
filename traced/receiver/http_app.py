"""OTLP over HTTP as an ASGI application: POST /v1/traces, /v1/logs and /v1/metrics, protobuf and JSON, every error a `google.rpc.Status`.

The event loop only collects bodies and sends answers, so it is always free to refuse. Inflating, decoding and waiting for
the commit happen in threads, one for each admission slot, so nothing ever queues for a thread.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from traced.config import ReceiverSettings
from traced.errors import TracedError
from traced.model.batch import Signal
from traced.receiver.admission import Admission, Slot
from traced.receiver.export import Answer, Exporter
from traced.receiver.inflating import IDENTITY, WINDOW_BITS, announced_size, inflate
from traced.receiver.json_requests import logs_from_json, metrics_from_json, traces_from_json
from traced.receiver.refusals import RefusalReason, RefusedError, Transport, incomplete, too_large
from traced.receiver.status import RpcCode
from traced.telemetry import Telemetry

PATHS: Final = {"/v1/traces": Signal.TRACES, "/v1/logs": Signal.LOGS, "/v1/metrics": Signal.METRICS}
_MEDIA_TYPES: Final = {
    "application/x-protobuf": Transport.HTTP_PROTOBUF,
    "application/protobuf": Transport.HTTP_PROTOBUF,
    "application/json": Transport.HTTP_JSON,
}
_FROM_JSON: Final = {Signal.TRACES: traces_from_json, Signal.LOGS: logs_from_json, Signal.METRICS: metrics_from_json}
_DRAIN_SECONDS: Final = 5.0
_DRAIN_TIMES_LIMIT: Final = 4
_COMPRESS_FROM_BYTES: Final = 256

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _DisconnectedError(Exception):
    """The sender went away before its body was complete."""


@dataclass(slots=True)
class _Request:
    """What the head of a request says, and how much of its body came."""

    method: str
    path: str
    headers: Mapping[str, str]
    signal: Signal | None
    transport: Transport
    media_type: str
    body_read: bool = False
    too_slow: bool = False

    @classmethod
    def of(cls, scope: Scope) -> _Request:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        transport = _MEDIA_TYPES.get(media_type, Transport.HTTP)
        return cls(scope["method"], scope["path"], headers, PATHS.get(scope["path"]), transport, media_type)

    @property
    def coding(self) -> str:
        return self.headers.get("content-encoding", "").strip().lower() or IDENTITY


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class OtlpApp:
    """The ASGI application."""

    def __init__(self, exporter: Exporter, admission: Admission, telemetry: Telemetry, settings: ReceiverSettings) -> None:
        """Keep the parts; threads start when they are needed.

        Args:
            exporter: takes the requests.
            admission: bounds them.
            telemetry: counts JSON that is not as specified.
            settings: limits.
        """
        self._exporter = exporter
        self._admission = admission
        self._telemetry = telemetry
        self._max_request_bytes = settings.max_request_bytes
        self._max_items = settings.max_items_per_request
        self._timeout_seconds = settings.request_timeout_seconds
        self._threads = ThreadPoolExecutor(settings.max_requests_in_flight, thread_name_prefix="otlp-http")
        self._reading: set[asyncio.Timeout] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request = _Request.of(scope)
        try:
            response = await self._respond(request, receive)
        except _DisconnectedError:
            self._exporter.refuse(incomplete("the connection ended before the body did"), request.signal, request.transport)
            return
        except RefusedError as refusal:
            response = _refused(request, refusal)
        await self._send(request, response, receive, send)

    def stop_reading(self) -> None:
        """Refuse, retryably, the requests whose bodies are still coming; call it on the loop, after admission closed."""
        for timeout in self._reading:
            timeout.reschedule(0.0)

    def close(self) -> None:
        """Let the threads end; no request is left."""
        self._threads.shutdown(wait=False)

    async def _respond(self, request: _Request, receive: Receive) -> _Response:
        with self._admission.slot() as slot:
            try:
                signal = _check_head(request)
                self._admission.check()
                body = await self._read(request, receive, slot)
                slot.begin()
            except TracedError as error:
                raise self._exporter.refuse(error, request.signal, request.transport) from None
            loop = asyncio.get_running_loop()
            answer = await loop.run_in_executor(self._threads, self._export, request, signal, body, slot)
        content = answer.to_json() if request.transport is Transport.HTTP_JSON else answer.to_protobuf()
        return _Response(200, content)

    def _export(self, request: _Request, signal: Signal, body: bytes, slot: Slot) -> Answer:
        """Do everything that takes time; runs in a thread."""

        def read() -> bytes:
            content = body
            if request.coding != IDENTITY:
                content = inflate(body, request.coding, self._max_request_bytes, slot.hold)
                slot.let_go(len(body))
            if request.transport is Transport.HTTP_JSON:
                content, nonconformant = _FROM_JSON[signal](content, self._max_items)
                if nonconformant:
                    self._telemetry.json_nonconformant.inc()
            return content

        return self._exporter.export(signal, request.transport, read, announced_size(body, request.coding))

    async def _read(self, request: _Request, receive: Receive, slot: Slot) -> bytes:
        limit = self._max_request_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            # believed only where it saves reading what will be refused
            raise too_large(f"the request announces {announced} bytes; {limit} are allowed")
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_seconds) as timeout:
                self._reading.add(timeout)
                try:
                    while not request.body_read:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise _DisconnectedError
                        piece = message.get("body", b"")
                        size += len(piece)
                        if size > limit:
                            raise too_large(f"the request is larger than {limit} bytes")
                        slot.hold(len(piece))
                        pieces.append(piece)
                        request.body_read = not message.get("more_body", False)
                finally:
                    self._reading.discard(timeout)
        except TimeoutError:
            request.too_slow = True
            # when traced is shutting down, this says so instead
            self._admission.check()
            raise RefusedError(
                f"the body did not arrive within {self._timeout_seconds:g} s",
                reason=RefusalReason.BODY_TIMEOUT,
                code=RpcCode.UNAVAILABLE,
                retry_after_seconds=self._admission.retry_after_seconds(),
            ) from None
        return b"".join(pieces)

    async def _send(self, request: _Request, response: _Response, receive: Receive, send: Send) -> None:
        media_type = request.media_type if request.transport is not Transport.HTTP else "application/json"
        body = response.body
        headers = [("content-type", media_type), *response.headers]
        if len(body) >= _COMPRESS_FROM_BYTES and _accepts_gzip(request):
            body = gzip.compress(body, 1)
            headers.append(("content-encoding", "gzip"))
        headers.append(("content-length", str(len(body))))
        unread = not request.body_read
        if unread:
            headers.append(("connection", "close"))
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        await send({"type": "http.response.body", "body": body, "more_body": unread})
        if unread:
            await self._drain(request, receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self, request: _Request, receive: Receive) -> None:
        """Throw away what an early refusal left unread, within bounds.

        Closing at once would reset the connection, and a sender that is still writing would see that instead of the answer.
        """
        if request.too_slow or self._admission.closing or "expect" in request.headers or not _has_body(request):
            return
        left = _DRAIN_TIMES_LIMIT * self._max_request_bytes
        try:
            async with asyncio.timeout(_DRAIN_SECONDS) as timeout:
                self._reading.add(timeout)
                try:
                    while left > 0:
                        message = await receive()
                        left -= len(message.get("body", b""))
                        if not message.get("more_body", False):
                            return
                finally:
                    self._reading.discard(timeout)
        except TimeoutError:
            return


def _check_head(request: _Request) -> Signal:
    """Refuse, for good, what the head of a request already shows to be none of ours."""
    if request.signal is None:
        known = ", ".join(f"POST {path}" for path in PATHS)
        raise RefusedError(f"there is nothing at this path; traced takes {known}", reason=RefusalReason.UNKNOWN_PATH, code=RpcCode.UNIMPLEMENTED)
    if request.method != "POST":
        raise RefusedError("only POST is allowed here", reason=RefusalReason.METHOD_NOT_ALLOWED, code=RpcCode.INVALID_ARGUMENT, status=405)
    if request.transport is Transport.HTTP:
        raise _unsupported("Content-Type must be application/x-protobuf or application/json")
    if request.coding != IDENTITY and request.coding not in WINDOW_BITS:
        raise _unsupported("Content-Encoding must be gzip, deflate or identity")
    return request.signal


def _unsupported(message: str) -> RefusedError:
    return RefusedError(message, reason=RefusalReason.UNSUPPORTED_MEDIA_TYPE, code=RpcCode.INVALID_ARGUMENT, status=415)


def _refused(request: _Request, refusal: RefusedError) -> _Response:
    """Give the error in the request's encoding; JSON where that is not known."""
    status = refusal.rpc_status()
    headers = []
    if refusal.status == 405:
        headers.append(("allow", "POST"))
    if refusal.retry_after_seconds is not None and refusal.status in {429, 503}:
        headers.append(("retry-after", str(refusal.retry_after_seconds)))
    body = status.to_protobuf() if request.transport is Transport.HTTP_PROTOBUF else status.to_json()
    return _Response(refusal.status, body, tuple(headers))


def _accepts_gzip(request: _Request) -> bool:
    for offer in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, parameters = offer.partition(";")
        if coding.strip() in {"gzip", "x-gzip"}:
            return parameters.replace(" ", "").rstrip("0.") != "q="
    return False


def _has_body(request: _Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"
