"""The receiver: both servers, one admission, one consumer."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping
from typing import Final

from traced.config import ReceiverSettings
from traced.errors import TracedError
from traced.listening import Endpoint
from traced.model.batch import BatchConsumer, Signal
from traced.model.measurement import MeasurementConsumer
from traced.receiver.admission import Admission
from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.export import Decoder, Exporter
from traced.receiver.grpc_server import GrpcServer
from traced.receiver.http_app import OtlpApp
from traced.receiver.http_server import HttpServer
from traced.receiver.wire import Limits
from traced.telemetry import Telemetry

DECODERS: Mapping[Signal, Decoder] = {Signal.TRACES: decode_traces, Signal.LOGS: decode_logs}

_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2
"""glibc gives threads arenas of their own, up to eight for each core, and what a large request leaves in one is of no use
to the others. Measured with 64 bombs of 4 MiB, 16 at a time: memory rises by 25 MiB instead of 70."""


def _share_arenas() -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


class Receiver:
    """Takes OTLP over gRPC and HTTP and hands batches to a consumer, from `start` to `stop`."""

    def __init__(
        self,
        settings: ReceiverSettings,
        consumer: BatchConsumer,
        telemetry: Telemetry,
        decoders: Mapping[Signal, Decoder] = DECODERS,
        measurements: MeasurementConsumer | None = None,
    ) -> None:
        """Build both servers; nothing is bound yet.

        Args:
            settings: addresses and limits.
            consumer: takes the batches; it must be ready before `start`.
            telemetry: counts.
            decoders: what turns bytes into batches; another one only in tests.
            measurements: takes what SDKs and Collectors count of their own spans; None: that is acknowledged and forgotten.
        """
        self._admission = Admission(settings.max_bytes_in_flight, settings.max_requests_in_flight)
        telemetry.in_flight_bytes.set_function(lambda: self._admission.bytes_in_flight)
        limits = Limits(max_items=settings.max_items_per_request)
        self._exporter = Exporter(
            consumer,
            decoders,
            self._admission,
            telemetry,
            limits=limits,
            timeout_seconds=settings.request_timeout_seconds,
            measurements=measurements,
        )
        self._grpc = GrpcServer(Endpoint.parse(settings.otlp_grpc, "receiver.otlp_grpc", "--otlp-grpc"), self._exporter, self._admission, settings)
        app = OtlpApp(self._exporter, self._admission, telemetry, settings)
        self._http = HttpServer(Endpoint.parse(settings.otlp_http, "receiver.otlp_http", "--otlp-http"), app)

    @property
    def grpc_address(self) -> str:
        """Give HOST:PORT where OTLP/gRPC really listens."""
        return self._grpc.address

    @property
    def http_address(self) -> str:
        """Give HOST:PORT where OTLP/HTTP really listens."""
        return self._http.address

    @property
    def ended(self) -> tuple[str, ...]:
        """Name the servers that do not run; between `start` and `stop` there should be none."""
        servers = (("OTLP/gRPC", self._grpc.alive), ("OTLP/HTTP", self._http.alive))
        return tuple(name for name, alive in servers if not alive)

    def start(self) -> None:
        """Bind both ports and serve; when one cannot be bound, the other is closed again.

        Raises:
            PortTakenError: naming the address and the setting to change.
        """
        _share_arenas()
        try:
            self._http.start()
            self._grpc.start()
        except TracedError:
            self._http.stop(0)
            self._grpc.stop(0)
            raise

    def stop(self, grace_seconds: float) -> None:
        """Refuse what is new, answer what is in flight, then close both ports; may be called again.

        After it returns nothing more is handed to the consumer, and every call was answered: stored, or retryable.

        Args:
            grace_seconds: how long requests in flight may take; afterwards they get a retryable error.
        """
        until = time.monotonic() + grace_seconds
        self._admission.close()
        self._http.stop_reading()
        self._admission.wait_idle(grace_seconds)
        left = max(1.0, until - time.monotonic())
        self._exporter.stop(left)
        self._grpc.stop(left)
        self._http.stop(left)
