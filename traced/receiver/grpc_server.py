"""OTLP over gRPC: Export of TraceService, LogsService and MetricsService; every other method is UNIMPLEMENTED.

Messages reach the handler as raw bytes: gRPC's own deserializer would answer INTERNAL to bad bytes. They are still compressed, too: gRPC
inflates to the limit before anybody can count, here each piece is counted. The handlers are
declared as streams of requests, of which the first is read. On the wire a unary call is the same, but this way a handler
runs before the message came: it can refuse without reading, and a sender that never finishes can be cut off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc

from traced.config import ReceiverSettings
from traced.errors import InvalidRequestError, TracedError
from traced.listening import Endpoint
from traced.model.batch import Signal
from traced.receiver.admission import Admission, Slot
from traced.receiver.arrivals import Arrivals
from traced.receiver.export import Exporter
from traced.receiver.inflating import DEFLATE, IDENTITY, announced_size, coding_of, inflate
from traced.receiver.refusals import RefusedError, Transport, incomplete, too_large

SERVICES: Final = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.TRACES,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
SPARE_THREADS: Final = 16
"""Threads beyond the admission slots: with all of those waiting for commits, refusals still go out. At most WAITING_BEYOND_REQUESTS of them wait for room."""
MAX_CONNECTIONS: Final = 1024
MAX_CONCURRENT_STREAMS: Final = 128
"""Calls on one connection; what they have sent and nobody has read yet stays below HTTP/2's flow control window."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_Handler = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]


def _options(max_request_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", max_request_bytes),
        # inflated here, where each piece is counted
        ("grpc.per_message_decompression", 0),
        # else the window grows with the speed of the line, to megabytes of each connection that nobody has read
        # (measured, 16 messages of 60 MiB at once: memory rises by 330 MiB instead of 410)
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
        ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
        # the Collector's exporters ping every 10 s, others every second; by default that would end in GOAWAY
        ("grpc.http2.min_ping_interval_without_data_ms", 500),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        # a peer that vanished without a word is forgotten after 80 s
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def _started_by(start: Callable[[], None]) -> tuple[threading.Thread, ...]:
    """Start a server; give the thread in which gRPC answers calls. It has no other handle, and when it ends, calls just hang."""
    before = set(threading.enumerate())
    start()
    return tuple(thread for thread in threading.enumerate() if thread not in before and thread.name.endswith("(_serve)"))


class GrpcServer:
    """Listens from `start` to `stop`."""

    def __init__(self, endpoint: Endpoint, exporter: Exporter, admission: Admission, settings: ReceiverSettings) -> None:
        """Keep the parts; nothing starts.

        Args:
            endpoint: where to listen.
            exporter: takes the requests.
            admission: bounds them.
            settings: limits.
        """
        self._endpoint = endpoint
        self._exporter = exporter
        self._admission = admission
        self._max_request_bytes = settings.max_request_bytes
        self._threads = ThreadPoolExecutor(settings.max_requests_in_flight + SPARE_THREADS, thread_name_prefix="otlp-grpc")
        self._arrivals = Arrivals(admission, settings)
        self._server: grpc.Server | None = None
        self._serving: tuple[threading.Thread, ...] = ()
        self.address = ""
        """HOST:PORT really bound, once started."""

    def start(self) -> None:
        """Bind and serve.

        Raises:
            PortTakenError: the address cannot be bound.
        """
        # gRPC gives no reason when it cannot bind, and is content with some of a name's addresses; a socket is neither
        numeric = self._endpoint.probe()
        server = grpc.server(self._threads, options=_options(self._max_request_bytes))
        for service, signal in SERVICES.items():
            handler = grpc.stream_unary_rpc_method_handler(self._export_of(signal))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        try:
            port = server.add_insecure_port(numeric)
        except RuntimeError as error:
            raise self._endpoint.taken(str(error)) from None
        if not port:
            raise self._endpoint.taken("gRPC cannot bind it")
        self._serving = _started_by(server.start)
        self._arrivals.start(port)
        self._server = server
        self.address = self._endpoint.at(port)

    @property
    def alive(self) -> bool:
        """Whether calls are served: the server was not stopped, and its threads run."""
        # waiting for the end times out as long as there is none
        return self._server is not None and self._server.wait_for_termination(0) and self._arrivals.alive and all(t.is_alive() for t in self._serving)

    def stop(self, grace_seconds: float) -> None:
        """Take no more calls, wait so long for answers under way, then cancel; afterwards the port is free."""
        if self._server is not None:
            ended = self._server.stop(grace_seconds)
            self._arrivals.stop()
            ended.wait()
            self._server = None
        self._threads.shutdown(wait=False)

    def _export_of(self, signal: Signal) -> _Handler:
        def export(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            try:
                return self._export(signal, messages, context)
            except RefusedError as refusal:
                context.set_trailing_metadata((("grpc-status-details-bin", refusal.rpc_status().to_protobuf()),))
                context.abort(_CODES[int(refusal.code)], refusal.rpc_status().message)

        return export

    def _export(self, signal: Signal, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            body = self._arrivals.first(messages, context)
            if body is None:
                raise incomplete("the call ended without one complete export request")
            if len(body) > self._max_request_bytes:
                raise too_large(f"the request has {len(body)} bytes; {self._max_request_bytes} are allowed")
        except TracedError as error:
            raise self._exporter.refuse(error, signal, Transport.GRPC) from None
        with self._admission.slot() as slot:
            try:
                slot.hold(len(body))
                slot.begin()
            except TracedError as error:
                raise self._exporter.refuse(error, signal, Transport.GRPC) from None
            coding = coding_of(body)
            answer = self._exporter.export(signal, Transport.GRPC, lambda: self._inflated(body, coding, slot), announced_size(body, coding))
        return answer.to_protobuf()

    def _inflated(self, body: bytes, coding: str, slot: Slot) -> bytes:
        if coding == IDENTITY:
            return body
        try:
            content = inflate(body, coding, self._max_request_bytes, slot.hold)
        except InvalidRequestError:
            if coding == DEFLATE:
                return body  # it only looked like it
            raise
        slot.let_go(len(body))
        return content
