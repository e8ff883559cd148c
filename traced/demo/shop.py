"""The shop as one object: starts its services, its customers and their telemetry, and ends them without losing a span."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from traced.demo import faults
from traced.demo.exporters import BatchLosingExporter, SdkComplaints, grpc_exporter, http_exporter
from traced.demo.http_service import LOOPBACK, HttpClient, HttpServer, send
from traced.demo.instrumentation import MAX_EXPORT_BATCH_SIZE, Identity, ServiceTelemetry
from traced.demo.load import LoadDriver, request_mix
from traced.demo.message_queue import Broker, MessageQueue
from traced.demo.rollout import REPORTS_SAMPLED, Rollout, Step
from traced.demo.sdk import SpanExporter
from traced.demo.services import CONSUMERS, JOBS, ROLLOUT_CONSUMERS, ROUTES, SERVICES, Schedule, Tools, web
from traced.demo.workers import BackgroundJob, QueueConsumer, wait_until
from traced.errors import TracedError

_log = logging.getLogger("traced.demo")

OTLP_HTTP_SERVICES: Final = ("recommendation",)
"""Services that export by OTLP/HTTP; the others do by OTLP/gRPC, and inventory by both."""


class Shop:
    """A small shop with planted faults.

    Attributes:
        urls: base URL by service, for those that answer HTTP.
        requests_sent: shop requests answered so far.
        losing_exporters: the exporters that lose batches, with what they lost.
    """

    def __init__(
        self,
        otlp_grpc: str,
        otlp_http: str,
        *,
        requests_per_second: float = 5.0,
        seed: int = 7,
        work_dir: Path | None = None,
        rollout: Rollout | None = None,
        broker: Broker | None = None,
    ) -> None:
        """Keep the settings; nothing is bound or written before `start`.

        Args:
            otlp_grpc: HOST:PORT that takes OTLP/gRPC.
            otlp_http: HOST:PORT that takes OTLP/HTTP.
            requests_per_second: rate of the load; 0 sends only what `run_requests` is told to.
            seed: decides the mix of requests.
            work_dir: where the queue's file goes; by default a temporary directory that `stop` removes.
            rollout: a migration of orders, which `go_to` takes from step to step; then all of its consumers are there.
            broker: takes the place of the shop's own queue, and is closed by `stop`.
        """
        self._otlp_grpc = otlp_grpc
        self._otlp_http = otlp_http
        self._work_dir = work_dir
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._mix = request_mix(seed)
        self._sending = threading.Lock()
        self._ports: dict[str, int] = {}
        self._new_web_port = 0
        self._new_version = Schedule(faults.LOST_CONTEXT_EVERY, faults.LOST_CONTEXT_FIRST)
        self._telemetries: list[ServiceTelemetry] = []
        self._servers: list[HttpServer] = []
        self._consumers: list[QueueConsumer] = []
        self._jobs: list[BackgroundJob] = []
        self._messages = broker
        self._rollout = rollout or Rollout()
        self._taking_part = (*CONSUMERS, *ROLLOUT_CONSUMERS) if rollout is not None else CONSUMERS
        self._complaints = SdkComplaints()
        self._driver = LoadDriver(requests_per_second, self._send_one) if requests_per_second > 0 else None
        self._state = "new"
        self.requests_sent = 0
        self.losing_exporters: list[BatchLosingExporter] = []

    @property
    def urls(self) -> dict[str, str]:
        """Give the base URL of every service that answers HTTP."""
        return {service: f"http://{LOOPBACK}:{port}" for service, port in self._ports.items()}

    def start(self) -> None:
        """Start the services, then the load; a shop is started once.

        Raises:
            TracedError: it was started before, or its queue cannot be opened.
        """
        if self._state != "new":
            raise TracedError("this shop was started before", next_safe_actions=("Make another Shop.",), error_code="demo_already_started")
        self._state = "running"
        self._complaints.install()
        try:
            self._messages = self._messages or self._open_queue()
            self._build(self._messages)
            for part in self._parts():
                part.start()
            if self._driver is not None:
                self._driver.start()
        except BaseException:
            self.stop()
            raise

    def run_requests(self, n: int) -> None:
        """Send exactly so many shop requests and return when the last is answered.

        Messages and jobs that they caused may still be at work: see `drain`.

        Raises:
            OSError, http.client.HTTPException: web did not answer.
        """
        for _ in range(n):
            self._send_one()

    def go_to(self, step: Step) -> None:
        """Take the migration of orders to a step: what is published, and who is subscribed to what."""
        self._rollout.go_to(step)
        for consumer in self._consumers:
            consumer.follow()

    def drain(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until queue and jobs have nothing left to do; tell whether that is so."""
        return wait_until(self._is_quiet, time.monotonic() + timeout_seconds)

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the load, finish all work that is under way, send every span, close everything; more than once does no harm.

        Args:
            timeout_seconds: what queue, jobs and exporters may take together; what then is not sent is lost.
        """
        if self._state != "running":
            return
        self._state = "stopped"
        deadline = time.monotonic() + timeout_seconds
        if self._driver is not None:
            self._driver.stop()
        for consumer in self._consumers:
            consumer.hurry()
        if not wait_until(self._is_quiet, deadline):
            _log.warning("the shop stops with work under way: its last traces will be incomplete")
        for part in reversed(self._parts()):
            part.stop()
        self._shut_down_telemetry(deadline)
        if self._messages is not None:
            self._messages.close()
        if self._temporary is not None:
            self._temporary.cleanup()
        self._complaints.remove()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _send_one(self) -> None:
        with self._sending:
            request = next(self._mix)
            new = request.method == "GET" and self._new_version.is_due()
            send(self._new_web_port if new else self._ports["web"], request.method, request.path, request.body, {"User-Agent": "shop-customer"})
            self.requests_sent += 1
            for job in self._jobs:
                job.request_served()

    def _parts(self) -> list[HttpServer | QueueConsumer | BackgroundJob]:
        """Give what has a thread, those that are called first."""
        return [*self._servers, *self._consumers, *self._jobs]

    def _is_quiet(self) -> bool:
        return (self._messages is None or self._messages.outstanding == 0) and all(job.is_idle for job in self._jobs)

    def _open_queue(self) -> Broker:
        directory = self._work_dir
        if directory is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="traced-demo-")
            directory = Path(self._temporary.name)
        path = directory / "queue.sqlite3"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            return MessageQueue(path)
        except (OSError, sqlite3.Error) as error:
            raise TracedError(
                f"the shop's queue {path} cannot be opened: {error}",
                next_safe_actions=("Give another work_dir, or none for a temporary one.",),
                error_code="demo_queue_unusable",
            ) from error

    def _build(self, messages: Broker) -> None:
        tools: dict[str, Tools] = {}
        for service in dict.fromkeys([*SERVICES, *(consumer.service for consumer in self._taking_part)]):
            telemetry = self._telemetry(service)
            self._telemetries.append(telemetry)
            tools[service] = Tools(telemetry, HttpClient(telemetry, self._ports), messages, self._rollout)
            if service in ROUTES:
                server = HttpServer(telemetry, ROUTES[service](tools[service]))
                self._servers.append(server)
                self._ports[service] = server.port
        self._build_new_web(messages)
        for consumer in self._taking_part:
            own, reader = tools[consumer.service], consumer.reader
            reads, process = partial(self._rollout.read_by, reader), partial(consumer.process, own)
            self._consumers.append(QueueConsumer(own.telemetry, messages, reads, process, linked=consumer.linked, every_seconds=reader.every_seconds))
        for job in JOBS:
            self._jobs.append(BackgroundJob(f"{job.service}-{job.action.__name__}", job.every, partial(job.action, tools[job.service])))

    def _build_new_web(self, messages: Broker) -> None:
        """Start the new version of web beside the old one, as a rollout does that has just begun."""
        telemetry = ServiceTelemetry(Identity("web", version=faults.NEW_WEB_VERSION), [grpc_exporter(self._otlp_grpc)])
        self._telemetries.append(telemetry)
        server = HttpServer(telemetry, web(Tools(telemetry, HttpClient(telemetry, self._ports), messages, self._rollout), new=True))
        self._servers.append(server)
        self._new_web_port = server.port

    def _telemetry(self, service: str) -> ServiceTelemetry:
        """Give a service its telemetry, with the faults that lie there."""
        exporters: list[SpanExporter] = [http_exporter(self._otlp_http) if service in OTLP_HTTP_SERVICES else grpc_exporter(self._otlp_grpc)]
        identity = Identity(service)
        batch = MAX_EXPORT_BATCH_SIZE
        match service:
            case "pricing" | "fax":
                exporters = []
            case "payment":
                losing = BatchLosingExporter(exporters[0], first=faults.LOST_BATCH_FIRST, every=faults.LOST_BATCH_EVERY)
                self.losing_exporters.append(losing)
                exporters = [losing]
                batch = faults.LOST_BATCH_SPANS
            case "inventory":
                exporters.append(http_exporter(self._otlp_http))
            case "reports":
                identity = Identity(service, sampled=REPORTS_SAMPLED)
            case "catalog":
                identity = Identity(service, host="shop-b", clock_ahead_seconds=faults.CLOCK_AHEAD_SECONDS)
            case _:
                pass
        return ServiceTelemetry(identity, exporters, max_export_batch_size=batch)

    def _shut_down_telemetry(self, deadline: float) -> None:
        if not self._telemetries:
            return
        # All at once: with an absent daemon each waits for its own retries.
        with ThreadPoolExecutor(len(self._telemetries), thread_name_prefix="shop-shutdown") as pool:
            pending = {pool.submit(telemetry.shutdown): telemetry for telemetry in self._telemetries}
            late = wait(pending, timeout=max(0.1, deadline - time.monotonic())).not_done
            for future in late:
                pending[future].abandon()
        if late and not self._complaints.count:
            _log.warning("the shop stops before all spans were sent: its last traces will be incomplete")
        for future in pending:
            future.result()
